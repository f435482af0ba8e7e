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
}

/// A hidden folder beside `output`: on the same file system, wherever the run's folder is, so that a rename is enough.
fn beside(output: &Path, what: &str) -> Result<PathBuf> {
    let name = output.file_name().with_context(|| format!("{} is no name of a folder", output.display()))?;
    Ok(output.with_file_name(format!(".{}.{what}", name.to_string_lossy())))
}

/// Where the new model is put together before it takes its name.
pub fn model(output: &Path) -> Result<PathBuf> {
    let path = beside(output, "new")?;
    remove(&path)?;
    Ok(path)
}

/// Gives the finished folder at `model` the name `output`; what had it goes only then.
pub fn publish(model: &Path, output: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", output.display());
    recover(output)?;
    let replaced = beside(output, "replaced")?;
    if output.exists() {
        fs::rename(output, &replaced).with_context(failed)?;
    }
    if let Err(e) = fs::rename(model, output) {
        recover(output)?;
        return Err(e).with_context(failed);
    }
    remove(&replaced)
}

/// Puts back a model that a run moved away and was killed before it had replaced it; removes one that was replaced.
pub fn recover(output: &Path) -> Result<()> {
    let replaced = beside(output, "replaced")?;
    if replaced.exists() && !output.exists() {
        return fs::rename(&replaced, output).with_context(|| format!("cannot write {}", output.display()));
    }
    remove(&replaced)
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_takes_the_place_of_another_or_leaves_it() {
        let work = tempfile::tempdir().unwrap();
        let output = work.path().join("model");
        let holds = |text: &str| fs::read_to_string(output.join("file")).unwrap() == text;
        for content in ["old", "new"] {
            let staged = model(&output).unwrap();
            assert_eq!(staged.parent(), output.parent(), "one file system");
            fs::create_dir(&staged).unwrap();
            fs::write(staged.join("file"), content).unwrap();
            publish(&staged, &output).unwrap();
            assert!(holds(content));
        }
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
        // killed between the two renames
        fs::rename(&output, beside(&output, "replaced").unwrap()).unwrap();
        recover(&output).unwrap();
        assert!(holds("new"));
        // nothing to publish: what was there stays
        assert!(publish(&work.path().join("none"), &output).is_err());
        assert!(holds("new"));
    }
}
