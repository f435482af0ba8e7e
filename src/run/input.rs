//! The files that `--input` names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::error::{hint, usage};
use crate::tables::format::Format;

/// One input file as it is recorded in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    pub path: PathBuf,
    pub bytes: u64,
}

impl InputFile {
    /// The file as it is now, by a path that means the same in any folder.
    pub fn of(path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Self { bytes: std::fs::metadata(path).map_or(0, |file| file.len()), path: absolute }
    }
}

/// A file, every Parquet file of a folder, or the matches of a glob; sorted by path.
pub fn resolve(input: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(input);
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read folder {input}"))?;
        let mut files = Vec::new();
        for entry in entries {
            files.push(entry.with_context(|| format!("cannot read folder {input}"))?.path());
        }
        files.retain(|file| file.is_file() && Format::of(file) == Some(Format::Parquet));
        files.sort();
        if files.is_empty() {
            return Err(hint(
                format!("folder {input} holds no Parquet files"),
                "name files of another kind directly, or with a glob such as 'folder/*.csv'",
            ));
        }
        return Ok(files);
    }
    if !input.contains(['*', '?', '[']) {
        bail!("{input}: no such file or folder");
    }
    let matches = glob::glob(input).map_err(|e| usage(format!("--input {input}: not a valid glob: {e}")))?;
    let mut files = matches.collect::<Result<Vec<PathBuf>, _>>().with_context(|| format!("cannot read {input}"))?;
    files.retain(|file| file.is_file());
    files.sort();
    if files.is_empty() {
        bail!("{input}: the glob matches no file");
    }
    Ok(files)
}
