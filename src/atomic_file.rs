//! Files that are complete or absent: written under a temporary name, synced, then renamed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// The start of an unfinished file's name. A killed run leaves such files, the next run removes them.
pub const TEMPORARY_PREFIX: &str = ".mine-tmp-";

/// The folder of a file.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the folder of a file.
pub fn make_folder_of(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// A temporary file beside its final place, with the permissions of any other new file.
pub fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Makes a finished temporary file durable and visible under its name.
pub fn publish(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    step();
    file.as_file().sync_all().with_context(failed)?;
    step();
    file.persist(path).map_err(|e| e.error).with_context(failed)?;
    step();
    Ok(())
}

/// A second name for a finished file that is made but not visible yet: a hard link, or a copy where there are none.
pub struct Linked {
    temporary: PathBuf,
    to: PathBuf,
}

impl Linked {
    /// Makes the name under a temporary one.
    pub fn new(from: &Path, to: &Path) -> Result<Self> {
        let failed = || format!("cannot write {}", to.display());
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder_of(to).join(format!("{TEMPORARY_PREFIX}{name}"));
        remove_if_there(&temporary).with_context(failed)?;
        step();
        if std::fs::hard_link(from, &temporary).is_err() {
            std::fs::copy(from, &temporary).with_context(failed)?;
            std::fs::File::open(&temporary).and_then(|file| file.sync_all()).with_context(failed)?;
        }
        Ok(Self { temporary, to: to.to_path_buf() })
    }

    /// Makes it visible, over what has that name.
    pub fn publish(self) -> Result<()> {
        let failed = || format!("cannot write {}", self.to.display());
        step();
        std::fs::rename(&self.temporary, &self.to).with_context(failed)?;
        step();
        // renaming one name of a file to another name of it does nothing
        remove_if_there(&self.temporary).with_context(failed)
    }
}

/// Gives a finished file a second name, over what has that name.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    Linked::new(from, to)?.publish()
}

/// Removes a file; one that is not there is no error.
pub fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A moment before or after which a kill leaves other files. With `MINE_ABORT_AT_STEP=N` the process ends at the N-th: the
/// tests of faults go through all of them.
pub fn step() {
    static ABORT_AT: OnceLock<Option<u64>> = OnceLock::new();
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let abort_at = ABORT_AT.get_or_init(|| std::env::var("MINE_ABORT_AT_STEP").ok()?.parse().ok());
    if abort_at.is_some_and(|abort_at| STEPS.fetch_add(1, Ordering::Relaxed) + 1 == abort_at) {
        std::process::abort();
    }
}

/// Makes renames in a folder durable, on systems that can sync folders.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Writes a file, and the folders above it.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder_of(path)).with_context(failed)?;
    let mut file = temporary_in(folder_of(path)).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    publish(file, path)
}

/// Writes a file that must not be there yet, and the folders above it. `false` if it is there.
pub fn create_bytes(path: &Path, bytes: &[u8]) -> Result<bool> {
    let failed = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder_of(path)).with_context(failed)?;
    let mut file = temporary_in(folder_of(path)).with_context(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).with_context(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error).with_context(failed),
    }
}

/// Writes a JSON file, and the folders above it.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).with_context(|| format!("cannot write {}", path.display()))?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// Removes the unfinished files that a killed run left in a folder, if they are as old as `least`.
pub fn remove_unfinished(folder: &Path, least: Duration) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let is_old = |about: &std::fs::Metadata| {
            least.is_zero() || about.modified().is_ok_and(|then| then.elapsed().is_ok_and(|age| age >= least))
        };
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX)
            && entry.metadata().is_ok_and(|about| about.is_file() && is_old(&about));
        if is_unfinished {
            remove_if_there(&entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
