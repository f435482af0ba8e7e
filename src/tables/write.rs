//! Parquet files that are complete or absent.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::atomic_file::{folder_of, publish, temporary_in};

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
