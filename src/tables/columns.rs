//! Named columns out of a table in any format that is read: Parquet, CSV, TSV, JSON.
//!
//! For the small tables of evaluation and training (labelled pairs, gold groups, scores). The mining corpus has its own
//! reader, [`crate::tables::questions`], which keeps ids in their type.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, Float64Builder, LargeStringBuilder, RecordBatchReader};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::ProjectionMask;
use serde_json::{Map, Value};

use crate::tables::encoding::Encoding;
use crate::tables::format::{Format, missing_column, open_parquet};
use crate::tables::read_csv::{check_closed, describe_csv_error};
use crate::tables::read_json::{self, Place};
use crate::tables::source;

const BATCH_ROWS: usize = 65_536;

/// What a column's values are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// Strings; numbers and truth values as they are written.
    Text,
    /// 64-bit floats; truth values are 0 and 1. Text that is no number reads as null.
    Number,
}

/// A column to read.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub name: &'a str,
    pub kind: CellKind,
    /// The flag that names this column; `None` for a column that a file may lack.
    pub flag: Option<&'static str>,
}

/// The columns asked for, in that order, row by row.
pub struct Table {
    columns: Vec<Option<ArrayRef>>,
    rows: usize,
    /// Line of each row in a text file; empty for Parquet and for an array in JSON, whose rows count from 0.
    lines: Vec<u64>,
    /// Lines of a text file that are no row.
    pub broken: Vec<BrokenLine>,
}

/// A line of a text file that is no row of its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenLine {
    pub line: u64,
    pub reason: String,
}

impl Table {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the file has the column.
    pub fn has(&self, column: usize) -> bool {
        self.columns[column].is_some()
    }

    /// A text cell; `None` when null, empty in a text file, or when the column is absent.
    pub fn text(&self, column: usize, row: usize) -> Option<&str> {
        let values = self.columns[column].as_ref()?.as_string::<i64>();
        values.is_valid(row).then(|| values.value(row))
    }

    /// A number cell, with the same meaning of `None`.
    pub fn number(&self, column: usize, row: usize) -> Option<f64> {
        let values = self.columns[column].as_ref()?.as_primitive::<Float64Type>();
        values.is_valid(row).then(|| values.value(row))
    }

    /// Line of a row of a text file, number of a row of another.
    pub fn line(&self, row: usize) -> u64 {
        self.lines.get(row).copied().unwrap_or(row as u64)
    }

    /// Where a row is, for messages: `row 7`, or `line 9` of a text file.
    pub fn place(&self, row: usize) -> String {
        self.lines.get(row).map_or_else(|| format!("row {row}"), |line| format!("line {line}"))
    }
}

/// Reads `wanted` columns of one file, of which every line must be a row.
pub fn read(path: &Path, wanted: &[Wanted]) -> Result<Table> {
    let table = read_rows(path, wanted)?;
    match table.broken.first() {
        None => Ok(table),
        Some(BrokenLine { line, reason }) => bail!("{}: line {line}: {reason}", path.display()),
    }
}

/// Reads `wanted` columns of one file; lines that are no row are in [`Table::broken`].
pub fn read_rows(path: &Path, wanted: &[Wanted]) -> Result<Table> {
    source::check(path)?;
    match Format::of(path) {
        Some(Format::Csv) => read_delimited(path, b',', wanted),
        Some(Format::Tsv) => read_delimited(path, b'\t', wanted),
        Some(Format::Json) => read_json(path, wanted),
        Some(Format::Parquet) | None => read_parquet(path, wanted),
    }
}

/// Positions of the wanted columns, an error for a required one that is missing.
fn find(path: &Path, present: &[String], wanted: &[Wanted]) -> Result<Vec<Option<usize>>> {
    let position = |column: &Wanted| {
        let found = present.iter().position(|name| name == column.name);
        match (found, column.flag) {
            (None, Some(flag)) => Err(missing_column(path, (column.name, column.name), flag, present, None)),
            (found, _) => Ok(found),
        }
    };
    wanted.iter().map(position).collect()
}

fn read_parquet(path: &Path, wanted: &[Wanted]) -> Result<Table> {
    let builder = open_parquet(path)?;
    let present: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let positions = find(path, &present, wanted)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), positions.iter().flatten().copied());
    let reader = builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .with_context(|| format!("cannot read {}", path.display()))?;
    let schema = reader.schema();
    let mut chunks: Vec<Vec<ArrayRef>> = vec![Vec::new(); wanted.len()];
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|e| anyhow!("{}: after row {rows}: cannot be read: {e}", path.display()))?;
        rows += batch.num_rows();
        for ((column, position), chunks) in wanted.iter().zip(&positions).zip(&mut chunks) {
            if position.is_some() {
                let at = schema.index_of(column.name)?;
                chunks.push(converted(batch.column(at), column, path)?);
            }
        }
    }
    let join = |(chunks, position): (Vec<ArrayRef>, &Option<usize>)| -> Result<Option<ArrayRef>> {
        let parts: Vec<&dyn Array> = chunks.iter().map(AsRef::as_ref).collect();
        Ok(if parts.is_empty() { position.map(|_| empty()) } else { Some(concat(&parts)?) })
    };
    let columns = chunks.into_iter().zip(&positions).map(join).collect::<Result<_>>()?;
    Ok(Table { columns, rows, lines: Vec::new(), broken: Vec::new() })
}

/// A column without rows; no cell of it is ever looked at, so its type does not matter.
fn empty() -> ArrayRef {
    Arc::new(LargeStringBuilder::new().finish())
}

fn converted(values: &ArrayRef, column: &Wanted, path: &Path) -> Result<ArrayRef> {
    let (to, expected) = match column.kind {
        CellKind::Text => (DataType::LargeUtf8, "strings"),
        CellKind::Number => (DataType::Float64, "numbers"),
    };
    let kind = values.data_type();
    cast(values, &to)
        .map_err(|_| anyhow!("{}: column {:?} has type {kind}, expected {expected}", path.display(), column.name))
}

/// Cells of a text file on their way to a column.
enum Builder {
    Text(LargeStringBuilder),
    Number(Float64Builder),
}

impl Builder {
    fn new(kind: CellKind) -> Self {
        match kind {
            CellKind::Text => Self::Text(LargeStringBuilder::new()),
            CellKind::Number => Self::Number(Float64Builder::new()),
        }
    }

    fn push(&mut self, cell: Option<&str>) {
        match self {
            Self::Text(values) => values.append_option(cell),
            Self::Number(values) => values.append_option(cell.and_then(parse_number)),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut values) => Arc::new(values.finish()),
            Self::Number(mut values) => Arc::new(values.finish()),
        }
    }
}

fn parse_number(cell: &str) -> Option<f64> {
    match cell.trim() {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        number => number.parse().ok(),
    }
}

fn read_delimited(path: &Path, delimiter: u8, wanted: &[Wanted]) -> Result<Table> {
    let failed = |e: csv::Error| describe_csv_error(path, &e);
    let text = source::text(path, Encoding::Utf8)?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text);
    let header = reader.headers().map_err(failed)?;
    let present: Vec<String> = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_string()).collect();
    let positions = find(path, &present, wanted)?;
    let mut builders: Vec<Builder> = wanted.iter().map(|column| Builder::new(column.kind)).collect();
    let (mut lines, mut broken, mut last_record) = (Vec::new(), Vec::new(), csv::Position::new());
    let mut records = reader.records();
    while let Some(record) = records.next() {
        let record = match record {
            Err(e) if matches!(e.kind(), csv::ErrorKind::Utf8 { .. }) => {
                let line = e.position().map_or(0, csv::Position::line);
                broken.push(BrokenLine { line, reason: "invalid UTF-8".into() });
                continue;
            }
            other => other.map_err(failed)?,
        };
        if let Some(position) = record.position() {
            last_record = position.clone();
        }
        if record.len() != present.len() {
            let (line, reason) =
                (last_record.line(), format!("{} fields, expected {} as in the header", record.len(), present.len()));
            // what a stray quote swallows are good rows
            let lines = records.reader().position().line().saturating_sub(line);
            if lines > 1 {
                bail!("{}: line {line}: {reason}, over {lines} lines: is a quote never closed?", path.display());
            }
            broken.push(BrokenLine { line, reason });
            continue;
        }
        lines.push(last_record.line());
        for (builder, position) in builders.iter_mut().zip(&positions) {
            builder.push(position.and_then(|at| record.get(at)).filter(|cell| !cell.is_empty()));
        }
    }
    check_closed(path, Encoding::Utf8, delimiter, &last_record)?;
    Ok(Table { columns: finish(builders, &positions), rows: lines.len(), lines, broken })
}

fn finish(builders: Vec<Builder>, positions: &[Option<usize>]) -> Vec<Option<ArrayRef>> {
    builders.into_iter().zip(positions).map(|(builder, position)| position.map(|_| builder.finish())).collect()
}

fn read_json(path: &Path, wanted: &[Wanted]) -> Result<Table> {
    let mut builders: Vec<Builder> = wanted.iter().map(|column| Builder::new(column.kind)).collect();
    let (mut present, mut rows, mut lines, mut broken) = (Vec::<String>::new(), 0, Vec::new(), Vec::new());
    read_json::objects(path, Encoding::Utf8, &mut |place, object| {
        let object = match (object.and_then(|object| plain_values(object, wanted)), place) {
            (Ok(object), _) => object,
            (Err(reason), Place::Line(line)) => {
                broken.push(BrokenLine { line, reason });
                return Ok(());
            }
            (Err(reason), Place::Row(_)) => bail!("{}: {place}: {reason}", path.display()),
        };
        for key in object.keys().filter(|key| !present.contains(key)).cloned().collect::<Vec<_>>() {
            present.push(key);
        }
        for (builder, column) in builders.iter_mut().zip(wanted) {
            match object.get(column.name) {
                None | Some(Value::Null) => builder.push(None),
                Some(Value::String(text)) => builder.push(Some(text)),
                Some(value) => builder.push(Some(&value.to_string())),
            }
        }
        rows += 1;
        if let Place::Line(line) = place {
            lines.push(line);
        }
        Ok(())
    })?;
    if let (true, Some(BrokenLine { line, reason })) = (present.is_empty(), broken.first()) {
        bail!("{}: line {line}: {reason}", path.display());
    }
    let positions = find(path, &present, wanted)?;
    Ok(Table { columns: finish(builders, &positions), rows, lines, broken })
}

/// The object, unless a wanted value is a list or an object of its own.
fn plain_values(object: Map<String, Value>, wanted: &[Wanted]) -> Result<Map<String, Value>, String> {
    let values = wanted.iter().filter_map(|column| Some((column.name, object.get(column.name)?)));
    match values.into_iter().find(|(_, value)| value.is_array() || value.is_object()) {
        Some((key, value)) => Err(format!("key {key:?}: found {value}, expected a value")),
        None => Ok(object),
    }
}
