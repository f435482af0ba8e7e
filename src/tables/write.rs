//! Files that are complete or absent: Parquet, JSON and any bytes.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde::Serialize;

/// A column of an output file: its values, what they mean, and their unit (`""` when they have none).
pub struct Column {
    pub name: &'static str,
    pub values: ArrayRef,
    pub nullable: bool,
    pub meaning: &'static str,
    pub unit: &'static str,
}

impl Column {
    pub fn new(name: &'static str, values: ArrayRef, unit: &'static str, meaning: &'static str) -> Self {
        Self { name, values, nullable: false, meaning, unit }
    }

    pub fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    fn field(&self) -> Field {
        let metadata = [("description", self.meaning), ("unit", self.unit)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        let kind: DataType = self.values.data_type().clone();
        Field::new(self.name, kind, self.nullable).with_metadata(metadata)
    }
}

/// Writes batches of the same columns as one zstd Parquet file, then gives it its name. `metadata` goes into the footer.
pub fn write_batches(
    path: &Path,
    mut batches: impl Iterator<Item = Result<Vec<Column>>>,
    metadata: &[(String, String)],
) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let file = temporary_in(folder_of(path)).with_context(failed)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_created_by(concat!("dupmine ", env!("CARGO_PKG_VERSION")).to_string())
        .set_key_value_metadata(key_values(metadata))
        .build();
    let first = batches.next().context("a file has at least one batch")??;
    let schema = Arc::new(Schema::new(first.iter().map(Column::field).collect::<Vec<_>>()));
    let mut writer = ArrowWriter::try_new(file.as_file(), schema.clone(), Some(properties)).with_context(failed)?;
    for batch in std::iter::once(Ok(first)).chain(batches) {
        let columns = batch?.into_iter().map(|column| column.values).collect();
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?).with_context(failed)?;
    }
    writer.close().with_context(failed)?;
    publish(file, path)
}

fn key_values(metadata: &[(String, String)]) -> Option<Vec<KeyValue>> {
    let entries = metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    (!metadata.is_empty()).then(|| entries.collect())
}

/// Writes one table with keys and values in the file's footer.
pub fn write_with_metadata(path: &Path, columns: Vec<Column>, metadata: &[(String, String)]) -> Result<()> {
    write_batches(path, std::iter::once(Ok(columns)), metadata)
}

/// Writes one table.
pub fn write(path: &Path, columns: Vec<Column>) -> Result<()> {
    write_batches(path, std::iter::once(Ok(columns)), &[])
}

/// What names of unfinished files start with: a killed run leaves them, the next one removes them.
pub const TEMPORARY_PREFIX: &str = ".mine-tmp-";

/// The folder that a file is to lie in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the folder that a file is to lie in.
pub fn make_folder_of(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// A temporary file beside its final place, with the permissions of any other new file.
pub fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Makes a finished temporary file durable and visible under its name.
pub fn publish(file: tempfile::NamedTempFile, path: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).map_err(|e| e.error).with_context(failed)?;
    Ok(())
}

/// Makes names that were given or taken in a folder durable, where folders can be synced.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Writes a file, and the folders above it.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder_of(path)).with_context(failed)?;
    let mut file = temporary_in(folder_of(path)).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    publish(file, path)
}

/// Writes a JSON file, and the folders above it.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value).with_context(|| format!("cannot write {}", path.display()))?;
    bytes.push(b'\n');
    write_bytes(path, &bytes)
}

/// Removes the unfinished files that a killed run left in a folder.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        if entry.path().is_file() && entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            std::fs::remove_file(entry.path()).with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
