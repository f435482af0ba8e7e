//! Where a training keeps its checkpoints, metrics and curves, and how the finished model takes the old one's place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::atomic_file::{TEMPORARY_PREFIX, folder_of, remove_unfinished, sync_folder, write_json};
use crate::error::hint;
use crate::models::checkpoint::folder_writer::FolderWriter;
use crate::training::checkpoint;

const IDENTITY: &str = "run.json";
const LOCK: &str = "lock";

/// File in a trained model's folder that says what it was trained from.
pub const RECORD: &str = "training.json";

/// A run's folder, locked against a second run.
pub struct RunFolder {
    pub path: PathBuf,
    fingerprint: String,
    /// Whether it holds this very training.
    is_same: bool,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    fingerprint: String,
    /// Whether its model was written, or was not worth it: nothing here is needed any more.
    #[serde(default)]
    finished: bool,
}

/// Which other training's files a new one may remove from its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    Nothing,
    /// Those of one that is finished.
    Finished,
    Anything,
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
    /// Whether the clock ended it before its last step.
    #[serde(default)]
    pub out_of_time: bool,
    pub best_step: u64,
    pub dev_pairs: usize,
    pub average_precision: f64,
    pub f1: f64,
    pub accuracy: f64,
    pub average_precision_before: f64,
    pub f1_before: f64,
}

impl RunFolder {
    /// Creates and locks the folder. One that holds another training is refused unless `replace` allows it to go;
    /// `written` is that whose model has its place, which makes it a finished one.
    pub fn open(path: &Path, fingerprint: &str, written: Option<&str>, replace: Replace) -> Result<Self> {
        let failed = || format!("cannot create {}", path.display());
        if !is_run(path) {
            return Err(hint(
                format!("{} holds files that no training left there", path.display()),
                "choose another --run: a folder that is empty or not there yet",
            ));
        }
        fs::create_dir_all(path).with_context(failed)?;
        let lock = File::create(path.join(LOCK)).with_context(failed)?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            return Err(hint(
                format!("{} is in use by another run of mine", path.display()),
                "wait for it to end, or choose another --run",
            ));
        }
        let mut known = identity(path);
        if let Some(known) = known.as_mut().filter(|known| written == Some(&known.fingerprint)) {
            known.finished = true;
        }
        let is_same = known.as_ref().is_some_and(|known| known.fingerprint == fingerprint);
        // a run that failed before its first checkpoint holds nothing worth keeping
        if !is_same && !replace.allows(known.as_ref()) && checkpoint::exists(path)? {
            // --force would also let a refresh put a worse model in the place of the old one
            let advice = match replace {
                Replace::Finished => "choose another --run, or remove that folder",
                _ => "choose another --run, or add --force to begin anew there",
            };
            return Err(hint(
                format!("{} holds a training with other options, pairs or models", path.display()),
                advice,
            ));
        }
        Ok(Self { path: path.to_path_buf(), fingerprint: fingerprint.into(), is_same, _lock: lock })
    }

    /// Removes what another training left, once nothing can refuse the new one any more.
    pub fn begin(&self) -> Result<()> {
        if self.is_same {
            remove_unfinished(&self.path, Duration::ZERO)?;
        } else {
            empty(&self.path)?;
        }
        self.write_identity(false)
    }

    /// Notes that nothing here is needed any more.
    pub fn finish(&self) -> Result<()> {
        self.write_identity(true)
    }

    fn write_identity(&self, finished: bool) -> Result<()> {
        write_json(&self.path.join(IDENTITY), &Identity { fingerprint: self.fingerprint.clone(), finished })
    }
}

/// Whether a training may use the folder: it is another training's, or holds nothing.
fn is_run(path: &Path) -> bool {
    let left = |name: &str| name == LOCK || name.starts_with(TEMPORARY_PREFIX);
    let names = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    identity(path).is_some() || names.into_iter().all(|name| left(&name.to_string_lossy()))
}

/// Whose training the folder holds, if that can be read.
fn identity(run: &Path) -> Option<Identity> {
    serde_json::from_slice(&fs::read(run.join(IDENTITY)).ok()?).ok()
}

impl Replace {
    fn allows(self, known: Option<&Identity>) -> bool {
        self == Self::Anything || self == Self::Finished && known.is_some_and(|known| known.finished)
    }
}

/// Refuses to let a model take the place of a folder that holds something else.
pub fn check_replaceable(output: &Path) -> Result<()> {
    let holds = |name: &str| output.join(name).exists();
    let weights = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];
    let is_model = holds(RECORD) || holds("modules.json") || holds("config.json") && weights.into_iter().any(holds);
    let refused = match () {
        _ if !is_model && !is_empty(output) => {
            "no model's folder: it has no config.json with weights, and is not replaced"
        }
        _ if holds(".git") => "a git repository, whose history would go with the model that is replaced",
        _ => return Ok(()),
    };
    Err(hint(format!("{} is {refused}", output.display()), "choose another --output"))
}

/// Whether there is nothing at `output`, or an empty folder.
pub fn is_empty(output: &Path) -> bool {
    !output.exists() || fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_none())
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
    sync_folder(folder_of(output)).with_context(failed)?;
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
