//! The files that `--input` names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::error::{usage, usage_with_hint};
use crate::tables::format::Format;
use crate::tables::source;

/// One input file as it is recorded in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    pub path: PathBuf,
    pub bytes: u64,
}

impl InputFile {
    /// The file as it is now, by a path that means the same in any folder; `-` is standard input.
    pub fn of(path: &Path) -> Self {
        if source::is_stdin(path) {
            return Self { bytes: source::size(path).unwrap_or(0), path: path.to_path_buf() };
        }
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Self { bytes: std::fs::metadata(path).map_or(0, |file| file.len()), path: absolute }
    }
}

/// The files that all of `inputs` name, in their order.
pub fn resolve_all(inputs: &[String]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for input in inputs {
        for file in resolve(input)? {
            if files.contains(&file) {
                return Err(usage(format!("--input names {} twice", source::name(&file))));
            }
            files.push(file);
        }
    }
    Ok(files)
}

/// A file, every Parquet file of a folder, or the matches of a glob; sorted by path.
pub fn resolve(input: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(input);
    if path.is_file() || source::is_stdin(path) {
        return Ok(vec![path.to_path_buf()]);
    }
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read folder {input}"))?;
        let mut files = Vec::new();
        for entry in entries {
            files.push(entry.with_context(|| format!("cannot read folder {input}"))?.path());
        }
        files.retain(|file| file.is_file() && Format::of_plain(file) == Some(Format::Parquet));
        files.sort();
        if files.is_empty() {
            return Err(usage_with_hint(
                format!("folder {input} holds no Parquet files"),
                "name files of another kind directly, or with a glob such as 'folder/*.csv'",
            ));
        }
        return Ok(files);
    }
    if path.exists() {
        return Err(usage_with_hint(
            format!("{input} is no regular file"),
            "pipe it in instead: mine --input - < FILE",
        ));
    }
    if !input.contains(['*', '?', '[']) {
        return Err(usage(format!("{input}: no such file or folder")));
    }
    let matches = glob::glob(input).map_err(|e| usage(format!("--input {input}: not a valid glob: {e}")))?;
    let mut files = matches.collect::<Result<Vec<PathBuf>, _>>().with_context(|| format!("cannot read {input}"))?;
    files.retain(|file| file.is_file());
    files.sort();
    if files.is_empty() {
        return Err(usage(format!("{input}: the glob matches no file")));
    }
    Ok(files)
}

/// Serde of paths: one is a string, several are a list.
pub mod one_or_many {
    use serde::de::{Deserializer, Error, SeqAccess, Visitor};
    use serde::{Serialize, Serializer};

    /// Writes a string or a list.
    pub fn serialize<S: Serializer>(paths: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match paths {
            [path] => path.serialize(serializer),
            paths => paths.serialize(serializer),
        }
    }

    /// Reads what [`serialize`] wrote.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        struct Paths;

        impl<'de> Visitor<'de> for Paths {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a path or a list of paths")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<Vec<String>, E> {
                Ok(vec![path.into()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut paths: A) -> Result<Vec<String>, A::Error> {
                let mut found = Vec::new();
                while let Some(path) = paths.next_element()? {
                    found.push(path);
                }
                Ok(found)
            }
        }

        deserializer.deserialize_any(Paths)
    }
}
