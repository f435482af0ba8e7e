//! The versions of an output: what the results of each run are made of, and the results themselves.
//!
//! The files of a version are complete in its folder before `CURRENT` names it. What lies in the output folder are second
//! names of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::atomic_file::{remove_if_there, step, sync_folder, write_bytes, write_json};
use crate::store::identity::{Identity, Kind};

const FOLDER: &str = ".mine";
pub const CURRENT: &str = "CURRENT";
pub const VERSIONS: &str = "versions";
pub const QUESTIONS: &str = "questions";
const PENDING: &str = "pending.json";
pub const CLUSTERS: &str = "clusters";

/// `versions/000007.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    pub number: u64,
    pub run_id: String,
    /// Time of the run.
    pub started: String,
    /// Hash of the questions.
    pub content: String,
    pub questions: usize,
    /// Segment of the keys of all texts.
    pub texts: String,
    /// What the values of each kind depend on.
    pub identities: Vec<Identity>,
    /// The version whose changes are in the results; `None` for the first.
    #[serde(default)]
    pub parent: Option<u64>,
    /// Set by `mine rollback`: the version whose results these are.
    #[serde(default)]
    pub rolled_back_to: Option<u64>,
    #[serde(default)]
    pub seconds: f64,
    /// Segment of the clustered texts with their clusters. `None` in versions of an earlier program: they kept no cluster
    /// ids.
    #[serde(default)]
    pub members: Option<String>,
    /// The options that decided, by name.
    #[serde(default)]
    pub decision: BTreeMap<String, String>,
    #[serde(default)]
    pub counts: Counts,
    /// Result files by name, with the hash of their bytes.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// What `mine history` says of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Counts {
    /// Questions that the version before did not have, that have another text there, and that only it had.
    pub new: u64,
    pub edited: u64,
    pub deleted: u64,
    pub pairs: u64,
    pub duplicates: u64,
    pub clusters: u64,
    pub questions_in_clusters: u64,
    pub largest_cluster: u64,
    /// Pairs that wait for a rerank budget.
    pub backlog: u64,
    /// Events by name.
    pub events: BTreeMap<String, u64>,
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

    /// The versions in a `.mine` folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// Where an output keeps what is not for others to read.
    pub fn folder_of(output: &Path) -> PathBuf {
        output.join(FOLDER)
    }

    /// The version that the results are of.
    pub fn current(&self) -> Option<Version> {
        self.read(self.current_number()?)
    }

    /// The kept version of this number.
    pub fn find(&self, number: u64) -> Option<Version> {
        self.kept().into_iter().find(|version| version.number == number)
    }

    /// The number of the next version.
    pub fn next_number(&self) -> u64 {
        self.current_number().unwrap_or(0) + 1
    }

    /// All kept versions by number. Ignores records after the current version: a killed run left them.
    pub fn kept(&self) -> Vec<Version> {
        let current = self.current_number().unwrap_or(0);
        let mut versions: BTreeMap<u64, Version> = BTreeMap::new();
        for entry in fs::read_dir(self.folder.join(VERSIONS)).into_iter().flatten().flatten() {
            let number = entry.path().file_stem().and_then(|name| name.to_str()?.parse().ok());
            if let Some(version) = number.filter(|number| *number <= current).and_then(|number| self.read(number)) {
                versions.insert(version.number, version);
            }
        }
        versions.into_values().collect()
    }

    /// Where the result files of a version lie.
    pub fn files_of(&self, number: u64) -> PathBuf {
        self.folder.join(VERSIONS).join(format!("{number:06}"))
    }

    /// The file of the questions with this hash.
    pub fn questions_file(&self, content: &str) -> PathBuf {
        self.folder.join(QUESTIONS).join(format!("{content}.parquet"))
    }

    /// The folder of the segments of clustered texts.
    pub fn clusters_folder(&self) -> PathBuf {
        self.folder.join(CLUSTERS)
    }

    /// The folder that versions and other work lie in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes `version` the current one: its record first, then the pointer. Its files must be complete.
    pub fn commit(&self, version: &Version) -> Result<()> {
        let files = self.files_of(version.number);
        for folder in [&files, &self.folder.join(QUESTIONS), &self.clusters_folder()] {
            if folder.exists() {
                sync_folder(folder).with_context(|| format!("cannot write {}", folder.display()))?;
            }
        }
        write_bytes(&self.path(version.number), &Self::record(version)?)?;
        sync_folder(&self.folder.join(VERSIONS)).with_context(|| format!("cannot write {}", files.display()))?;
        write_bytes(&self.folder.join(CURRENT), format!("{}\n", version.number).as_bytes())?;
        sync_folder(&self.folder).with_context(|| format!("cannot write {}", self.folder.display()))
    }

    /// The bytes of a version's record.
    pub fn record(version: &Version) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(version)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Removes the versions beyond the `kept` newest, what only they need, and what a killed run left of a next one.
    pub fn prune(&self, kept: usize) -> Result<()> {
        let all = self.kept();
        let stays = &all[all.len().saturating_sub(kept)..];
        let Some(oldest) = stays.first().map(|version| version.number) else { return Ok(()) };
        let newest = all.last().map_or(0, |version| version.number);
        // a record without its files would be one of a version that cannot be read
        let mut found = entries(&self.folder.join(VERSIONS));
        found.sort_by_key(|path| path.is_dir());
        let number = |path: &Path| path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
        for path in found {
            if number(&path).is_some_and(|number| number < oldest || number > newest) {
                remove(&path)?;
            }
        }
        let is_needed = |path: &Path, needed: &dyn Fn(&Version) -> Option<&str>| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            stays.iter().any(|version| needed(version) == Some(name.as_str()))
        };
        for path in entries(&self.folder.join(QUESTIONS)) {
            if !is_needed(&path, &|version| Some(version.content.as_str())) {
                remove(&path)?;
            }
        }
        for path in entries(&self.folder.join(CLUSTERS)) {
            if !is_needed(&path, &|version| version.members.as_deref()) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// What a run noted that has not ended; `None` if the last one ended.
    pub fn pending<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&fs::read(self.folder.join(PENDING)).ok()?).ok()
    }

    /// Notes something until the run ends.
    pub fn write_pending<T: Serialize>(&self, pending: &T) -> Result<()> {
        write_json(&self.folder.join(PENDING), pending)
    }

    /// Forgets what was noted: the run has ended.
    pub fn clear_pending(&self) -> Result<()> {
        remove_if_there(&self.folder.join(PENDING)).context("cannot end the run")
    }

    fn current_number(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(CURRENT)).ok()?.trim().parse().ok()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(VERSIONS).join(format!("{number:06}.json"))
    }

    fn read(&self, number: u64) -> Option<Version> {
        serde_json::from_slice(&fs::read(self.path(number)).ok()?).ok()
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn remove(path: &Path) -> Result<()> {
    step();
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> Version {
        let text = number.to_string();
        Version {
            number,
            run_id: text.clone(),
            started: text.clone(),
            content: text.clone(),
            questions: 0,
            texts: text,
            identities: vec![Identity::new(Kind::Vectors, 1, [])],
            parent: number.checked_sub(1),
            rolled_back_to: None,
            seconds: 0.0,
            members: None,
            decision: BTreeMap::new(),
            counts: Counts::default(),
            files: BTreeMap::new(),
        }
    }

    #[test]
    fn the_newest_versions_are_kept_with_what_they_need() {
        let output = tempfile::tempdir().unwrap();
        let versions = Versions::of(output.path());
        assert!(versions.current().is_none() && versions.kept().is_empty() && versions.next_number() == 1);
        for number in 1..=8 {
            fs::create_dir_all(versions.files_of(number)).unwrap();
            write_bytes(&versions.questions_file(&number.to_string()), b"q").unwrap();
            versions.commit(&version(number)).unwrap();
            assert_eq!(versions.current().unwrap().number, number);
        }
        // a run that was killed before it was the current one
        write_json(&versions.path(9), &version(9)).unwrap();
        versions.prune(7).unwrap();
        let kept: Vec<u64> = versions.kept().iter().map(|version| version.number).collect();
        assert_eq!(kept, [2, 3, 4, 5, 6, 7, 8]);
        assert!(!versions.files_of(1).exists() && versions.files_of(2).exists() && !versions.path(9).exists());
        assert!(!versions.questions_file("1").exists() && versions.questions_file("2").exists());
        assert!(versions.current().unwrap().fingerprint(Kind::Vectors).is_some());
        assert!(versions.current().unwrap().identity(Kind::Scores).is_none());
        assert_eq!((versions.next_number(), versions.find(1).is_none()), (9, true));
    }
}
