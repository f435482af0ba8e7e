//! Which files of a folder a model is read from, and the fingerprint over all of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::error::hint;
use crate::models::checkpoint::file_names::{LIMIT_FILES, SIAMESE_HEAD, TOKENIZER_FILES};
use crate::models::checkpoint::folder::{ModelFolder, is_plain};
use crate::models::checkpoint::kind::Kind;

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
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
        folder.refuse_pickle("model")?;
        Ok(folder)
    }

    /// Names of every file but the encoder's weights that a model is read from, those of its modules included.
    pub fn config_files(&self) -> Result<Vec<String>> {
        let mut files: Vec<String> =
            ["config.json", "modules.json", "config_sentence_transformers.json"].map(String::from).to_vec();
        files.extend(LIMIT_FILES.map(String::from));
        // with a tokenizer.json, no vocabulary file is read
        let tokenizer = if self.has("tokenizer.json") { &TOKENIZER_FILES[..3] } else { &TOKENIZER_FILES };
        files.extend(tokenizer.iter().map(|&name| name.to_string()));
        let modules: Vec<serde_json::Value> = self.json("modules.json")?.unwrap_or_default();
        let paths = modules.iter().filter_map(|module| module.get("path")?.as_str());
        let inside: Vec<&str> = paths.filter(|path| !path.is_empty() && is_plain(path)).chain([SIAMESE_HEAD]).collect();
        files
            .extend(inside.iter().flat_map(|path| ["config.json", "model.safetensors"].map(|f| format!("{path}/{f}"))));
        Ok(files)
    }

    /// Hash of every file that a model is read from, so that a changed model is a different model.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        for file in self.config_files()?.into_iter().chain(self.weight_files("model")?) {
            let bytes = self.read(&file)?.unwrap_or_default();
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
        Ok(hasher.finalize().to_hex()[..32].to_string())
    }

    /// Names of the files that hold the weights of `stem` (`model`): `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` lists. A shard must be a plain name in the folder.
    pub fn weight_files(&self, stem: &str) -> Result<Vec<String>> {
        let whole = format!("{stem}.safetensors");
        let index = format!("{whole}.index.json");
        if self.has(&whole) || !self.has(&index) {
            self.refuse_pickle(stem)?;
            return Ok(vec![whole]);
        }
        let Index { weight_map } = self.require_json(&index)?;
        let mut shards: Vec<String> = weight_map.into_values().collect();
        shards.sort();
        shards.dedup();
        ensure!(!shards.is_empty(), "{}: weight_map names no file", self.path(&index).display());
        for shard in &shards {
            ensure!(
                shard.ends_with(".safetensors") && !shard.contains(['/', '\\']) && !shard.starts_with('.'),
                "{}: shard {shard:?} is not the name of a safetensors file in the model folder",
                self.path(&index).display()
            );
        }
        Ok(shards)
    }

    /// Refuses weights that only exist as a pickle, with the command that converts them.
    fn refuse_pickle(&self, stem: &str) -> Result<()> {
        let pickle = format!("{}pytorch_model.bin", stem.strip_suffix("model").unwrap_or_default());
        let readable = [format!("{stem}.safetensors"), format!("{stem}.safetensors.index.json")];
        if !self.has(&pickle) || readable.iter().any(|file| self.has(file)) {
            return Ok(());
        }
        let is_cross = matches!(Kind::of(self), Ok(Kind::Cross));
        let (class, name) = (if is_cross { "CrossEncoder" } else { "SentenceTransformer" }, self.name());
        Err(hint(
            format!("{} is a pickle, which can run code when it is opened", self.path(&pickle).display()),
            format!(
                "convert it once in Python: python -c \"from sentence_transformers import {class}; \
                 {class}('{name}').save_pretrained('{name}-safetensors')\""
            ),
        ))
    }
}
