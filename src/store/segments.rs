//! The segments of one identity: immutable files named by the hash of their bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::store::files::{Files, join};
use crate::tables::segment_file::{Columns, decode, encode, row_order, rows, take};
use crate::text::key::TextKey;

const EXTENSION: &str = ".arrow";
const HASH_CHARACTERS: usize = 32;

/// Segments are merged only if more of them than this have less than half the full size.
const MOST_SMALL: usize = 16;

/// A folder of segments, in the order of their names.
pub struct Segments {
    files: Arc<dyn Files>,
    folder: String,
    /// Name → rows that some kept version needs; `None` until they are read.
    live_rows: BTreeMap<String, Option<usize>>,
    /// Whether damaged files are left where they are.
    is_peek: bool,
}

impl Segments {
    /// The segments of a folder, which need not exist.
    pub fn open(files: &Arc<dyn Files>, folder: &str) -> Result<Self> {
        let names = files.list(folder)?.into_iter();
        let names = names.filter_map(|name| Some((name.strip_suffix(EXTENSION)?.to_string(), None)));
        Ok(Self { files: files.clone(), folder: folder.into(), live_rows: names.collect(), is_peek: false })
    }

    /// A folder of which nothing is read: for what is added now.
    pub fn empty(files: &Arc<dyn Files>, folder: &str) -> Self {
        Self { files: files.clone(), folder: folder.into(), live_rows: BTreeMap::new(), is_peek: false }
    }

    /// As [`Segments::open`], but nothing is removed.
    pub fn peek(files: &Arc<dyn Files>, folder: &str) -> Result<Self> {
        Ok(Self { is_peek: true, ..Self::open(files, folder)? })
    }

    /// One segment by its name.
    pub fn of_file(files: &Arc<dyn Files>, folder: &str, name: &str) -> Self {
        let live_rows = BTreeMap::from([(name.to_string(), None)]);
        Self { files: files.clone(), folder: folder.into(), live_rows, is_peek: false }
    }

    /// Removes all segments.
    pub fn clear(&mut self) -> Result<()> {
        std::mem::take(&mut self.live_rows).keys().try_for_each(|name| self.remove(name))
    }

    /// Hands the columns of every segment to `receive`, which returns how many of the rows are live. A damaged file is
    /// removed and told to `warn`: what it held counts as never computed.
    pub fn read(&mut self, warn: &dyn Fn(String), mut receive: impl FnMut(Columns) -> Result<usize>) -> Result<()> {
        let names: Vec<String> = self.live_rows.keys().cloned().collect();
        for name in names {
            let Some(columns) = self.columns(&name, warn)? else {
                self.live_rows.remove(&name);
                continue;
            };
            let live = receive(columns).with_context(|| self.place(&name))?;
            self.live_rows.insert(name, Some(live));
        }
        Ok(())
    }

    /// The columns of a segment that somebody else has just written, which then counts among these; `None` if it is damaged.
    pub fn adopt(&mut self, name: &str, warn: &dyn Fn(String)) -> Result<Option<Columns>> {
        let columns = self.columns(name, warn)?;
        if let Some(columns) = &columns {
            self.live_rows.insert(name.into(), Some(rows(columns)));
        }
        Ok(columns)
    }

    /// Writes a segment, complete or not at all, and returns its name.
    pub fn append(&mut self, columns: Columns) -> Result<String> {
        let live_rows = rows(&columns);
        let bytes = encode(columns)?;
        let name = content_hash(&bytes);
        self.files.write(&self.path(&name), &bytes)?;
        self.live_rows.entry(name.clone()).or_insert(Some(live_rows));
        Ok(name)
    }

    /// Removes segments without a live row, and merges small ones when they are many: rows of keys that are not `live` are
    /// dropped then, and so is a second row of the same keys. A kill in between leaves rows twice, never none.
    pub fn merge(&mut self, full_rows: usize, live: &dyn Fn(&TextKey) -> bool) -> Result<()> {
        let dead = self.live_rows.iter().filter(|(_, rows)| **rows == Some(0));
        let dead: Vec<String> = dead.map(|(name, _)| name.clone()).collect();
        for name in dead {
            self.remove(&name)?;
            self.live_rows.remove(&name);
        }
        let small = self.live_rows.iter().filter_map(|(name, rows)| Some((name, rows.filter(|&r| r < full_rows / 2)?)));
        let small: Vec<(String, usize)> = small.map(|(name, rows)| (name.clone(), rows)).collect();
        if small.len() <= MOST_SMALL {
            return Ok(());
        }
        let mut group: Vec<String> = Vec::new();
        let mut rows_of_group = 0;
        for (name, rows) in small {
            rows_of_group += rows;
            group.push(name);
            if rows_of_group >= full_rows {
                self.join(&std::mem::take(&mut group), live)?;
                rows_of_group = 0;
            }
        }
        self.join(&group, live)
    }

    /// Writes one segment in place of several.
    fn join(&mut self, group: &[String], live: &dyn Fn(&TextKey) -> bool) -> Result<()> {
        let mut joined: Columns = Vec::new();
        for name in group {
            let columns = self.columns(name, &|_| {})?.with_context(|| format!("{} is damaged", self.place(name)))?;
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
        let kept = self.append(merged)?;
        for name in group.iter().filter(|name| **name != kept) {
            self.remove(name)?;
            self.live_rows.remove(name);
        }
        Ok(())
    }

    /// The columns of a segment, `None` if its bytes do not match its name or it is gone.
    fn columns(&self, name: &str, warn: &dyn Fn(String)) -> Result<Option<Columns>> {
        let Some(bytes) = self.files.read(&self.path(name))? else { return Ok(None) };
        if content_hash(&bytes) != name {
            warn(format!("{} is damaged: what it held is computed again", self.place(name)));
            if !self.is_peek {
                self.remove(name)?;
            }
            return Ok(None);
        }
        decode(bytes).with_context(|| self.place(name)).map(Some)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.files.remove(&self.path(name))
    }

    fn path(&self, name: &str) -> String {
        join(&self.folder, &format!("{name}{EXTENSION}"))
    }

    fn place(&self, name: &str) -> String {
        self.files.place(&self.path(name))
    }
}

/// The columns of a segment that must be there and whole.
pub fn read_one(files: &Arc<dyn Files>, folder: &str, name: &str) -> Result<Columns> {
    let segments = Segments::of_file(files, folder, name);
    let columns = segments.columns(name, &|_| {})?;
    ensure!(columns.is_some(), "{} is damaged or gone", segments.place(name));
    Ok(columns.unwrap_or_default())
}

fn content_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..HASH_CHARACTERS].to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::files::of_folder;
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
        let mut segments = Segments::open(&of_folder(folder.path()), "new").unwrap();
        assert!(segments.live_rows.is_empty());
        segments.append(segment(0..5)).unwrap();
        let name = segments.append(segment(5..9)).unwrap();
        segments.append(segment(5..9)).unwrap();
        let mut warned = Vec::new();
        let mut segments = Segments::open(&of_folder(folder.path()), "new").unwrap();
        assert_eq!(segments.live_rows.len(), 2);
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
        let mut segments = Segments::open(&of_folder(folder.path()), "").unwrap();
        for start in 0..40 {
            // neighbours overlap: a key may be stored twice
            segments.append(segment(start * 10..start * 10 + 12)).unwrap();
        }
        let live = |found: &TextKey| (0..402).any(|number| number % 3 > 0 && key(number) == *found);
        segments.merge(100, &live).unwrap();
        let mut segments = Segments::open(&of_folder(folder.path()), "").unwrap();
        assert!(segments.live_rows.len() <= 5, "{}", segments.live_rows.len());
        assert_eq!(found(&mut segments, &mut Vec::new()), (0..402).filter(|number| number % 3 > 0).collect());
        // few are left alone
        let before: Vec<String> = segments.live_rows.keys().cloned().collect();
        segments.merge(100, &live).unwrap();
        assert_eq!(before, segments.live_rows.keys().cloned().collect::<Vec<_>>());
    }
}
