//! Where compiled kernels for cards and the choices among them are kept, so that nothing is compiled or tuned twice.
//!
//! CubeCL keeps them in a database that processes may share. Here there is one for each build of this program and kind of card,
//! in the user's cache folder: CubeCL itself tells choices apart by the number of a card, which says nothing of its kind.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cubecl::environment;

/// Databases that are kept, the newest first: that of this build among them.
const KEPT: usize = 6;

static CHOSEN: Once = Once::new();
static NAMED: Once = Once::new();

/// Has CubeCL use the cache. A `cubecl.toml` or `CUBECL_ENVIRONMENT` that names another place is respected. Called before
/// the first device is opened.
pub fn choose() {
    CHOSEN.call_once(|| {
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        config.compilation.cache = true;
        let chosen = &mut config.environment;
        if let (Some(folder), CacheConfig::Target) = (folder(), &chosen.path) {
            chosen.path = CacheConfig::Directory(folder);
        }
        CubeClRuntimeConfig::try_set(config);
    });
}

/// Opens the database of this kind of card. Called after the first device is opened, and before anything is compiled for it;
/// devices that are opened later share it.
pub fn name(card: Option<&str>) {
    NAMED.call_once(|| {
        let is_ours = folder().is_some_and(|folder| environment::root() == folder);
        if is_ours && *environment::active() == *environment::DEFAULT {
            let name = format!("{}-{}", build(), card.unwrap_or("card"));
            environment::activate(&name);
            let own = environment::path();
            // it counts as the newest from now on
            let _ = std::fs::File::open(&own).and_then(|file| file.set_modified(SystemTime::now()));
            if let (Some(folder), Some(own)) = (own.parent(), own.file_name()) {
                prune(folder, own, KEPT);
            }
        }
    });
}

/// The folder of the databases.
pub fn root() -> PathBuf {
    choose();
    environment::root()
}

/// Choices of kernels that are there, from this process and earlier ones.
pub fn choices() -> u64 {
    let choices = environment::namespaces().into_iter().filter(|namespace| namespace.namespace.contains("autotune"));
    choices.map(|namespace| namespace.entries).sum()
}

/// `mine/kernels` in the user's cache folder; `None` for a user without a home folder.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(cache.join("mine").join("kernels"))
}

/// A name for this build: the version, and how long the program file is and when it was written.
fn build() -> String {
    let file = std::env::current_exe().and_then(|path| path.metadata());
    let (length, written) = file.and_then(|file| Ok((file.len(), file.modified()?))).unwrap_or((0, UNIX_EPOCH));
    let seconds = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{}-{length}-{seconds}", env!("CARGO_PKG_VERSION"))
}

/// Deletes all databases of a folder but the `kept` that were written last; `own` is one of these. What cannot be deleted
/// stays.
fn prune(folder: &Path, own: &OsStr, kept: usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut others: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_other = path.extension()? == environment::EXTENSION && path.file_name()? != own;
            let written = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
            // what was written last may still lie beside the database
            let last = written(&path).max(written(&path.with_extension("db-wal")));
            is_other.then(|| Some((last?, path)))?
        })
        .collect();
    others.sort_unstable();
    for (_, path) in others.iter().rev().skip(kept.saturating_sub(1)) {
        for beside in ["", "-wal", "-shm", "-tshm"] {
            let mut file = path.clone().into_os_string();
            file.push(beside);
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_databases_are_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for (age, name) in ["5.db", "4.db", "4.db-wal", "3.db", "2.db", "own.db", "notes.txt"].into_iter().enumerate() {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            let written = UNIX_EPOCH + std::time::Duration::from_secs(1000 * age as u64);
            std::fs::File::open(&path).unwrap().set_modified(written).unwrap();
        }
        prune(folder.path(), OsStr::new("own.db"), 3);
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2.db", "3.db", "notes.txt", "own.db"]);
        prune(&folder.path().join("none"), OsStr::new("own.db"), 3);
    }
}
