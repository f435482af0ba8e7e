//! Files that are complete or absent: written under a temporary name, synced, then renamed.

use std::io::Write;
use std::path::Path;

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
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).map_err(|e| e.error).with_context(failed)?;
    Ok(())
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

/// Writes a JSON file, and the folders above it.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).with_context(|| format!("cannot write {}", path.display()))?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// Removes the unfinished files that a killed run left in a folder.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        if entry.path().is_file() && entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            std::fs::remove_file(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
