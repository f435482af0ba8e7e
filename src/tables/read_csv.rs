//! Questions out of delimited text: CSV, TSV.

use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{ArrayRef, Int64Array, StringArray};

use crate::tables::encoding::Encoding;
use crate::tables::ids::Ids;
use crate::tables::question_rows::{Positions, ReadOptions, Rows};
use crate::tables::source::{self, cannot_read, name, not_utf8};

/// Reads a delimited file with a header row. Ids are integers when every one is written as an integer is (no leading
/// zero or plus), or every one as pandas writes integers of a column that had a null: 12.0. Else they are strings.
pub fn read(path: &Path, delimiter: u8, options: &ReadOptions, rows: &mut Rows) -> Result<Option<Ids>> {
    let at = |e: csv::Error| match e.kind() {
        csv::ErrorKind::Utf8 { .. } => not_utf8(describe_csv_error(path, &e).to_string()),
        _ => describe_csv_error(path, &e),
    };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(source::text(path, options.encoding)?);
    let mut header: Vec<String> = reader.headers().map_err(at)?.iter().map(String::from).collect();
    if let Some(first) = header.first_mut()
        && let Some(bare) = first.strip_prefix('\u{feff}')
    {
        *first = bare.to_string();
    }
    let Positions { text, columns, id, op, ranking } = options.find(path, &header)?;
    rows.note_columns(&header);
    let mut ids = Vec::new();
    let mut whole = String::new();
    let mut last_record = csv::Position::new();
    for record in reader.records() {
        let record = record.map_err(at)?;
        if let Some(position) = record.position() {
            last_record = position.clone();
        }
        let cells: Vec<Option<&str>> =
            text.iter().map(|&at| record.get(at).filter(|value| !value.is_empty())).collect();
        let op = op.map(|op| record.get(op).unwrap_or_default());
        let value = ranking.and_then(|at| record.get(at));
        rows.push(columns.fill(&cells, &mut whole), op, value)
            .with_context(|| format!("{}: line {}", name(path), record.position().map_or(0, csv::Position::line)))?;
        if let Some(id) = id {
            let value = record.get(id).unwrap_or_default();
            if value.is_empty() {
                let line = record.position().map_or(0, csv::Position::line);
                bail!("{}: line {line}, column {:?}: the id is empty", name(path), options.id());
            }
            ids.push(value.to_string());
        }
    }
    check_closed(path, options.encoding, delimiter, &last_record)?;
    Ok(id.map(|_| text_ids(ids)))
}

/// Refuses a file whose last record opens a quoted field and never closes it.
pub(super) fn check_closed(path: &Path, encoding: Encoding, delimiter: u8, last_record: &csv::Position) -> Result<()> {
    if ends_inside_quotes(path, encoding, delimiter, last_record.byte())? {
        let line = last_record.line();
        bail!("{}: line {line}: a quoted field is never closed: is the file cut off?", name(path));
    }
    Ok(())
}

/// Whether the record that starts at `from` opens a quoted field and the file ends before it is closed. The parser
/// takes the end of the file for the end of the field, which would swallow every row after a stray quote.
fn ends_inside_quotes(path: &Path, encoding: Encoding, delimiter: u8, from: u64) -> Result<bool> {
    let failed = |error| cannot_read(path, &error);
    let mut text = source::text(path, encoding)?;
    std::io::copy(&mut text.by_ref().take(from), &mut std::io::sink()).map_err(failed)?;
    let (mut open, mut field_starts) = (false, true);
    loop {
        let bytes = text.fill_buf().map_err(failed)?;
        if bytes.is_empty() {
            return Ok(open);
        }
        for &byte in bytes {
            // a doubled quote inside a quoted field closes it and opens it again
            let turns = byte == b'"' && (open || field_starts);
            open ^= turns;
            field_starts = !open && (turns || byte == delimiter || byte == b'\n');
        }
        let count = bytes.len();
        text.consume(count);
    }
}

fn text_ids(ids: Vec<String>) -> Ids {
    let integer = |id: &str| id.parse::<i64>().ok().filter(|number| number.to_string() == *id);
    let integers = || ids.iter().map(|id| integer(id)).collect::<Option<Vec<i64>>>();
    let floats = || ids.iter().map(|id| integer(id.strip_suffix(".0")?)).collect::<Option<Vec<i64>>>();
    let array: ArrayRef = match integers().or_else(floats) {
        Some(integers) => Arc::new(Int64Array::from(integers)),
        None => Arc::new(StringArray::from(ids)),
    };
    Ids(array)
}

pub(super) fn describe_csv_error(path: &Path, error: &csv::Error) -> anyhow::Error {
    let line = error.position().map_or(String::new(), |p| format!("line {}: ", p.line()));
    let what = match error.kind() {
        csv::ErrorKind::Io(e) => return cannot_read(path, e),
        csv::ErrorKind::Utf8 { err, .. } => format!("invalid UTF-8 in field {}", err.field() + 1),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields, expected {expected_len} as in the header")
        }
        _ => error.to_string(),
    };
    anyhow!("{}: {line}{what}", name(path))
}
