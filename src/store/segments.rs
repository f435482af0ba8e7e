//! The segments of one identity: immutable files named by the hash of their bytes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::atomic_file::write_bytes;
use crate::tables::segment_file::{Columns, decode, encode, row_order, rows, take};
use crate::text::key::TextKey;

const EXTENSION: &str = "arrow";
const HASH_CHARACTERS: usize = 32;

/// Segments are merged only if more of them than this have less than half the full size.
const MOST_SMALL: usize = 16;

/// A folder of segments, in the order of their names.
pub struct Segments {
    folder: PathBuf,
    files: Vec<Segment>,
    /// Whether damaged files are left where they are.
    is_peek: bool,
}

struct Segment {
    path: PathBuf,
    /// Rows that some kept version needs; `None` until they are read.
    live_rows: Option<usize>,
}

impl Segments {
    /// The segments of a folder, which need not exist.
    pub fn open(folder: PathBuf) -> Self {
        let paths = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == EXTENSION)).collect();
        paths.sort();
        let files = paths.into_iter().map(|path| Segment { path, live_rows: None }).collect();
        Self { folder, files, is_peek: false }
    }

    /// The same, but nothing is removed.
    pub fn peek(folder: PathBuf) -> Self {
        Self { is_peek: true, ..Self::open(folder) }
    }

    /// One segment by its name.
    pub fn of_file(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.{EXTENSION}"));
        let files = if path.is_file() { vec![Segment { path, live_rows: None }] } else { Vec::new() };
        Self { folder: folder.to_path_buf(), files, is_peek: false }
    }

    /// Removes all segments.
    pub fn clear(&mut self) -> Result<()> {
        std::mem::take(&mut self.files).iter().try_for_each(|segment| remove(&segment.path))
    }

    /// Hands the columns of every segment to `receive`, which returns how many of the rows are live. A damaged file is
    /// removed and told to `warn`: what it held counts as never computed.
    pub fn read(&mut self, warn: &dyn Fn(String), mut receive: impl FnMut(Columns) -> Result<usize>) -> Result<()> {
        let mut whole = Vec::with_capacity(self.files.len());
        for segment in std::mem::take(&mut self.files) {
            let path = segment.path;
            let Some(bytes) = read_whole(&path)? else {
                warn(format!("{} is damaged: what it held is computed again", path.display()));
                if !self.is_peek {
                    remove(&path)?;
                }
                continue;
            };
            let columns = decode(bytes).with_context(|| path.display().to_string())?;
            let live_rows = Some(receive(columns).with_context(|| path.display().to_string())?);
            whole.push(Segment { path, live_rows });
        }
        self.files = whole;
        Ok(())
    }

    /// Writes a segment, complete or not at all, and returns its name.
    pub fn append(&mut self, columns: Columns) -> Result<String> {
        let live_rows = Some(rows(&columns));
        let bytes = encode(columns)?;
        let name = content_hash(&bytes);
        let path = self.folder.join(format!("{name}.{EXTENSION}"));
        write_bytes(&path, &bytes)?;
        if self.files.iter().all(|segment| segment.path != path) {
            self.files.push(Segment { path, live_rows });
        }
        Ok(name)
    }

    /// Removes segments without a live row, and merges small ones when they are many: rows of keys that are not `live` are
    /// dropped then, and so is a second row of the same keys. A kill in between leaves rows twice, never none.
    pub fn merge(&mut self, full_rows: usize, live: &dyn Fn(&TextKey) -> bool) -> Result<()> {
        let dead = |segment: &Segment| segment.live_rows == Some(0);
        self.files.iter().filter(|segment| dead(segment)).try_for_each(|segment| remove(&segment.path))?;
        self.files.retain(|segment| !dead(segment));
        let small = |segment: &Segment| segment.live_rows.is_some_and(|rows| rows < full_rows / 2);
        if self.files.iter().filter(|segment| small(segment)).count() <= MOST_SMALL {
            return Ok(());
        }
        let (small, full): (Vec<Segment>, Vec<Segment>) = std::mem::take(&mut self.files).into_iter().partition(small);
        self.files = full;
        let mut group: Vec<Segment> = Vec::new();
        let mut rows_of_group = 0;
        for segment in small {
            rows_of_group += segment.live_rows.unwrap_or(0);
            group.push(segment);
            if rows_of_group >= full_rows {
                self.replace(std::mem::take(&mut group), live)?;
                rows_of_group = 0;
            }
        }
        self.replace(group, live)
    }

    /// Writes one segment in place of several.
    fn replace(&mut self, group: Vec<Segment>, live: &dyn Fn(&TextKey) -> bool) -> Result<()> {
        let mut joined: Columns = Vec::new();
        for segment in &group {
            let path = &segment.path;
            let bytes = read_whole(path)?.with_context(|| format!("{} is damaged", path.display()))?;
            let columns = decode(bytes).with_context(|| path.display().to_string())?;
            match joined.is_empty() {
                true => joined = columns,
                false => joined.iter_mut().zip(columns).try_for_each(|((_, to), (_, from))| to.append(from))?,
            }
        }
        if joined.is_empty() {
            return Ok(());
        }
        let merged = take(&joined, &row_order(&joined, live));
        drop(joined);
        let name = self.append(merged)?;
        let kept = self.folder.join(format!("{name}.{EXTENSION}"));
        group.iter().filter(|segment| segment.path != kept).try_for_each(|segment| remove(&segment.path))
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// The bytes of a segment, `None` if they do not match its name.
fn read_whole(path: &Path) -> Result<Option<Vec<u8>>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_whole = path.file_stem().is_some_and(|name| name == content_hash(&bytes).as_str());
    Ok(is_whole.then_some(bytes))
}

fn content_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..HASH_CHARACTERS].to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tables::segment_file::Column;

    fn key(number: u32) -> TextKey {
        TextKey::of(&number.to_string())
    }

    fn segment(numbers: impl Iterator<Item = u32> + Clone) -> Columns {
        let values = Column::Floats(numbers.clone().map(|number| number as f32).collect());
        vec![("text".into(), Column::Keys(numbers.map(key).collect())), ("value".into(), values)]
    }

    fn found(segments: &mut Segments, warned: &mut Vec<String>) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let warnings = std::cell::RefCell::new(Vec::new());
        let receive = |columns: Columns| {
            let [(_, Column::Keys(keys)), (_, Column::Floats(values))] = columns.as_slice() else { panic!() };
            for (found_key, &value) in keys.iter().zip(values) {
                assert_eq!(*found_key, key(value as u32));
                found.insert(value as u32);
            }
            Ok(keys.len())
        };
        segments.read(&|line| warnings.borrow_mut().push(line), receive).unwrap();
        warned.append(&mut warnings.into_inner());
        found
    }

    #[test]
    fn a_damaged_segment_is_as_if_it_had_never_been() {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(folder.path().join("new"));
        assert!(segments.files.is_empty());
        segments.append(segment(0..5)).unwrap();
        let name = segments.append(segment(5..9)).unwrap();
        segments.append(segment(5..9)).unwrap();
        let mut warned = Vec::new();
        let mut segments = Segments::open(folder.path().join("new"));
        assert_eq!(segments.files.len(), 2);
        assert_eq!(found(&mut segments, &mut warned), (0..9).collect());
        assert!(warned.is_empty());
        let path = folder.path().join(format!("new/{name}.arrow"));
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(found(&mut segments, &mut warned), (0..5).collect());
        assert!(warned.len() == 1 && warned[0].contains("is damaged") && !path.exists(), "{warned:?}");
    }

    #[test]
    fn many_small_segments_become_few_and_lose_only_what_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(folder.path().to_path_buf());
        for start in 0..40 {
            // neighbours overlap: a key may be stored twice
            segments.append(segment(start * 10..start * 10 + 12)).unwrap();
        }
        let live = |found: &TextKey| (0..402).any(|number| number % 3 > 0 && key(number) == *found);
        segments.merge(100, &live).unwrap();
        let mut segments = Segments::open(folder.path().to_path_buf());
        assert!(segments.files.len() <= 5, "{}", segments.files.len());
        assert_eq!(found(&mut segments, &mut Vec::new()), (0..402).filter(|number| number % 3 > 0).collect());
        // few are left alone
        let before: Vec<PathBuf> = segments.files.iter().map(|segment| segment.path.clone()).collect();
        segments.merge(100, &live).unwrap();
        assert_eq!(before, segments.files.iter().map(|segment| segment.path.clone()).collect::<Vec<_>>());
    }
}
