//! Which format a file is read as, and Parquet files opened.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;

use crate::error::hint;

/// How a file is read, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Csv,
    Tsv,
    JsonLines,
}

impl Format {
    /// By extension; `None` for one that is not read.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }

    fn is_delimited(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv)
    }
}

/// The error for a column that a file lacks and that `flag` can name.
pub fn missing_column(path: &Path, name: &str, flag: &str, present: &[String]) -> anyhow::Error {
    let advice = match present {
        [header] if Format::of(path).is_some_and(Format::is_delimited) && header.contains([';', '\t', '|', ',']) => {
            "its header looks like one of other separators: .csv files have commas, .tsv files tabs".to_string()
        }
        _ => {
            let distance = |column: &&String| strsim::damerau_levenshtein(column, name);
            let nearest = present.iter().min_by_key(distance).map_or("COLUMN", String::as_str);
            format!("name it with {flag}, for instance {flag} {nearest}")
        }
    };
    hint(format!("{}: no column {name:?}; the columns are: {}", path.display(), present.join(", ")), advice)
}

/// Opens a Parquet file; one whose name says nothing of its format may be another's.
pub fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| {
        let message = format!("{}: not a readable Parquet file: {e}", path.display());
        match Format::of(path) {
            Some(_) => anyhow::Error::msg(message),
            None => hint(message, "files are read by their names: .parquet, .csv, .tsv, .jsonl; others as Parquet"),
        }
    })?;
    refuse_rare_compression(path, &builder)?;
    Ok(builder)
}

/// Spark, DuckDB and pandas write Brotli and LZO only when asked to, so the program does not carry their code.
fn refuse_rare_compression(path: &Path, builder: &ParquetRecordBatchReaderBuilder<File>) -> Result<()> {
    for column in builder.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        let codec = match column.compression() {
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            _ => continue,
        };
        return Err(hint(
            format!("{}: {codec} compression is not supported", path.display()),
            "write the file again with zstd, snappy, gzip or lz4",
        ));
    }
    Ok(())
}
