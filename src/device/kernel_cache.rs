//! Where compiled kernels for cards and the choices among them are kept, so that nothing is compiled or tuned twice.
//!
//! CubeCL keeps them in a database that processes may share, under the kind of card and its own version. Here there is one
//! database for each build of this program, in the user's cache folder.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use cubecl::environment;

/// Databases that are kept, the newest first: that of this build among them.
const KEPT: usize = 3;

static CHOSEN: Once = Once::new();

/// Has CubeCL use the cache. A `cubecl.toml` or `CUBECL_ENVIRONMENT` that names another place is respected. Called before
/// the first device is opened.
pub fn choose() {
    CHOSEN.call_once(|| {
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        config.compilation.cache = true;
        let chosen = &mut config.environment;
        if let (Some(folder), CacheConfig::Target) = (folder(), &chosen.path) {
            if chosen.name == environment::DEFAULT {
                chosen.name = build();
            }
            prune(&folder, &environment::file_name(&chosen.name), KEPT);
            chosen.path = CacheConfig::Directory(folder);
        }
        CubeClRuntimeConfig::try_set(config);
    });
}

/// The database of this process.
pub fn file() -> PathBuf {
    choose();
    environment::path()
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
fn prune(folder: &Path, own: &str, kept: usize) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut others: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_other = path.extension()? == environment::EXTENSION && path.file_name()? != own;
            is_other.then(|| Some((path.metadata().ok()?.modified().ok()?, path)))?
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
        prune(folder.path(), "own.db", 3);
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2.db", "3.db", "notes.txt", "own.db"]);
        prune(&folder.path().join("none"), "own.db", 3);
    }
}
