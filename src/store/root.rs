//! The folder of stored values: its format, its identities, and what of them is no longer needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::atomic_file::{TEMPORARY_PREFIX, remove_unfinished};
use crate::error::hint;
use crate::machine::{host, unique};
use crate::progress::Progress;
use crate::store::files::{Files, join, of_folder, read_json, write_json};
use crate::store::identity::{Identity, Kind};
use crate::store::lock::{self, Lock};
use crate::store::mirror::{Mirror, OUTPUTS, output_name};
use crate::store::place;
use crate::store::segments::Segments;
use crate::store::versions::{Version, Versions};
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;

/// Raised when a newer program could not read an older folder, or the other way round.
const FORMAT: u32 = 2;

const FILE: &str = "store.json";
const ID: &str = "id";
const IDENTITY: &str = "identity.json";
const RECORD: &str = "record.json";
const TEXTS: &str = "texts";
/// Units of work for other machines, and what came of them.
pub const WORK: &str = "work";
/// What executors say of themselves.
pub const EXECUTORS: &str = "executors";

/// In a shared folder, an unfinished file of this age is of a process that is gone.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Folders of version 0.1, which knew texts by their row.
const FIRST_FORMAT: [&str; 6] = ["embed", "candidates", "rerank-ab", "rerank-ba", "rerank", "cluster"];

/// A store. A folder is locked by this run, unless it only looks; object storage cannot be locked.
pub struct Store {
    files: Arc<dyn Files>,
    about: About,
    /// Outputs whose versions need what is here.
    outputs: Vec<PathBuf>,
    /// Whether other outputs need it too, of which this run does not know everything.
    has_foreign_outputs: bool,
    /// Folder of the units of work of this output.
    work: String,
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
    /// Opens the store of `output` for a run: its own `.mine` folder, or `shared`. Folders are locked.
    pub fn open(output: &Path, shared: Option<&Path>, holder: &str, wait: bool, progress: &Progress) -> Result<Self> {
        let own = Versions::folder_of(output);
        fs::create_dir_all(&own).with_context(|| format!("cannot create {}", own.display()))?;
        let lock = Lock::acquire(&own, holder, wait, progress)?;
        remove_unfinished(output, Duration::ZERO)?;
        sweep(&own, Duration::ZERO)?;
        let shared = shared.map(|named| Ok::<_, anyhow::Error>((named, place::open(named)?))).transpose()?;
        // an output's own store is not shared, whatever names it
        let canonical = |path: &Path| path.canonicalize().ok();
        let is_own = |files: &Arc<dyn Files>| {
            files.folder().and_then(canonical).is_some_and(|folder| Some(folder) == canonical(&own))
        };
        let alone = (vec![output.to_path_buf()], false);
        let Some((named, shared)) = shared.filter(|(_, files)| !is_own(files)) else {
            return Self::begin(of_folder(own), output, alone, vec![lock], progress);
        };
        if shared.read(FILE)?.is_none() && holds_something_else(&*shared)? {
            return Err(hint(
                format!("--store {} holds something else: it has no {FILE}", named.display()),
                "name an empty or a new folder, or one that an earlier run used with --store",
            ));
        }
        let mut locks = vec![lock];
        let Some(folder) = shared.folder().map(Path::to_path_buf) else {
            // object storage cannot be locked: what other outputs compute now is in no version yet
            let own = output_name(output);
            let has_others = shared.list(OUTPUTS)?.iter().any(|name| *name != own);
            return Self::begin(shared, output, (vec![output.to_path_buf()], has_others), locks, progress);
        };
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        locks.push(Lock::acquire(&folder, holder, wait, progress)?);
        // executors write without the lock: what is younger may be theirs
        sweep(&folder, ABANDONED)?;
        let absolute = std::path::absolute(output).unwrap_or_else(|_| output.to_path_buf());
        let entry = format!("{}\n{}", absolute.display(), host());
        // outputs with one path on two machines are two
        let name = blake3::hash(entry.as_bytes()).to_hex()[..32].to_string();
        shared.write(&join(OUTPUTS, &name), entry.as_bytes())?;
        let outputs = registered_outputs(&*shared)?;
        Self::begin(shared, output, outputs, locks, progress)
    }

    fn begin(
        files: Arc<dyn Files>,
        output: &Path,
        (outputs, has_foreign_outputs): (Vec<PathBuf>, bool),
        locks: Vec<Lock>,
        progress: &Progress,
    ) -> Result<Self> {
        let about = match read_about(&*files)? {
            Some(about) => About { runs: about.runs + 1, ..about },
            None => {
                let there = files.list("")?;
                let old: Vec<&&str> = FIRST_FORMAT.iter().filter(|name| there.iter().any(|one| one == *name)).collect();
                if !old.is_empty() {
                    progress.say(&format!(
                        "{} was written by mine 0.1, which knew questions by their row: vectors and scores are computed \
                         once more, and kept by their text from now on",
                        files.place("")
                    ));
                }
                old.into_iter().try_for_each(|folder| files.remove_folder(folder))?;
                About { format: FORMAT, runs: 1 }
            }
        };
        write_json(&*files, FILE, &about)?;
        let mut work = join(WORK, &output_name(output));
        if files.folder().is_none() {
            // without a lock another run of this output may be under way
            work = join(&work, &unique());
        }
        Ok(Self { files, about, outputs, has_foreign_outputs, work, _locks: locks })
    }

    /// Looks without creating or locking anything, for `--plan`.
    pub fn peek(output: &Path, shared: Option<&Path>) -> Result<Self> {
        let files = match shared {
            Some(shared) => place::open(shared)?,
            None => of_folder(Versions::folder_of(output)),
        };
        let about = read_about(&*files)?.unwrap_or(About { format: FORMAT, runs: 0 });
        let (outputs, work) = (vec![output.to_path_buf()], join(WORK, &output_name(output)));
        Ok(Self { files, about, outputs, has_foreign_outputs: false, work, _locks: Vec::new() })
    }

    /// The files of the store, for those who compute for it elsewhere.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// The folder of the units of work of this output, and of what comes of them.
    pub fn work(&self) -> &str {
        &self.work
    }

    /// Whether it is known what is needed here. If not, nothing is removed.
    pub fn can_be_tidied(&self) -> bool {
        !self.has_foreign_outputs
    }

    /// What object storage keeps of the versions of an output; `None` if the store is a folder.
    pub fn mirror(&self, output: &Path) -> Option<Mirror> {
        self.files.folder().is_none().then(|| Mirror::of(&self.files, output))
    }

    /// The segments of an identity, to be looked at.
    pub fn segments(&self, identity: &Identity) -> Result<Segments> {
        Segments::peek(&self.files, &folder_of(identity))
    }

    /// The segments of an identity, to be read and added to.
    pub fn use_segments(&self, identity: &Identity) -> Result<Segments> {
        let folder = folder_of(identity);
        let last_use = LastUse { identity: identity.clone(), run: self.about.runs };
        write_json(&*self.files, &join(&folder, IDENTITY), &last_use)?;
        Segments::open(&self.files, &folder)
    }

    /// Identities that differ from one in this part alone, the last used first.
    pub fn differing_in(&self, identity: &Identity, part: &str) -> Result<Vec<Identity>> {
        let mut found = Vec::new();
        for name in self.files.list(identity.kind.name())? {
            found.extend(self.last_use(&join(identity.kind.name(), &name))?);
        }
        found.retain(|last| last.identity.differs_only_in(identity, part));
        found.sort_by_key(|last| std::cmp::Reverse(last.run));
        Ok(found.into_iter().map(|last| last.identity).collect())
    }

    /// What was recorded of an identity, `None` when nothing was.
    pub fn record<T: DeserializeOwned>(&self, identity: &Identity) -> Result<Option<T>> {
        read_json(&*self.files, &join(&folder_of(identity), RECORD))
    }

    /// Records something of an identity: that its segments are complete, and how many rows they lack.
    pub fn write_record<T: Serialize>(&self, identity: &Identity, record: &T) -> Result<()> {
        write_json(&*self.files, &join(&folder_of(identity), RECORD), record)
    }

    /// The last use of an identity whose segments lie in `folder`.
    fn last_use(&self, folder: &str) -> Result<Option<LastUse>> {
        read_json(&*self.files, &join(folder, IDENTITY))
    }

    /// Keeps the keys of a version and returns the name of their segment.
    pub fn write_texts(&self, keys: &[TextKey]) -> Result<String> {
        let columns: Columns = vec![("text".into(), Column::Keys(keys.to_vec()))];
        Segments::open(&self.files, TEXTS)?.append(columns)
    }

    /// Every key that a kept version of any output holds, and `more`; ascending.
    pub fn live_keys(&self, more: &[TextKey], warn: &dyn Fn(String)) -> Result<Vec<TextKey>> {
        let wanted: BTreeSet<String> = self.versions()?.into_iter().flatten().map(|version| version.texts).collect();
        let mut keys = more.to_vec();
        for name in wanted {
            let mut segment = Segments::of_file(&self.files, TEXTS, &name);
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

    /// The kept versions of every output, the newest last.
    fn versions(&self) -> Result<Vec<Vec<Version>>> {
        let mut versions: Vec<Vec<Version>> = self.outputs.iter().map(|output| Versions::of(output).kept()).collect();
        if self.files.folder().is_none() {
            versions.extend(Mirror::versions(&self.files)?);
        }
        Ok(versions)
    }

    /// Removes what no kept version needs: texts of dropped versions, neighbours of all but the newest versions, and other
    /// identities once as many runs as versions are kept have passed without them.
    pub fn prune(&self, kept: usize) -> Result<()> {
        self.files.remove_folder(&self.work)?;
        if !self.can_be_tidied() {
            return Ok(());
        }
        let versions = self.versions()?;
        for kind in Kind::ALL {
            let needing: Vec<&Version> = match kind {
                // lists cost little to compute again, and hold most of the bytes
                Kind::Neighbours => versions.iter().filter_map(|kept| kept.last()).collect(),
                Kind::Vectors | Kind::Scores => versions.iter().flatten().collect(),
            };
            let needed: BTreeSet<String> = needing.iter().filter_map(|version| version.fingerprint(kind)).collect();
            let patience = if kind == Kind::Neighbours { 0 } else { kept * self.outputs.len() };
            for name in self.files.list(kind.name())? {
                let folder = join(kind.name(), &name);
                let last = self.last_use(&folder)?;
                let is_recent = last.is_some_and(|last| last.run + patience as u64 >= self.about.runs);
                if !is_recent && !needed.contains(&name) {
                    self.files.remove_folder(&folder)?;
                }
            }
        }
        let texts: BTreeSet<String> = versions.iter().flatten().map(|version| version.texts.clone()).collect();
        for file in self.files.list(TEXTS)? {
            if !texts.contains(file.split('.').next().unwrap_or_default()) {
                self.files.remove(&join(TEXTS, &file))?;
            }
        }
        Ok(())
    }
}

/// Folder of the segments of an identity.
pub fn folder_of(identity: &Identity) -> String {
    join(identity.kind.name(), &identity.fingerprint())
}

fn read_about(files: &dyn Files) -> Result<Option<About>> {
    let Some(bytes) = files.read(FILE)? else { return Ok(None) };
    let about: About = serde_json::from_slice(&bytes).with_context(|| format!("{}: not a store", files.place(FILE)))?;
    if about.format > FORMAT {
        return Err(hint(
            format!("{}: it has format {}, this mine reads up to {FORMAT}", files.place(FILE), about.format),
            "use the version of mine that wrote it, or a later one",
        ));
    }
    Ok(Some(about))
}

/// Whether there is what no run left before it wrote [`FILE`].
fn holds_something_else(files: &dyn Files) -> Result<bool> {
    let is_ours = |name: &String| {
        [OUTPUTS, lock::FILE, EXECUTORS, ID].contains(&name.as_str()) || name.starts_with(TEMPORARY_PREFIX)
    };
    Ok(!files.list("")?.iter().all(is_ours))
}

/// The outputs of this machine in a shared folder, and whether other machines have some too. Entries of outputs that no longer
/// exist on this machine are removed.
fn registered_outputs(files: &dyn Files) -> Result<(Vec<PathBuf>, bool)> {
    let (mut outputs, mut has_foreign) = (Vec::new(), false);
    for name in files.list(OUTPUTS)? {
        let path = join(OUTPUTS, &name);
        let entry = String::from_utf8_lossy(&files.read(&path)?.unwrap_or_default()).into_owned();
        let (output, machine) =
            entry.split_once('\n').map_or((entry.as_str(), None), |(path, host)| (path, Some(host)));
        let output = PathBuf::from(output);
        match output.is_dir() {
            _ if machine.is_some_and(|machine| machine != host()) => has_foreign = true,
            true => outputs.push(output),
            false => files.remove(&path)?,
        }
    }
    outputs.sort();
    Ok((outputs, has_foreign))
}

/// The id of a store: the same for everyone who reaches it. The first one to ask chooses it.
pub fn id(files: &dyn Files) -> Result<String> {
    files.replace(ID, None, unique().as_bytes())?;
    let id = files.read(ID)?.with_context(|| format!("cannot read {}", files.place(ID)))?;
    Ok(String::from_utf8_lossy(&id).into_owned())
}

/// Removes the unfinished files that a killed run left in a folder and below it, if they are as old as `least`.
fn sweep(folder: &Path, least: Duration) -> Result<()> {
    remove_unfinished(folder, least)?;
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    folders.into_iter().try_for_each(|path| sweep(&path, least))
}
