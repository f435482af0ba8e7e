//! The table of `mine evaluate --compare`, a model a row, as CSV or Parquet.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Float64Array, StringArray};

use crate::atomic_file::{folder_of, make_folder_of, publish, temporary_in};
use crate::error::usage;
use crate::tables::write::Column;
use crate::tables::{format::Format, write};

/// A model on a validation file and a test file.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ComparisonRow {
    pub model: String,
    pub kind: &'static str,
    /// Where the model's folder says what it was trained with.
    pub loss: Option<String>,
    pub valid_f1: f64,
    /// Of the best F1 on the validation pairs.
    pub threshold: f64,
    /// At that threshold.
    pub test_f1: f64,
    pub test_best_f1: f64,
    pub test_best_threshold: f64,
    pub test_average_precision: f64,
}

/// Refuses, before the work, a name whose extension is no format that the table is written in; makes its folder.
pub fn prepare(path: &Path) -> Result<()> {
    if !matches!(Format::of_plain(path), Some(Format::Csv | Format::Parquet)) {
        return Err(usage(format!("--output {}: expected a name that ends in .csv or .parquet", path.display())));
    }
    make_folder_of(path)
}

/// Writes the table, complete or not at all; the extension says the format.
pub fn write(path: &Path, rows: &[ComparisonRow]) -> Result<()> {
    if Format::of_plain(path) == Some(Format::Csv) { write_csv(path, rows) } else { write_parquet(path, rows) }
}

fn write_csv(path: &Path, rows: &[ComparisonRow]) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let file = temporary_in(folder_of(path)).with_context(failed)?;
    let mut writer = csv::Writer::from_writer(file.as_file());
    for row in rows {
        writer.serialize(row).with_context(failed)?;
    }
    writer.flush().with_context(failed)?;
    drop(writer);
    publish(file, path)
}

fn write_parquet(path: &Path, rows: &[ComparisonRow]) -> Result<()> {
    let number =
        |of: fn(&ComparisonRow) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows.iter().map(of))) };
    let models = StringArray::from_iter_values(rows.iter().map(|row| row.model.as_str()));
    let kinds = StringArray::from_iter_values(rows.iter().map(|row| row.kind));
    let losses: StringArray = rows.iter().map(|row| row.loss.as_deref()).collect();
    let columns = vec![
        Column::new("model", Arc::new(models), "", "folder of the model"),
        Column::new("kind", Arc::new(kinds), "", "bi-encoder or cross-encoder"),
        Column::new("loss", Arc::new(losses), "", "what it was trained with, where its folder says so").nullable(),
        Column::new("valid_f1", number(|row| row.valid_f1), "share", "best F1 on the validation pairs"),
        Column::new("threshold", number(|row| row.threshold), "score", "where that is"),
        Column::new("test_f1", number(|row| row.test_f1), "share", "F1 on the test pairs at that threshold"),
        Column::new("test_best_f1", number(|row| row.test_best_f1), "share", "best F1 on the test pairs"),
        Column::new("test_best_threshold", number(|row| row.test_best_threshold), "score", "where that is"),
        Column::new(
            "test_average_precision",
            number(|row| row.test_average_precision),
            "share",
            "average precision on the test pairs",
        ),
    ];
    write::write(path, columns)
}
