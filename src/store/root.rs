//! The folder of stored values: its format, its identities, and what of them is no longer needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::atomic_file::{TEMPORARY_PREFIX, remove_unfinished, write_bytes, write_json};
use crate::error::hint;
use crate::progress::Progress;
use crate::store::identity::{Identity, Kind};
use crate::store::lock::{self, Lock};
use crate::store::segments::Segments;
use crate::store::versions::{Version, Versions};
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;

/// Raised when a newer program could not read an older folder, or the other way round.
const FORMAT: u32 = 2;

const FILE: &str = "store.json";
const IDENTITY: &str = "identity.json";
const RECORD: &str = "record.json";
const TEXTS: &str = "texts";
const OUTPUTS: &str = "outputs";

/// Folders of version 0.1, which knew texts by their row.
const FIRST_FORMAT: [&str; 6] = ["embed", "candidates", "rerank-ab", "rerank-ba", "rerank", "cluster"];

/// A store, locked by this run unless it only looks.
pub struct Store {
    root: PathBuf,
    about: About,
    /// Outputs whose versions need what is here.
    outputs: Vec<PathBuf>,
    _locks: Vec<Lock>,
}

/// `store.json`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct About {
    format: u32,
    /// Runs that used the store so far.
    runs: u64,
}

/// `identity.json` beside the segments of an identity.
#[derive(Serialize, Deserialize)]
struct LastUse {
    identity: Identity,
    /// The last run that asked for it.
    run: u64,
}

impl Store {
    /// Opens the store of `output` for a run: its own `.mine` folder, or `shared`. Both are locked.
    pub fn open(output: &Path, shared: Option<&Path>, holder: &str, wait: bool, progress: &Progress) -> Result<Self> {
        let own = Versions::folder_of(output);
        fs::create_dir_all(&own).with_context(|| format!("cannot create {}", own.display()))?;
        let lock = Lock::acquire(&own, holder, wait, progress)?;
        remove_unfinished(output)?;
        sweep(&own)?;
        // an output's own store is not shared, whatever names it
        let is_own = |shared: &&Path| shared.canonicalize().is_ok_and(|path| Some(path) == own.canonicalize().ok());
        let Some(shared) = shared.filter(|shared| !is_own(shared)) else {
            return Self::begin(own, vec![output.to_path_buf()], vec![lock], progress);
        };
        if !shared.join(FILE).exists() && holds_something_else(shared) {
            return Err(hint(
                format!("--store {} holds something else: it has no {FILE}", shared.display()),
                "name an empty or a new folder, or one that an earlier run used with --store",
            ));
        }
        let registered = shared.join(OUTPUTS);
        fs::create_dir_all(&registered).with_context(|| format!("cannot create {}", registered.display()))?;
        let locks = vec![lock, Lock::acquire(shared, holder, wait, progress)?];
        sweep(shared)?;
        let absolute = std::path::absolute(output).unwrap_or_else(|_| output.to_path_buf());
        let text = absolute.display().to_string();
        let name = blake3::hash(text.as_bytes()).to_hex()[..32].to_string();
        write_bytes(&registered.join(name), text.as_bytes())?;
        Self::begin(shared.to_path_buf(), registered_outputs(&registered)?, locks, progress)
    }

    fn begin(root: PathBuf, outputs: Vec<PathBuf>, locks: Vec<Lock>, progress: &Progress) -> Result<Self> {
        let about = match read_about(&root)? {
            Some(about) => About { runs: about.runs + 1, ..about },
            None => {
                let old: Vec<PathBuf> =
                    FIRST_FORMAT.iter().map(|name| root.join(name)).filter(|folder| folder.is_dir()).collect();
                if !old.is_empty() {
                    progress.say(&format!(
                        "{} was written by mine 0.1, which knew questions by their row: vectors and scores are computed \
                         once more, and kept by their text from now on",
                        root.display()
                    ));
                }
                for folder in old {
                    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
                }
                About { format: FORMAT, runs: 1 }
            }
        };
        write_json(&root.join(FILE), &about)?;
        Ok(Self { root, about, outputs, _locks: locks })
    }

    /// Looks without creating or locking anything, for `--plan`.
    pub fn peek(output: &Path, shared: Option<&Path>) -> Result<Self> {
        let root = shared.map_or_else(|| Versions::folder_of(output), Path::to_path_buf);
        let about = read_about(&root)?.unwrap_or(About { format: FORMAT, runs: 0 });
        Ok(Self { root, about, outputs: vec![output.to_path_buf()], _locks: Vec::new() })
    }

    /// The segments of an identity, to be looked at.
    pub fn segments(&self, identity: &Identity) -> Segments {
        Segments::peek(self.folder(identity))
    }

    /// The segments of an identity, to be read and added to.
    pub fn use_segments(&self, identity: &Identity) -> Result<Segments> {
        let folder = self.folder(identity);
        let last_use = LastUse { identity: identity.clone(), run: self.about.runs };
        write_json(&folder.join(IDENTITY), &last_use)?;
        Ok(Segments::open(folder))
    }

    /// Identities that differ from one in this part alone, the last used first.
    pub fn differing_in(&self, identity: &Identity, part: &str) -> Vec<Identity> {
        let folders = fs::read_dir(self.root.join(identity.kind.name())).into_iter().flatten().flatten();
        let mut found: Vec<LastUse> = folders.filter_map(|folder| last_use(&folder.path())).collect();
        found.retain(|last| last.identity.differs_only_in(identity, part));
        found.sort_by_key(|last| std::cmp::Reverse(last.run));
        found.into_iter().map(|last| last.identity).collect()
    }

    /// What was recorded of an identity, `None` when nothing was.
    pub fn record<T: DeserializeOwned>(&self, identity: &Identity) -> Option<T> {
        serde_json::from_slice(&fs::read(self.folder(identity).join(RECORD)).ok()?).ok()
    }

    /// Records something of an identity: that its segments are complete, and how many rows they lack.
    pub fn write_record<T: Serialize>(&self, identity: &Identity, record: &T) -> Result<()> {
        write_json(&self.folder(identity).join(RECORD), record)
    }

    fn folder(&self, identity: &Identity) -> PathBuf {
        self.root.join(identity.kind.name()).join(identity.fingerprint())
    }

    /// Keeps the keys of a version and returns the name of their segment.
    pub fn write_texts(&self, keys: &[TextKey]) -> Result<String> {
        let columns: Columns = vec![("text".into(), Column::Keys(keys.to_vec()))];
        Segments::open(self.root.join(TEXTS)).append(columns)
    }

    /// Every key that a kept version of any output holds, and `more`; ascending.
    pub fn live_keys(&self, more: &[TextKey], warn: &dyn Fn(String)) -> Result<Vec<TextKey>> {
        let wanted: BTreeSet<String> = self.versions().into_iter().map(|version| version.texts).collect();
        let mut keys = more.to_vec();
        let folder = self.root.join(TEXTS);
        for name in wanted {
            let mut segment = Segments::of_file(&folder, &name);
            segment.read(warn, |columns| {
                let Some((_, Column::Keys(more))) = columns.into_iter().next() else { return Ok(0) };
                keys.extend(&more);
                Ok(more.len())
            })?;
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Versions of all outputs.
    fn versions(&self) -> Vec<Version> {
        self.outputs.iter().flat_map(|output| Versions::of(output).kept()).collect()
    }

    /// Removes what no kept version needs: texts of dropped versions, neighbours of all but the newest versions, and other
    /// identities once as many runs as versions are kept have passed without them.
    pub fn prune(&self, kept: usize) -> Result<()> {
        let versions = self.versions();
        let remove =
            |path: &Path| fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()));
        for kind in Kind::ALL {
            let newest = self.outputs.iter().filter_map(|output| Versions::of(output).current());
            let needing: Vec<Version> = match kind {
                // lists cost little to compute again, and hold most of the bytes
                Kind::Neighbours => newest.collect(),
                Kind::Vectors | Kind::Scores => versions.clone(),
            };
            let needed: BTreeSet<String> = needing.iter().filter_map(|version| version.fingerprint(kind)).collect();
            for entry in fs::read_dir(self.root.join(kind.name())).into_iter().flatten().flatten() {
                let last = last_use(&entry.path());
                let patience = if kind == Kind::Neighbours { 0 } else { (kept * self.outputs.len()) as u64 };
                let is_recent = last.is_some_and(|last| last.run + patience >= self.about.runs);
                if !is_recent && !needed.contains(&*entry.file_name().to_string_lossy()) {
                    remove(&entry.path())?;
                }
            }
        }
        let texts: BTreeSet<String> = versions.iter().map(|version| version.texts.clone()).collect();
        for entry in fs::read_dir(self.root.join(TEXTS)).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = entry.file_stem().unwrap_or_default().to_string_lossy();
            if !texts.contains(&*name) {
                fs::remove_file(&entry).with_context(|| format!("cannot remove {}", entry.display()))?;
            }
        }
        Ok(())
    }
}

/// The last use of an identity whose segments lie in `folder`.
fn last_use(folder: &Path) -> Option<LastUse> {
    serde_json::from_slice(&fs::read(folder.join(IDENTITY)).ok()?).ok()
}

fn read_about(root: &Path) -> Result<Option<About>> {
    let path = root.join(FILE);
    let Ok(bytes) = fs::read(&path) else { return Ok(None) };
    let about: About = serde_json::from_slice(&bytes).with_context(|| format!("{}: not a store", path.display()))?;
    if about.format > FORMAT {
        return Err(hint(
            format!("{}: it has format {}, this mine reads up to {FORMAT}", path.display(), about.format),
            "use the version of mine that wrote it, or a later one",
        ));
    }
    Ok(Some(about))
}

/// Whether a folder holds what no run left there before it wrote [`FILE`].
fn holds_something_else(folder: &Path) -> bool {
    let is_ours = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name == OUTPUTS || name == lock::FILE || name.to_string_lossy().starts_with(TEMPORARY_PREFIX)
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|entry| !entry.is_ok_and(is_ours)))
}

/// Outputs that said they use the store; one that is gone is forgotten.
fn registered_outputs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut outputs = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let output = PathBuf::from(fs::read_to_string(entry.path()).unwrap_or_default());
        match output.is_dir() {
            true => outputs.push(output),
            false => {
                fs::remove_file(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?
            }
        }
    }
    outputs.sort();
    Ok(outputs)
}

/// Removes the unfinished files that a killed run left in a folder and below it.
fn sweep(folder: &Path) -> Result<()> {
    remove_unfinished(folder)?;
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).try_for_each(|path| sweep(&path))
}
