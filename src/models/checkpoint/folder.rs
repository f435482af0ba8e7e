//! The files of a model: a sentence-transformers folder on disk, one of the hub's cache, or the one built into the
//! binary.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use crate::error::hint;
use crate::models::checkpoint::sentence_config::LIMIT_FILES;
use crate::models::checkpoint::tensor_file;
use crate::models::tokenizer_files::TOKENIZER_FILES;

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
    /// Opens a folder, refusing at once what can never be a model.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Err(hint(
                format!("model folder {} does not exist or is not a folder", path.display()),
                "give the path of a sentence-transformers folder (one with a config.json and a model.safetensors)",
            ));
        }
        let folder = Self::OnDisk(path.to_path_buf());
        tensor_file::refuse_pickle(&folder, "model")?;
        Ok(folder)
    }

    /// What to call the model in messages and the manifest.
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

    /// Names of every file but the encoder's weights that a model is read from, those of its modules included.
    pub fn config_files(&self) -> Result<Vec<String>> {
        let mut files: Vec<String> =
            ["config.json", "modules.json", "config_sentence_transformers.json"].map(String::from).to_vec();
        files.extend(LIMIT_FILES.map(String::from));
        // where there is a tokenizer.json, no vocabulary file is read
        let tokenizer = if self.has("tokenizer.json") { &TOKENIZER_FILES[..3] } else { &TOKENIZER_FILES };
        files.extend(tokenizer.iter().map(|&name| name.to_string()));
        let modules: Vec<serde_json::Value> = self.json("modules.json")?.unwrap_or_default();
        let paths = modules.iter().filter_map(|module| module.get("path")?.as_str());
        let inside: Vec<&str> =
            paths.filter(|path| !path.is_empty() && is_plain(path)).chain(["siamese_head"]).collect();
        files
            .extend(inside.iter().flat_map(|path| ["config.json", "model.safetensors"].map(|f| format!("{path}/{f}"))));
        Ok(files)
    }

    /// Hash of every file that a model is read from, so that a changed model is a different model.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        for file in self.config_files()?.into_iter().chain(tensor_file::names(self, "model")?) {
            let bytes = self.read(&file)?.unwrap_or_default();
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
        Ok(hasher.finalize().to_hex()[..32].to_string())
    }
}

/// The folder that a model's files must lie in. The Hugging Face cache keeps `snapshots/<revision>/` as links into
/// `blobs/` beside it, so there it is the folder that holds both.
fn root(folder: &Path) -> std::io::Result<PathBuf> {
    let folder = folder.canonicalize()?;
    let in_cache = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"));
    Ok(in_cache.and_then(Path::parent).filter(|cache| cache.join("blobs").is_dir()).unwrap_or(&folder).to_path_buf())
}

/// Whether a name from a model's own files stays inside the folder.
fn is_plain(file: &str) -> bool {
    Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}
