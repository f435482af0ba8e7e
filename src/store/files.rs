//! The files of a store, wherever they lie: in a folder, or on object storage.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic_file::{create_bytes, remove_if_there, write_bytes};

/// Files by their path from the root of a store, with `/` between the names.
pub trait Files: Debug + Send + Sync {
    /// The bytes of a file, `None` if it is not there.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// Writes a file, complete or not at all.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Writes a file if what is there has the bytes `expected` (`None`: if nothing is there). `false` if it does not.
    fn replace(&self, path: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<bool>;

    /// Removes a file; one that is not there is no error.
    fn remove(&self, path: &str) -> Result<()>;

    /// Removes a folder and everything in it; one that is not there is no error.
    fn remove_folder(&self, folder: &str) -> Result<()>;

    /// Names of the files and folders in a folder, ascending; none if it is not there.
    fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Where a file is, for people.
    fn place(&self, path: &str) -> String;

    /// The root, if it is a folder that this machine can lock.
    fn folder(&self) -> Option<&Path>;
}

/// The files of a folder, which need not exist.
pub fn of_folder(folder: impl Into<PathBuf>) -> Arc<dyn Files> {
    Arc::new(Folder(folder.into()))
}

/// Reads a JSON file; `None` if it is not there or is something else.
pub fn read_json<T: DeserializeOwned>(files: &dyn Files, path: &str) -> Result<Option<T>> {
    Ok(files.read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Writes a JSON file.
pub fn write_json<T: Serialize>(files: &dyn Files, path: &str, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).with_context(|| format!("cannot write {}", files.place(path)))?;
    bytes.push(b'\n');
    files.write(path, &bytes)
}

/// Path of a file in a folder; the root is `""`.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.into() } else { format!("{folder}/{name}") }
}

#[derive(Debug)]
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.place(path))),
        }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        write_bytes(&self.0.join(path), bytes)
    }

    /// Creating is safe whoever else does it. Replacing is not: runs hold the lock of their store.
    fn replace(&self, path: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<bool> {
        if expected.is_none() {
            return create_bytes(&self.0.join(path), bytes);
        }
        if self.read(path)?.as_deref() != expected {
            return Ok(false);
        }
        self.write(path, bytes)?;
        Ok(true)
    }

    fn remove(&self, path: &str) -> Result<()> {
        remove_if_there(&self.0.join(path)).with_context(|| format!("cannot remove {}", self.place(path)))
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        match fs::remove_dir_all(self.0.join(folder)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.place(folder)))
            }
            _ => Ok(()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let failed = || format!("cannot list {}", self.place(folder));
        let entries = match fs::read_dir(self.0.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(failed),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.with_context(failed)?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn place(&self, path: &str) -> String {
        self.0.join(path).display().to_string()
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_reads_lists_replaces_and_removes() {
        let root = tempfile::tempdir().unwrap();
        let files = of_folder(root.path().join("new"));
        assert_eq!(files.read("a/b.txt").unwrap(), None);
        assert!(files.list("a").unwrap().is_empty());
        files.write("a/b.txt", b"1").unwrap();
        files.write("a/c/d.txt", b"2").unwrap();
        assert_eq!(files.list("a").unwrap(), ["b.txt", "c"]);
        assert!(!files.replace("a/b.txt", None, b"3").unwrap() && !files.replace("a/b.txt", Some(b"2"), b"3").unwrap());
        assert!(files.replace("a/b.txt", Some(b"1"), b"3").unwrap() && files.replace("new", None, b"4").unwrap());
        assert_eq!(files.read("a/b.txt").unwrap().unwrap(), b"3");
        files.remove("a/b.txt").unwrap();
        files.remove("a/b.txt").unwrap();
        files.remove_folder("a").unwrap();
        files.remove_folder("a").unwrap();
        assert_eq!(files.list("").unwrap(), ["new"]);
    }
}
