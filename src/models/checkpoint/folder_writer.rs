//! A model folder while it is written: it appears under its name complete, or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::atomic_file::{TEMPORARY_PREFIX, folder_of, sync_folder};
use crate::error::hint;
use crate::models::checkpoint::folder::ModelFolder;

/// Collects files beside `output` until [`FolderWriter::finish`].
pub struct FolderWriter {
    staging: TempDir,
    output: PathBuf,
}

impl FolderWriter {
    /// Begins a folder; `output` must not exist.
    pub fn new(output: &Path) -> Result<Self> {
        if output.exists() {
            return Err(hint(format!("{} exists already", output.display()), "choose a folder that does not exist"));
        }
        let failed = || format!("cannot write {}", output.display());
        let parent = folder_of(output);
        std::fs::create_dir_all(parent).with_context(failed)?;
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!("{TEMPORARY_PREFIX}{name}.");
        remove_unfinished_folders(parent, &prefix).with_context(failed)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let staging = builder.tempdir_in(parent).with_context(failed)?;
        Ok(Self { staging, output: output.to_path_buf() })
    }

    /// Writes one file; `name` is relative to the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.staging.path().join(name);
        let failed = || format!("cannot write {}", self.output.join(name).display());
        if let Some(folder) = path.parent().filter(|folder| *folder != self.staging.path()) {
            make_folder(folder).with_context(failed)?;
        }
        let mut file = File::create(&path).with_context(failed)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).with_context(failed)
    }

    /// Writes one JSON file.
    pub fn json(&self, name: &str, value: &Value) -> Result<()> {
        self.write(name, format!("{value:#}\n").as_bytes())
    }

    /// Makes a folder that holds nothing.
    pub fn empty_folder(&self, name: &str) -> Result<()> {
        make_folder(&self.staging.path().join(name))
            .with_context(|| format!("cannot write {}", self.output.join(name).display()))
    }

    /// Copies those of `names` that `source` has.
    pub fn copy(&self, source: &ModelFolder, names: &[&str]) -> Result<()> {
        for name in names {
            if let Some(bytes) = source.read(name)? {
                self.write(name, &bytes)?;
            }
        }
        Ok(())
    }

    /// Fingerprint of the model that has been written.
    pub fn fingerprint(&self) -> Result<String> {
        ModelFolder::OnDisk(self.staging.path().to_path_buf()).fingerprint()
    }

    /// Gives the folder its name.
    pub fn finish(self) -> Result<()> {
        sync_folder(self.staging.path()).with_context(|| format!("cannot write {}", self.output.display()))?;
        std::fs::rename(self.staging.path(), &self.output)
            .with_context(|| format!("cannot write {}", self.output.display()))?;
        // only now: what could not be renamed is removed with the guard
        let _ = self.staging.keep();
        Ok(())
    }
}

/// Makes a folder whose parent exists. If another writer of the same model removed the parent, this writer fails and does not
/// publish half a model.
fn make_folder(path: &Path) -> std::io::Result<()> {
    match std::fs::create_dir(path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removes what killed writers of the same folder left: `prefix` and the six characters of a temporary name.
fn remove_unfinished_folders(parent: &Path, prefix: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(parent)?.flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if random.is_some_and(|random| random.len() == 6 && !random.contains('.')) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
