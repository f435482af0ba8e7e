//! Where a training keeps its checkpoints, metrics and curves, and how the finished model takes the old one's place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::error::hint;
use crate::models::folder_writer::FolderWriter;
use crate::training::checkpoint;

const IDENTITY: &str = "run.json";

/// File in a trained model's folder that says what it was trained from.
pub const RECORD: &str = "training.json";

/// A run's folder, locked against a second run.
pub struct RunFolder {
    pub path: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    fingerprint: String,
}

/// What `training.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Hash of everything the weights depend on.
    pub fingerprint: String,
    pub from: String,
    pub loss: String,
    pub pairs: usize,
    pub steps: usize,
    pub best_step: u64,
    pub dev_pairs: usize,
    pub average_precision: f64,
    pub f1: f64,
    pub accuracy: f64,
    pub average_precision_before: f64,
    pub f1_before: f64,
}

impl RunFolder {
    /// Creates and locks the folder. One that holds another training is refused, or emptied with `force`.
    pub fn open(path: &Path, fingerprint: &str, force: bool) -> Result<Self> {
        let failed = || format!("cannot create {}", path.display());
        fs::create_dir_all(path).with_context(failed)?;
        let lock = File::create(path.join("lock")).with_context(failed)?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            return Err(hint(
                format!("{} is in use by another run of mine", path.display()),
                "wait for it to end, or choose another --run",
            ));
        }
        let identity = path.join(IDENTITY);
        let known: Option<Identity> = match fs::read(&identity) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(_) => None,
        };
        match known {
            Some(known) if known.fingerprint == fingerprint => {}
            // a run that failed before its first checkpoint holds nothing worth keeping
            Some(_) if !force && checkpoint::exists(path)? => {
                return Err(hint(
                    format!("{} holds a training with other options, pairs or models", path.display()),
                    "choose another --run, or add --force to begin anew there",
                ));
            }
            _ => {
                empty(path)?;
                let bytes = serde_json::to_vec(&Identity { fingerprint: fingerprint.into() })?;
                fs::write(&identity, bytes).with_context(failed)?;
            }
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Where the new model is put together before it takes its name.
    pub fn model(&self) -> Result<PathBuf> {
        let path = self.path.join("model");
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(path)
    }

    /// Gives the finished folder at `model` the name `output`; what had it goes only then.
    pub fn publish(&self, model: &Path, output: &Path) -> Result<()> {
        let failed = || format!("cannot write {}", output.display());
        let replaced = self.path.join("replaced");
        if replaced.exists() {
            fs::remove_dir_all(&replaced).with_context(failed)?;
        }
        if output.exists() {
            fs::rename(output, &replaced).with_context(failed)?;
        }
        if let Some(parent) = output.parent() {
            fs::create_dir_all(parent).with_context(failed)?;
        }
        fs::rename(model, output).with_context(failed)?;
        if replaced.exists() {
            fs::remove_dir_all(&replaced).with_context(failed)?;
        }
        Ok(())
    }
}

/// What the model in `folder` was trained from, if it was trained here.
pub fn record(folder: &Path) -> Option<Record> {
    let bytes = fs::read(folder.join(RECORD)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Puts the record into a model folder under construction.
pub fn write_record(writer: &FolderWriter, record: &Record) -> Result<()> {
    writer.json(RECORD, &serde_json::to_value(record)?)
}

/// Removes what an earlier training left: its own kinds of files, nothing else.
fn empty(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let own = name.starts_with("checkpoint-") || name.starts_with("best-");
        if own && name.ends_with(".safetensors") || ["metrics.parquet", "curves.svg"].contains(&&*name) {
            fs::remove_file(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
