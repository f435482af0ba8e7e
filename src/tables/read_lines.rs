//! Questions out of delimited text (CSV, TSV) and JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use serde_json::Value;

use crate::tables::ids::Ids;
use crate::tables::question_rows::{Columns, OP, Positions, Rows};

/// Reads a delimited file with a header row. Ids are integers when every one is written as an integer is (no leading
/// zero or plus), else strings.
pub fn csv(path: &Path, delimiter: u8, columns: &Columns, rows: &mut Rows) -> Result<Option<Ids>> {
    let at = |e: csv::Error| describe_csv_error(path, &e);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_path(path).map_err(at)?;
    let mut header: Vec<String> = reader.headers().map_err(at)?.iter().map(String::from).collect();
    if let Some(first) = header.first_mut()
        && let Some(bare) = first.strip_prefix('\u{feff}')
    {
        *first = bare.to_string();
    }
    let Positions { text, id, op } = columns.find(path, &header)?;
    let mut ids = Vec::new();
    let mut last_record = csv::Position::new();
    for record in reader.records() {
        let record = record.map_err(at)?;
        if let Some(position) = record.position() {
            last_record = position.clone();
        }
        let value = record.get(text).unwrap_or_default();
        let op = op.map(|op| record.get(op).unwrap_or_default());
        rows.push(if value.is_empty() { None } else { Some(value) }, op).with_context(|| {
            format!("{}: line {}", path.display(), record.position().map_or(0, csv::Position::line))
        })?;
        if let Some(id) = id {
            let value = record.get(id).unwrap_or_default();
            if value.is_empty() {
                let line = record.position().map_or(0, csv::Position::line);
                bail!("{}: line {line}, column {:?}: the id is empty", path.display(), columns.id());
            }
            ids.push(value.to_string());
        }
    }
    check_closed(path, delimiter, &last_record)?;
    Ok(id.map(|_| text_ids(ids)))
}

/// Refuses a file whose last record opens a quoted field and never closes it.
pub(super) fn check_closed(path: &Path, delimiter: u8, last_record: &csv::Position) -> Result<()> {
    if ends_inside_quotes(path, delimiter, last_record.byte())? {
        let line = last_record.line();
        bail!("{}: line {line}: a quoted field is never closed: is the file cut off?", path.display());
    }
    Ok(())
}

/// Whether the record that starts at `from` opens a quoted field and the file ends before it is closed. The parser
/// takes the end of the file for the end of the field, which would swallow every row after a stray quote.
fn ends_inside_quotes(path: &Path, delimiter: u8, from: u64) -> Result<bool> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.seek(SeekFrom::Start(from))?;
    let (mut open, mut field_starts, mut byte) = (false, true, [0u8; 1]);
    let mut reader = BufReader::new(file);
    while reader.read(&mut byte)? == 1 {
        let [byte] = byte;
        // a doubled quote inside a quoted field closes it and opens it again
        let turns = byte == b'"' && (open || field_starts);
        open ^= turns;
        field_starts = !open && (turns || byte == delimiter || byte == b'\n');
    }
    Ok(open)
}

fn text_ids(ids: Vec<String>) -> Ids {
    let integers: Option<Vec<i64>> =
        ids.iter().map(|id| id.parse::<i64>().ok().filter(|number| number.to_string() == *id)).collect();
    let array: ArrayRef = match integers {
        Some(integers) => Arc::new(Int64Array::from(integers)),
        None => Arc::new(StringArray::from(ids)),
    };
    Ids(array)
}

pub(super) fn describe_csv_error(path: &Path, error: &csv::Error) -> anyhow::Error {
    let line = error.position().map_or(String::new(), |p| format!("line {}: ", p.line()));
    let what = match error.kind() {
        csv::ErrorKind::Io(e) => return anyhow!("cannot read {}: {e}", path.display()),
        csv::ErrorKind::Utf8 { err, .. } => format!("invalid UTF-8 in field {}", err.field() + 1),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields, expected {expected_len} as in the header")
        }
        _ => error.to_string(),
    };
    anyhow!("{}: {line}{what}", path.display())
}

/// Reads one JSON object a line; lines of white space alone are passed over. A missing text counts as null.
pub fn json(path: &Path, columns: &Columns, rows: &mut Rows) -> Result<Option<Ids>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut text_seen, mut keys) = (false, Vec::<String>::new());
    let (mut integers, mut strings) = (Vec::<i64>::new(), Vec::<String>::new());
    let mut with_ids = None;
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        let place = || format!("{}: line {}", path.display(), number + 1);
        let line = std::str::from_utf8(&line).map_err(|e| anyhow!("{}: invalid UTF-8: {e}", place()))?;
        if line.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(line).map_err(|e| anyhow!("{}: not JSON: {e}", place()))?;
        let Value::Object(object) = value else { bail!("{}: expected a JSON object", place()) };
        for key in object.keys() {
            if !keys.contains(key) && keys.len() < 100 {
                keys.push(key.clone());
            }
        }
        let op = match object.get(OP).filter(|_| columns.are_changes) {
            None | Some(Value::Null) => None,
            Some(Value::String(op)) => Some(op.as_str()),
            Some(other) => bail!("{}, key {OP:?}: found {other}, expected a string", place()),
        };
        match object.get(columns.text()) {
            Some(Value::String(text)) => {
                text_seen = true;
                rows.push(Some(text), op).with_context(place)?;
            }
            None | Some(Value::Null) => {
                text_seen |= object.contains_key(columns.text());
                rows.push(None, op).with_context(place)?;
            }
            Some(other) => bail!("{}, key {:?}: found {other}, expected a string", place(), columns.text()),
        }
        let id = object.get(columns.id());
        if *with_ids.get_or_insert(id.is_some()) != id.is_some() {
            bail!("{}: some lines have the key {:?} and this one differs", place(), columns.id());
        }
        match id {
            None => {}
            Some(Value::Number(n)) if n.is_i64() && strings.is_empty() => integers.extend(n.as_i64()),
            Some(Value::String(id)) if integers.is_empty() => strings.push(id.clone()),
            Some(other) => bail!(
                "{}, key {:?}: found {other}, expected an integer or a string as on the lines before",
                place(),
                columns.id()
            ),
        }
    }
    // deletions need no text
    if (!text_seen && rows.deleted.is_empty()) || (with_ids != Some(true) && columns.id.is_some()) {
        columns.find(path, &keys)?;
    }
    Ok(match (with_ids, strings.is_empty()) {
        (Some(true), true) => Some(Ids(Arc::new(Int64Array::from(integers)))),
        (Some(true), false) => Some(Ids(Arc::new(StringArray::from(strings)))),
        _ => None,
    })
}
