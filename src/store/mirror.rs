//! What object storage keeps of the versions of an output, so that the next night can run on another machine.
//!
//! ```text
//! outputs/<name>/    copies of what lies under the same names in <output>/.mine: versions, questions, clusters
//!     CURRENT        replaced last, and only if no other run replaced it in between
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::atomic_file::write_bytes;
use crate::error::in_use;
use crate::store::files::{Files, join, read_json};
use crate::store::versions::{CLUSTERS, CURRENT, QUESTIONS, VERSIONS, Version, Versions};

/// Outputs that use a shared folder, a file each; on object storage a folder each, with the output's versions.
pub const OUTPUTS: &str = "outputs";

/// The name under which a shared store knows an output: from its path on this machine.
pub fn output_name(output: &Path) -> String {
    let absolute = std::path::absolute(output).unwrap_or_else(|_| output.to_path_buf());
    blake3::hash(absolute.display().to_string().as_bytes()).to_hex()[..32].to_string()
}

/// The copies of one output's versions.
pub struct Mirror {
    files: Arc<dyn Files>,
    folder: String,
    /// The output's `.mine`.
    local: PathBuf,
}

/// `CURRENT` as it was when a run began: what [`Mirror::commit`] replaces.
pub struct Seen(Option<Vec<u8>>);

impl Mirror {
    /// The mirror of an output. Outputs of one path on different machines are one.
    pub fn of(files: &Arc<dyn Files>, output: &Path) -> Self {
        let folder = join(OUTPUTS, &output_name(output));
        Self { files: files.clone(), folder, local: Versions::folder_of(output) }
    }

    /// Brings the output up to the mirror's current version, if that is another one. Returns the version that was fetched.
    pub fn pull(&self) -> Result<(Seen, Option<u64>)> {
        let current = self.files.read(&join(&self.folder, CURRENT))?;
        let number = current.as_deref().and_then(number_of);
        let here = std::fs::read(self.local.join(CURRENT)).ok().as_deref().and_then(number_of);
        if number <= here {
            return Ok((Seen(current), None));
        }
        for path in self.paths(&*self.files, &self.folder)? {
            let local = self.local.join(&path);
            if !local.exists()
                && let Some(bytes) = self.files.read(&join(&self.folder, &path))?
            {
                write_bytes(&local, &bytes)?;
            }
        }
        write_bytes(&self.local.join(CURRENT), current.as_deref().unwrap_or_default())?;
        Ok((Seen(current), number))
    }

    /// Copies what `version` needs, then makes it the current one. Fails if another run did so since `seen`.
    pub fn commit(&self, version: &Version, seen: &Seen) -> Result<()> {
        let there = self.paths(&*self.files, &self.folder)?;
        for path in self.local_paths()? {
            // records of versions may change; everything else is named by its content or written once
            if !there.contains(&path) || path.ends_with(".json") {
                let local = self.local.join(&path);
                let bytes = std::fs::read(&local).with_context(|| format!("cannot read {}", local.display()))?;
                self.files.write(&join(&self.folder, &path), &bytes)?;
            }
        }
        let record = format!("{VERSIONS}/{:06}.json", version.number);
        self.files.write(&join(&self.folder, &record), &serde_json::to_vec_pretty(version)?)?;
        let current = format!("{}\n", version.number);
        if self.files.replace(&join(&self.folder, CURRENT), seen.0.as_deref(), current.as_bytes())? {
            return Ok(());
        }
        Err(in_use(
            format!("another run wrote a version of this output to {} in the meantime", self.files.place(&self.folder)),
            "type the command again: it starts from that version, and takes up what this run computed",
        ))
    }

    /// Removes the copies of what the output no longer has.
    pub fn prune(&self) -> Result<()> {
        let here = self.local_paths()?;
        let there = self.paths(&*self.files, &self.folder)?;
        let gone = there.iter().filter(|path| !here.contains(path));
        gone.into_iter().try_for_each(|path| self.files.remove(&join(&self.folder, path)))
    }

    /// Versions of all outputs that a store has copies of.
    pub fn versions(files: &dyn Files) -> Result<Vec<Version>> {
        let mut found = Vec::new();
        for output in files.list(OUTPUTS)? {
            let folder = join(&join(OUTPUTS, &output), VERSIONS);
            for name in files.list(&folder)?.iter().filter(|name| name.ends_with(".json")) {
                found.extend(read_json(files, &join(&folder, name))?);
            }
        }
        Ok(found)
    }

    /// The newest of each.
    pub fn newest_versions(files: &dyn Files) -> Result<Vec<Version>> {
        let mut found = Vec::new();
        for output in files.list(OUTPUTS)? {
            let folder = join(OUTPUTS, &output);
            let current = files.read(&join(&folder, CURRENT))?;
            let Some(number) = current.as_deref().and_then(number_of) else { continue };
            found.extend(read_json(files, &format!("{folder}/{VERSIONS}/{number:06}.json"))?);
        }
        Ok(found)
    }

    /// Files of versions, from `.mine`.
    fn local_paths(&self) -> Result<Vec<String>> {
        self.paths(&*crate::store::files::of_folder(&self.local), "")
    }

    fn paths(&self, files: &dyn Files, root: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for folder in [VERSIONS, QUESTIONS, CLUSTERS] {
            // a result that is not complete lies in a folder of this name
            for name in files.list(&join(root, folder))?.into_iter().filter(|name| !name.ends_with(".next")) {
                let path = join(folder, &name);
                // the result files of a version lie one folder deeper
                let below = if name.contains('.') { Vec::new() } else { files.list(&join(root, &path))? };
                match below.is_empty() {
                    true => found.push(path),
                    false => found.extend(below.into_iter().map(|name| join(&path, &name))),
                }
            }
        }
        Ok(found)
    }
}

fn number_of(current: &[u8]) -> Option<u64> {
    std::str::from_utf8(current).ok()?.trim().parse().ok()
}
