//! Finished pieces of long stages, kept as Arrow IPC files under the hash of their content.
//!
//! A shard's file name holds the hash of its bytes: a file that was cut short or damaged does not match its name, is
//! treated as absent and made again. Any Arrow reader opens the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, UInt32Type};
use arrow::ipc::{reader::FileReader, writer::FileWriter};

use crate::tables::write::write_bytes;

/// One column of a shard.
#[derive(Debug, Clone, PartialEq)]
pub enum ShardColumn {
    U32(Vec<u32>),
    F32(Vec<f32>),
    /// Rows of `width` values each, row-major.
    Vectors {
        width: usize,
        values: Vec<f32>,
    },
}

impl ShardColumn {
    fn array(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::U32(values) => Arc::new(UInt32Array::from(values)),
            Self::F32(values) => Arc::new(Float32Array::from(values)),
            Self::Vectors { width, values } => vectors_array(width, values)?,
        })
    }
}

/// `[rows, width]` values as a fixed-size list column.
pub(super) fn vectors_array(width: usize, values: Vec<f32>) -> Result<ArrayRef> {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let width = i32::try_from(width).context("vectors are too wide")?;
    Ok(Arc::new(FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(values)), None)?))
}

/// Named columns of equal length.
pub type Shard = Vec<(&'static str, ShardColumn)>;

const HASH_CHARACTERS: usize = 32;

/// A folder of shards, its names read once: there may be thousands.
pub struct ShardFolder {
    path: PathBuf,
    files: BTreeMap<usize, PathBuf>,
}

impl ShardFolder {
    /// The shards of a folder, which need not exist.
    pub fn open(path: PathBuf) -> Self {
        let mut files = BTreeMap::new();
        for file in std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_suffix(".arrow").and_then(|name| name.split_once('-')?.0.parse().ok());
            files.extend(number.map(|number| (number, file)));
        }
        Self { path, files }
    }

    /// Writes shard `index`, complete or not at all, in place of the one that was.
    pub fn write(&mut self, index: usize, shard: Shard) -> Result<()> {
        let bytes = encode(shard)?;
        let path = self.path.join(format!("{index:06}-{}.arrow", content_hash(&bytes)));
        write_bytes(&path, &bytes)?;
        match self.files.insert(index, path.clone()) {
            Some(older) if older != path => remove(&older),
            _ => Ok(()),
        }
    }

    /// Reads shard `index`; `None` when it is absent. A damaged file is removed, reported through `warn`, and absent.
    pub fn read(&mut self, index: usize, warn: &dyn Fn(String)) -> Result<Option<Shard>> {
        let Some(path) = self.files.get(&index) else { return Ok(None) };
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // the decoder trusts the lengths it reads, so only bytes that are what was written reach it
        if name.contains(&content_hash(&bytes)) {
            return decode(&bytes).with_context(|| path.display().to_string()).map(Some);
        }
        warn(format!("{} is damaged: it is made again", path.display()));
        remove(path)?;
        self.files.remove(&index);
        Ok(None)
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

fn content_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..HASH_CHARACTERS].to_string()
}

fn encode(shard: Shard) -> Result<Vec<u8>> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, column) in shard {
        let array = column.array()?;
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new(&mut bytes, &schema)?;
    writer.write(&RecordBatch::try_new(schema.clone(), arrays)?)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Shard> {
    let mut reader = FileReader::try_new(std::io::Cursor::new(bytes), None)?;
    let batch = reader.next().context("no rows")??;
    let mut shard = Shard::new();
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = match array.data_type() {
            DataType::UInt32 => ShardColumn::U32(array.as_primitive::<UInt32Type>().values().to_vec()),
            DataType::Float32 => ShardColumn::F32(array.as_primitive::<Float32Type>().values().to_vec()),
            DataType::FixedSizeList(_, width) => {
                let values = array.as_fixed_size_list().values().as_primitive::<Float32Type>().values().to_vec();
                ShardColumn::Vectors { width: *width as usize, values }
            }
            other => bail!("unexpected type {other}"),
        };
        let Some(name) = NAMES.into_iter().find(|name| name == field.name()) else { bail!("unexpected column") };
        shard.push((name, column));
    }
    Ok(shard)
}

/// Column names that shards use.
const NAMES: [&str; 7] = ["text", "vector", "a", "b", "cosine", "logit", "truncated"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_shard_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let shard: Shard = vec![
            ("text", ShardColumn::U32(vec![3, 1])),
            ("vector", ShardColumn::Vectors { width: 2, values: vec![0.5, 1.0, -1.0, 0.25] }),
        ];
        let mut shards = ShardFolder::open(folder.path().join("new"));
        shards.write(7, shard.clone()).unwrap();
        assert_eq!(shards.read(7, &|_| panic!("no warning")).unwrap(), Some(shard.clone()));
        assert_eq!(shards.read(8, &|_| ()).unwrap(), None);
        shards.write(7, vec![("text", ShardColumn::U32(vec![5]))]).unwrap();
        shards.write(7, shard.clone()).unwrap();

        let mut shards = ShardFolder::open(folder.path().join("new"));
        assert_eq!(shards.read(7, &|_| panic!("no warning")).unwrap(), Some(shard));
        let files: Vec<PathBuf> = shards.files.values().cloned().collect();
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
        let mut bytes = std::fs::read(&files[0]).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&files[0], bytes).unwrap();
        let warned = std::cell::Cell::new(false);
        assert_eq!(shards.read(7, &|_| warned.set(true)).unwrap(), None);
        assert!(warned.get() && !files[0].exists());
    }
}
