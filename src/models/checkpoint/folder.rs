//! Where the files of a model are: a folder on disk, a snapshot in the hub's cache, or the binary itself. Which of the files
//! a model is read from is in `model_files.rs`.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use crate::error::hint;

/// One file inside the binary: its name relative to the folder, and its bytes.
pub type BuiltInFile = (&'static str, &'static [u8]);

/// Where a model's files are read from.
#[derive(Debug, Clone)]
pub enum ModelFolder {
    OnDisk(PathBuf),
    /// A snapshot in the hub's cache; `name` is `organisation/model`, `commit` its exact revision.
    Hub {
        name: String,
        commit: String,
        path: PathBuf,
    },
    BuiltIn {
        name: &'static str,
        files: &'static [BuiltInFile],
    },
}

impl ModelFolder {
    /// The model's name in messages and the manifest.
    pub fn name(&self) -> String {
        match self {
            Self::OnDisk(path) => path.display().to_string(),
            Self::Hub { name, .. } => name.clone(),
            Self::BuiltIn { name, .. } => format!("built-in {name}"),
        }
    }

    /// Path of one file, for messages.
    pub fn path(&self, file: &str) -> PathBuf {
        match self {
            Self::OnDisk(path) | Self::Hub { path, .. } => path.join(file),
            Self::BuiltIn { name, .. } => Path::new(name).join(file),
        }
    }

    /// Whether the folder has a file of this name.
    pub fn has(&self, file: &str) -> bool {
        match self {
            Self::BuiltIn { files, .. } => files.iter().any(|(name, _)| *name == file),
            Self::OnDisk(folder) | Self::Hub { path: folder, .. } => is_plain(file) && folder.join(file).is_file(),
        }
    }

    /// Bytes of a file, `None` when the folder has no such file. A name or a link that leads out of the folder is an
    /// error: the folder may come from anywhere.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self {
            Self::BuiltIn { files, .. } => {
                Ok(files.iter().find(|(name, _)| *name == file).map(|(_, bytes)| Cow::Borrowed(*bytes)))
            }
            Self::OnDisk(folder) | Self::Hub { path: folder, .. } => {
                let path = folder.join(file);
                let cannot_read = || format!("cannot read {}", path.display());
                let leads_out = || {
                    let hint_line = "copy the file into the folder if you trust it";
                    Err(hint(format!("{} leads out of the model folder", path.display()), hint_line))
                };
                if !is_plain(file) {
                    return leads_out();
                }
                let resolved = match path.canonicalize() {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    resolved => resolved.with_context(cannot_read)?,
                };
                if !resolved.starts_with(root(folder).with_context(cannot_read)?) {
                    return leads_out();
                }
                // a pipe or a device could be read forever
                ensure!(resolved.is_file(), "{} is not a file", path.display());
                Ok(Some(Cow::Owned(std::fs::read(&resolved).with_context(cannot_read)?)))
            }
        }
    }

    /// Bytes of a file that every model has.
    pub fn require(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        self.read(file)?.with_context(|| format!("{} is missing from the model folder", self.path(file).display()))
    }

    /// A JSON file, `None` when absent.
    pub fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        let Some(bytes) = self.read(file)? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes).with_context(|| format!("{}", self.path(file).display()))?;
        Ok(Some(value))
    }

    /// A JSON file that every model has.
    pub fn require_json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        match self.json(file)? {
            Some(value) => Ok(value),
            None => bail!("{} is missing from the model folder", self.path(file).display()),
        }
    }
}

/// The folder that must contain a model's files. In the Hugging Face cache `snapshots/<revision>/` holds links into `blobs/`
/// next to it, so there it is the folder that holds both.
fn root(folder: &Path) -> std::io::Result<PathBuf> {
    let folder = folder.canonicalize()?;
    let in_cache = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"));
    Ok(in_cache.and_then(Path::parent).filter(|cache| cache.join("blobs").is_dir()).unwrap_or(&folder).to_path_buf())
}

/// Whether a name from a model's own files stays inside the folder.
pub fn is_plain(file: &str) -> bool {
    Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}
