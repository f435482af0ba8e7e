//! The versions of an output: what the results of each run are made of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::atomic_file::{write_bytes, write_json};
use crate::store::identity::{Identity, Kind};

/// Versions that are kept, the current one included.
pub const KEPT: usize = 7;

const FOLDER: &str = ".mine";
const CURRENT: &str = "CURRENT";
const VERSIONS: &str = "versions";

/// `versions/000007.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    pub number: u64,
    pub run_id: String,
    /// When the run started.
    pub started: String,
    /// Hash of the questions.
    pub content: String,
    pub questions: usize,
    /// Segment of the keys of all texts.
    pub texts: String,
    /// What the values of each kind depend on.
    pub identities: Vec<Identity>,
    /// Pairs that the rerank budget reached.
    pub reranked: usize,
}

impl Version {
    /// Fingerprint of what the version has of a kind.
    pub fn fingerprint(&self, kind: Kind) -> Option<String> {
        self.identity(kind).map(Identity::fingerprint)
    }

    /// What the version has of a kind.
    pub fn identity(&self, kind: Kind) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.kind == kind)
    }
}

/// The versions in an output's `.mine` folder.
pub struct Versions {
    folder: PathBuf,
}

impl Versions {
    pub fn of(output: &Path) -> Self {
        Self { folder: Self::folder_of(output) }
    }

    /// Where an output keeps what is not for others to read.
    pub fn folder_of(output: &Path) -> PathBuf {
        output.join(FOLDER)
    }

    /// The version that the results are of.
    pub fn current(&self) -> Option<Version> {
        let number = fs::read_to_string(self.folder.join(CURRENT)).ok()?.trim().parse().ok()?;
        self.read(number)
    }

    /// All kept versions by number.
    pub fn kept(&self) -> Vec<Version> {
        let mut versions: BTreeMap<u64, Version> = BTreeMap::new();
        for entry in fs::read_dir(self.folder.join(VERSIONS)).into_iter().flatten().flatten() {
            let number = entry.path().file_stem().and_then(|name| name.to_str()?.parse().ok());
            if let Some(version) = number.and_then(|number| self.read(number)) {
                versions.insert(version.number, version);
            }
        }
        versions.into_values().collect()
    }

    /// Makes `version` the current one, under the next number, and drops the oldest beyond [`KEPT`]. The same run again is
    /// no new version.
    pub fn commit(&self, version: Version) -> Result<()> {
        let current = self.current();
        if let Some(current) = &current
            && current.run_id == version.run_id
        {
            return write_json(&self.path(current.number), &Version { number: current.number, ..version });
        }
        let kept = self.kept();
        let number = kept.last().map_or(1, |last| last.number + 1);
        write_json(&self.path(number), &Version { number, ..version })?;
        write_bytes(&self.folder.join(CURRENT), format!("{number}\n").as_bytes())?;
        let dropped = (kept.len() + 1).saturating_sub(KEPT);
        for old in kept.iter().take(dropped) {
            let path = self.path(old.number);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(VERSIONS).join(format!("{number:06}.json"))
    }

    fn read(&self, number: u64) -> Option<Version> {
        serde_json::from_slice(&fs::read(self.path(number)).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(run_id: &str) -> Version {
        let identities = vec![Identity::new(Kind::Vectors, 1, [])];
        let text = String::new();
        let (started, content, texts) = (text.clone(), text.clone(), text);
        Version { number: 0, run_id: run_id.into(), started, content, questions: 0, texts, identities, reranked: 0 }
    }

    #[test]
    fn the_newest_versions_are_kept_and_the_same_run_makes_no_new_one() {
        let output = tempfile::tempdir().unwrap();
        let versions = Versions::of(output.path());
        assert!(versions.current().is_none() && versions.kept().is_empty());
        for run in ["a", "a", "b", "c", "d", "e", "f", "g", "h", "h"] {
            versions.commit(version(run)).unwrap();
            assert_eq!(versions.current().unwrap().run_id, run);
        }
        let kept: Vec<u64> = versions.kept().iter().map(|version| version.number).collect();
        assert_eq!(kept, [2, 3, 4, 5, 6, 7, 8]);
        assert!(versions.current().unwrap().fingerprint(Kind::Vectors).is_some());
        assert!(versions.current().unwrap().identity(Kind::Scores).is_none());
    }
}
