//! Where a run keeps what it has finished: `<output>/.mine/<stage>/<fingerprint>/`.
//!
//! A fingerprint is the hash of everything a stage's result depends on: its version, its own options and the
//! fingerprints of its inputs. Device, threads and batch sizes are not part of it. A stage is fresh when its folder
//! holds `done.json`; a stage that was stopped halfway has its finished shards and no `done.json`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::hint;
use crate::tables::write::{self, write_json};

/// A stage's name and all that its result depends on.
#[derive(Debug, Clone)]
pub struct Stage {
    pub name: &'static str,
    parts: BTreeMap<String, String>,
}

impl Stage {
    /// `parts` are named so that a plan can say which of them changed.
    pub fn new<const N: usize>(name: &'static str, version: u32, parts: [(&str, String); N]) -> Self {
        let mut parts: BTreeMap<String, String> = parts.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
        parts.insert("version".into(), version.to_string());
        Self { name, parts }
    }

    /// 128-bit hash of name and parts, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in std::iter::once(self.name).chain(self.parts.iter().flat_map(|(k, v)| [k.as_str(), v.as_str()])) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_string()
    }
}

/// The `.mine` folder of an output folder, locked against a second run.
pub struct Workspace {
    root: PathBuf,
    _lock: Option<File>,
}

const DONE: &str = "done.json";
const LAST: &str = "last.json";
const PUBLISHING: &str = "publishing.json";

impl Workspace {
    /// Creates and locks the folder.
    pub fn open(output: &Path) -> Result<Self> {
        let root = output.join(".mine");
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        let path = root.join("lock");
        let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            return Err(hint(
                format!("{} is in use by another run of mine", output.display()),
                "wait for it to end, or choose another --output",
            ));
        }
        sweep(output)?;
        Ok(Self { root, _lock: Some(lock) })
    }

    /// Marks that result files are being replaced: a folder without a manifest is then this program's own doing.
    pub fn begin_publishing(&self, run_id: &str) -> Result<()> {
        write_json(&self.root.join(PUBLISHING), &run_id)
    }

    /// Takes the mark of [`Workspace::begin_publishing`] away.
    pub fn end_publishing(&self) -> Result<()> {
        let path = self.root.join(PUBLISHING);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Whether a run died while it replaced result files.
    pub fn was_publishing(&self) -> bool {
        self.root.join(PUBLISHING).exists()
    }

    /// Looks without creating or locking anything, for `--plan`.
    pub fn peek(output: &Path) -> Self {
        Self { root: output.join(".mine"), _lock: None }
    }

    /// Folder of a stage's artifacts.
    pub fn folder(&self, stage: &Stage) -> PathBuf {
        self.root.join(stage.name).join(stage.fingerprint())
    }

    /// Folder for the result files until all are complete; empty.
    pub fn staging(&self) -> Result<PathBuf> {
        let path = self.root.join("staging");
        let failed = || format!("cannot prepare {}", path.display());
        if path.exists() {
            fs::remove_dir_all(&path).with_context(failed)?;
        }
        fs::create_dir_all(&path).with_context(failed)?;
        Ok(path)
    }

    /// What the finished stage recorded, `None` when it is not finished.
    pub fn done<T: DeserializeOwned>(&self, stage: &Stage) -> Option<T> {
        let bytes = fs::read(self.folder(stage).join(DONE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Records a finished stage.
    pub fn finish<T: Serialize>(&self, stage: &Stage, record: &T) -> Result<()> {
        write_json(&self.folder(stage).join(DONE), record)?;
        write_json(&self.root.join(stage.name).join(LAST), &stage.parts)
    }

    /// Takes back [`Workspace::finish`], when an artifact turns out damaged.
    pub fn unfinish(&self, stage: &Stage) -> Result<()> {
        let path = self.folder(stage).join(DONE);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Finished shards of a stage.
    pub fn shards(&self, stage: &Stage) -> usize {
        fs::read_dir(self.folder(stage)).map_or(0, |entries| {
            entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "arrow")).count()
        })
    }

    /// Why a stage that is not finished has to run, when `shards` of it are.
    pub fn why_stale(&self, stage: &Stage, shards: usize) -> String {
        let last = fs::read(self.root.join(stage.name).join(LAST)).ok();
        let last: Option<BTreeMap<String, String>> = last.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let kept = if shards > 0 { format!("; {shards} shards are kept") } else { String::new() };
        match last {
            None if shards == 0 => "never ran here".into(),
            Some(last) if last != stage.parts => {
                let parts = stage.parts.iter().filter(|(k, v)| last.get(*k) != Some(v)).map(|(k, _)| k.as_str());
                format!("changed: {}{kept}", parts.collect::<Vec<_>>().join(", "))
            }
            Some(_) if shards == 0 => "its artifact is gone".into(),
            _ => format!("was stopped with {shards} shards finished"),
        }
    }

    /// Removes artifacts of other fingerprints than those of `stages`.
    pub fn prune(&self, stages: &[&Stage]) -> Result<()> {
        for stage in stages {
            let keep = self.folder(stage);
            let Ok(entries) = fs::read_dir(self.root.join(stage.name)) else { continue };
            for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir() && *path != keep) {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Removes the unfinished files that a killed run left in the output folder and below `.mine`.
fn sweep(folder: &Path) -> Result<()> {
    write::remove_unfinished(folder)?;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() && (path.ends_with(".mine") || path.ancestors().any(|a| a.ends_with(".mine"))) {
            sweep(&path)?;
        }
    }
    Ok(())
}
