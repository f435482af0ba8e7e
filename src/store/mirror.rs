//! What object storage keeps of the versions of an output, so that the next night can run on another machine.
//!
//! ```text
//! outputs/<name>/
//!     files/<hash>      what lies in <output>/.mine: results of versions, records, questions, clusters
//!     commits/<hash>    which files a version and those before it consist of, by their paths
//!     CURRENT           the hash of the newest commit; replaced only if no other run replaced it in between
//! <output>/.mine/REMOTE the commit that this machine has, and its version
//! ```
//!
//! Files and commits are named by their content, so two runs never mix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::atomic_file::write_bytes;
use crate::error::{hint, in_use};
use crate::store::files::{Files, join, of_folder, read_json};
use crate::store::versions::{CLUSTERS, CURRENT, QUESTIONS, VERSIONS, Version, Versions};

/// In a shared folder: a file for each output that uses it. On object storage: a folder for each output, with its versions.
pub const OUTPUTS: &str = "outputs";

const FILES: &str = "files";
const COMMITS: &str = "commits";
const REMOTE: &str = "REMOTE";

/// The name under which a shared store knows an output: from its path on this machine.
pub fn output_name(output: &Path) -> String {
    let absolute = std::path::absolute(output).unwrap_or_else(|_| output.to_path_buf());
    hash(absolute.display().to_string().as_bytes())
}

/// The copies of one output's versions.
pub struct Mirror {
    files: Arc<dyn Files>,
    folder: String,
    /// The output's `.mine`.
    local: PathBuf,
    /// `CURRENT` as this machine knows it: a commit replaces it only if it is still the same.
    current: Option<Vec<u8>>,
    /// What was there before the last commit, and is not needed any more.
    unneeded: Vec<String>,
}

/// What a version and those before it consist of.
#[derive(Serialize, Deserialize)]
struct Commit {
    number: u64,
    /// Path in `.mine` → hash.
    files: BTreeMap<String, String>,
}

impl Mirror {
    /// The mirror of an output. Outputs with the same path on different machines share one.
    pub fn of(files: &Arc<dyn Files>, output: &Path) -> Self {
        Self::in_folder(files, join(OUTPUTS, &output_name(output)), Versions::folder_of(output))
    }

    fn in_folder(files: &Arc<dyn Files>, folder: String, local: PathBuf) -> Self {
        Self { files: files.clone(), folder, local, current: None, unneeded: Vec::new() }
    }

    /// Whether another machine committed since this one did.
    pub fn is_newer(&self) -> Result<bool> {
        Ok(self.files.read(&self.path(CURRENT))?.is_some_and(|current| !self.is_here(&current)))
    }

    /// Takes over the versions of the current commit, unless this machine has them. Returns the number of the newest one
    /// if they were fetched.
    pub fn pull(&mut self) -> Result<Option<u64>> {
        self.current = self.files.read(&self.path(CURRENT))?;
        let Some(current) = self.current.as_ref().filter(|current| !self.is_here(current)) else { return Ok(None) };
        let id = String::from_utf8_lossy(current).into_owned();
        let commit = self.commit_of(&id)?.with_context(|| format!("{} is gone", self.place(&join(COMMITS, &id))))?;
        self.refuse_other_history(&commit)?;
        for (path, expected) in &commit.files {
            let local = self.local.join(path);
            if std::fs::read(&local).is_ok_and(|bytes| hash(&bytes) == *expected) {
                continue;
            }
            let object = join(FILES, expected);
            let bytes = self.files.read(&self.path(&object))?;
            write_bytes(&local, &bytes.with_context(|| format!("{} is gone", self.place(&object)))?)?;
        }
        for path in local_paths(&self.local)?.into_iter().filter(|path| !commit.files.contains_key(path)) {
            let local = self.local.join(&path);
            std::fs::remove_file(&local).with_context(|| format!("cannot remove {}", local.display()))?;
        }
        write_bytes(&self.local.join(CURRENT), format!("{}\n", commit.number).as_bytes())?;
        self.note(&id, commit.number)?;
        Ok(Some(commit.number))
    }

    /// Fails if the versions here are not those that the commit continues: another output has the same path, or this one ran
    /// with another store in between.
    fn refuse_other_history(&self, commit: &Commit) -> Result<()> {
        let Some(here) = Versions::in_folder(&self.local).current() else { return Ok(()) };
        let path = format!("{VERSIONS}/{:06}.json", here.number);
        let is_continued = commit.files.get(&path) == Some(&hash(&Versions::record(&here)?));
        let was_committed = std::fs::read_to_string(self.local.join(REMOTE))
            .is_ok_and(|remote| remote.lines().nth(1) == Some(here.number.to_string().as_str()));
        if is_continued || was_committed {
            return Ok(());
        }
        Err(hint(
            format!(
                "{} has version {} of another history of this output than {}",
                self.place(""),
                commit.number,
                self.local.display()
            ),
            format!(
                "choose another --output or another prefix of the store; or remove {} to continue with the versions of the \
                 store",
                self.local.display()
            ),
        ))
    }

    /// Copies `version` and what is kept before it, and makes it the current version there and then here. Fails if another run
    /// committed since [`Mirror::pull`].
    pub fn commit(&mut self, version: &Version) -> Result<()> {
        let id = self.commit_there(version)?;
        Versions::in_folder(&self.local).commit(version)?;
        self.note(&id, version.number)
    }

    fn commit_there(&mut self, version: &Version) -> Result<String> {
        let there: BTreeSet<String> = self.files.list(&self.path(FILES))?.into_iter().collect();
        let commits = self.files.list(&self.path(COMMITS))?;
        let mut commit = Commit { number: version.number, files: BTreeMap::new() };
        let mut add = |path: String, bytes: &[u8]| -> Result<()> {
            let name = hash(bytes);
            if !there.contains(&name) {
                self.files.write(&self.path(&join(FILES, &name)), bytes)?;
            }
            commit.files.insert(path, name);
            Ok(())
        };
        for path in local_paths(&self.local)? {
            let local = self.local.join(&path);
            let bytes = std::fs::read(&local).with_context(|| format!("cannot read {}", local.display()))?;
            add(path, &bytes)?;
        }
        add(format!("{VERSIONS}/{:06}.json", version.number), &Versions::record(version)?)?;
        let bytes = serde_json::to_vec(&commit)?;
        let id = hash(&bytes);
        self.files.write(&self.path(&join(COMMITS, &id)), &bytes)?;
        if !self.files.replace(&self.path(CURRENT), self.current.as_deref(), id.as_bytes())? {
            return Err(in_use(
                format!("another run wrote a version of this output to {} in the meantime", self.place("")),
                "type the command again: it starts from that version and reuses what this run computed",
            ));
        }
        // a run that committed before may have removed what was there until now
        let kept: BTreeSet<String> = self.files.list(&self.path(FILES))?.into_iter().collect();
        for (path, name) in commit.files.iter().filter(|(_, name)| !kept.contains(*name)) {
            let bytes = std::fs::read(self.local.join(path)).with_context(|| format!("{path} is gone"))?;
            self.files.write(&self.path(&join(FILES, name)), &bytes)?;
        }
        let needed: BTreeSet<&String> = commit.files.values().collect();
        let files = there.iter().filter(|name| !needed.contains(name)).map(|name| join(FILES, name));
        let commits = commits.iter().filter(|name| **name != id).map(|name| join(COMMITS, name));
        self.unneeded = files.chain(commits).collect();
        self.current = Some(id.clone().into_bytes());
        Ok(id)
    }

    /// Notes that this machine has a commit.
    fn note(&self, id: &str, number: u64) -> Result<()> {
        write_bytes(&self.local.join(REMOTE), format!("{id}\n{number}\n").as_bytes())
    }

    /// Removes what was there before a commit and is not needed any more, unless another run has committed since.
    pub fn prune(&self) -> Result<()> {
        for path in &self.unneeded {
            // the next commit may need it
            if self.files.read(&self.path(CURRENT))? != self.current {
                return Ok(());
            }
            self.files.remove(&self.path(path))?;
        }
        Ok(())
    }

    /// The kept versions of every output that a store has, the newest last.
    pub fn versions(files: &Arc<dyn Files>) -> Result<Vec<Vec<Version>>> {
        let mut found = Vec::new();
        for output in files.list(OUTPUTS)? {
            let mirror = Self::in_folder(files, join(OUTPUTS, &output), PathBuf::new());
            let Some(current) = files.read(&mirror.path(CURRENT))? else { continue };
            let Some(commit) = mirror.commit_of(&String::from_utf8_lossy(&current))? else { continue };
            let mut versions = Vec::new();
            for (_, name) in commit.files.iter().filter(|(path, _)| is_record(path)) {
                versions.extend(read_json(&**files, &mirror.path(&join(FILES, name)))?);
            }
            found.push(versions);
        }
        Ok(found)
    }

    fn commit_of(&self, id: &str) -> Result<Option<Commit>> {
        read_json(&*self.files, &self.path(&join(COMMITS, id)))
    }

    fn is_here(&self, current: &[u8]) -> bool {
        let here = std::fs::read_to_string(self.local.join(REMOTE)).unwrap_or_default();
        here.lines().next().is_some_and(|id| id.as_bytes() == current)
    }

    fn path(&self, path: &str) -> String {
        join(&self.folder, path)
    }

    fn place(&self, path: &str) -> String {
        self.files.place(&self.path(path))
    }
}

fn is_record(path: &str) -> bool {
    path.starts_with(VERSIONS) && path.matches('/').count() == 1
}

/// Files of versions in `.mine`.
fn local_paths(local: &Path) -> Result<Vec<String>> {
    let files = of_folder(local);
    let mut found = Vec::new();
    for folder in [VERSIONS, QUESTIONS, CLUSTERS] {
        // a version that is not complete lies in a folder of this name
        for name in files.list(folder)?.into_iter().filter(|name| !name.ends_with(".next")) {
            let path = join(folder, &name);
            match local.join(&path).is_dir() {
                false => found.push(path),
                // the result files of a version
                true => found.extend(files.list(&path)?.into_iter().map(|name| join(&path, &name))),
            }
        }
    }
    Ok(found)
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    fn version(number: u64, run_id: &str) -> Version {
        let record = format!(
            r#"{{"number":{number},"run_id":"{run_id}","started":"","content":"","questions":0,"texts":"","identities":[]}}"#
        );
        serde_json::from_str(&record).unwrap()
    }

    /// A run on a machine whose output is `output`: its version has one result file.
    fn write(output: &Path, version: &Version, result: &str) {
        let path = Versions::of(output).files_of(version.number).join("pairs.parquet");
        write_bytes(&path, result.as_bytes()).unwrap();
    }

    fn result(output: &Path, number: u64) -> String {
        std::fs::read_to_string(Versions::of(output).files_of(number).join("pairs.parquet")).unwrap()
    }

    /// Two machines with an output of the same name and one store; a folder stands for object storage.
    #[test]
    fn machines_take_turns_and_never_mix_their_versions() {
        let store = tempfile::tempdir().unwrap();
        let machines = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let files = of_folder(store.path());
        let [mut a, mut b] = machines
            .each_ref()
            .map(|machine| Mirror::in_folder(&files, join(OUTPUTS, "one"), Versions::folder_of(machine.path())));
        let [at_a, at_b] = machines.each_ref().map(|machine| machine.path());
        assert_eq!(a.pull().unwrap(), None);
        let first = version(1, "first");
        write(at_a, &first, "1");
        a.commit(&first).unwrap();
        a.prune().unwrap();
        assert!(!a.is_newer().unwrap() && b.is_newer().unwrap());

        // both write version 2; the second to end fails, and takes over the other's
        assert_eq!(a.pull().unwrap(), None);
        assert_eq!((b.pull().unwrap(), result(at_b, 1).as_str()), (Some(1), "1"));
        let (of_a, of_b) = (version(2, "a"), version(2, "b"));
        write(at_a, &of_a, "2 of a");
        write(at_b, &of_b, "2 of b");
        b.commit(&of_b).unwrap();
        assert_eq!(exit_code(&a.commit(&of_a).unwrap_err()), 4);
        b.prune().unwrap();
        assert_eq!((a.pull().unwrap(), result(at_a, 2).as_str()), (Some(2), "2 of b"));
        assert_eq!(Versions::of(at_a).current().unwrap().run_id, "b");

        // a run that was killed after its commit has it when it begins again
        let third = version(3, "third");
        write(at_a, &third, "3");
        a.commit_there(&third).unwrap();
        assert_eq!(a.pull().unwrap(), Some(3));
        assert_eq!(Versions::of(at_a).current().unwrap().run_id, "third");
        // b went on with another store in between: its history is another one now
        let lonely = version(3, "lonely");
        write(at_b, &lonely, "3 of b");
        Versions::of(at_b).commit(&lonely).unwrap();
        let error = b.pull().err().unwrap();
        assert!(error.to_string().contains("another history of this output"), "{error}");
        assert_eq!(result(at_b, 3), "3 of b");
        let all = Mirror::versions(&files).unwrap();
        let numbers: Vec<u64> = all[0].iter().map(|version| version.number).collect();
        assert_eq!((all.len(), numbers), (1, vec![1, 2, 3]));
    }
}
