//! Questions out of JSON: one object a line, or one array of objects.

use std::fmt;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::hint;
use crate::tables::encoding::Encoding;
use crate::tables::ids::{Ids, integer_of};
use crate::tables::question_rows::{OP, ReadOptions, Rows};
use crate::tables::source::{self, cannot_read, name, not_utf8};
use crate::tables::text_column::TextColumns;

/// Keys that are remembered to be named.
const MOST_KEYS: usize = 100;

/// Where an object is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// From 1.
    Line(u64),
    /// Of an array, from 0.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// An object, or why there is none at its place.
type Object = Result<Map<String, Value>, String>;

/// Calls `each` for every object of a file; lines of white space alone are passed over.
pub(super) fn objects(
    path: &Path,
    encoding: Encoding,
    each: &mut dyn FnMut(Place, Object) -> Result<()>,
) -> Result<()> {
    let mut text = source::text(path, encoding)?;
    let start = text.fill_buf().map_err(|error| cannot_read(path, &error))?;
    let mark = "\u{feff}".as_bytes();
    let skipped = if start.starts_with(mark) { mark.len() } else { 0 };
    let is_array = start[skipped..].trim_ascii_start().first() == Some(&b'[');
    text.consume(skipped);
    if is_array {
        return array(path, text, each);
    }
    for (line, number) in text.split(b'\n').zip(1..) {
        let line = line.map_err(|error| cannot_read(path, &error))?;
        if !line.trim_ascii().is_empty() {
            each(Place::Line(number), object_of(&line, number))?;
        }
    }
    Ok(())
}

/// What begins the message for bytes that are not UTF-8.
const INVALID: &str = "invalid UTF-8";

fn object_of(line: &[u8], number: u64) -> Object {
    let line = std::str::from_utf8(line).map_err(|e| format!("{INVALID} at byte {}", e.valid_up_to() + 1))?;
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("expected a JSON object".into()),
        Err(e) if e.is_eof() && number == 1 => {
            Err("the object does not end on its line: expected one object a line, or one array of objects".into())
        }
        Err(e) => Err(format!("not JSON: {e}")),
    }
}

/// Goes through an array without keeping it.
struct Elements<'a> {
    each: &'a mut dyn FnMut(Place, Object) -> Result<()>,
    failed: &'a mut Option<anyhow::Error>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut row = 0;
        while let Some(element) = elements.next_element()? {
            let object = match element {
                Value::Object(object) => Ok(object),
                _ => Err("expected a JSON object".into()),
            };
            if let Err(error) = (self.each)(Place::Row(row), object) {
                *self.failed = Some(error);
                return Err(A::Error::custom("stopped"));
            }
            row += 1;
        }
        Ok(())
    }
}

fn array(path: &Path, text: impl BufRead, each: &mut dyn FnMut(Place, Object) -> Result<()>) -> Result<()> {
    let mut failed = None;
    let mut reader = serde_json::Deserializer::from_reader(text);
    let read = reader.deserialize_seq(Elements { each, failed: &mut failed }).and_then(|()| reader.end());
    match (failed, read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(describe(path, &error)),
    }
}

fn describe(path: &Path, error: &serde_json::Error) -> anyhow::Error {
    let said = error.to_string();
    match error.io_error_kind() {
        Some(kind) => cannot_read(path, &kind.into()),
        None if said.contains("invalid unicode") => {
            not_utf8(format!("{}: line {}: {INVALID}", name(path), error.line()))
        }
        None if error.is_eof() => anyhow!("{}: the array does not end: is the file cut off?", name(path)),
        None => anyhow!("{}: not JSON: {said}", name(path)),
    }
}

/// Appends the file's rows; returns its ids, `None` if the objects have none. A missing text counts as null.
pub fn read(path: &Path, options: &ReadOptions, rows: &mut Rows) -> Result<Option<Ids>> {
    let mut reader = Reader {
        path,
        options,
        text: None,
        seen: Vec::new(),
        has_ranking: false,
        keys: Vec::new(),
        ids: FoundIds::default(),
    };
    let (before, deleted_before) = (rows.seen, rows.deleted.len());
    objects(path, options.encoding, &mut |place, object| reader.push(place, object, rows))?;
    rows.note_columns(&reader.keys);
    // deletions need no text
    let lacks_text = rows.seen > before && reader.seen.contains(&false) && rows.deleted.is_empty();
    if lacks_text || (reader.ids.are_there == Some(false) && options.id.is_some()) {
        options.find(path, &reader.keys)?;
    }
    let has_questions = rows.seen - before > rows.deleted.len() - deleted_before;
    if let Some(key) = options.ranking.as_ref().filter(|_| has_questions && !reader.has_ranking) {
        return Err(options.missing_ranking(path, key, &reader.keys));
    }
    Ok(reader.ids.finish())
}

struct Reader<'a> {
    path: &'a Path,
    options: &'a ReadOptions,
    /// Decided by the first object.
    text: Option<TextColumns>,
    /// Whether each of its columns was seen.
    seen: Vec<bool>,
    /// Whether the key that ranks the questions was seen.
    has_ranking: bool,
    keys: Vec<String>,
    ids: FoundIds,
}

#[derive(Default)]
struct FoundIds {
    are_there: Option<bool>,
    integers: Vec<i64>,
    strings: Vec<String>,
}

impl FoundIds {
    fn finish(self) -> Option<Ids> {
        let array: ArrayRef = match self.strings.is_empty() {
            true => Arc::new(Int64Array::from(self.integers)),
            false => Arc::new(StringArray::from(self.strings)),
        };
        self.are_there.filter(|are_there| *are_there).map(|_| Ids(array))
    }
}

impl Reader<'_> {
    fn push(&mut self, place: Place, object: Object, rows: &mut Rows) -> Result<()> {
        let place = format!("{}: {place}", name(self.path));
        let object = object.map_err(|reason| match reason.starts_with(INVALID) {
            true => not_utf8(format!("{place}: {reason}")),
            false => anyhow!("{place}: {reason}"),
        })?;
        for key in object.keys() {
            if self.keys.len() < MOST_KEYS && !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        let op = match object.get(OP).filter(|_| self.options.are_changes) {
            None | Some(Value::Null) => None,
            Some(Value::String(op)) => Some(op.as_str()),
            Some(other) => bail!("{place}, key {OP:?}: found {other}, expected a string"),
        };
        if self.text.is_none() {
            let columns = self.options.text_columns(|key| object.contains_key(key))?;
            self.seen = vec![false; columns.names.len()];
            self.text = Some(columns);
        }
        let columns = self.text.as_ref().context("decided above")?;
        let mut cells = Vec::with_capacity(columns.names.len());
        for (key, seen) in columns.names.iter().zip(&mut self.seen) {
            let value = object.get(key);
            *seen |= value.is_some();
            cells.push(match value {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.as_str()),
                Some(other) => bail!("{place}, key {key:?}: found {other}, expected a string"),
            });
        }
        let (key, value) = match &self.options.ranking {
            Some(key) => (key.as_str(), object.get(key)),
            None => ("", None),
        };
        self.has_ranking |= value.is_some();
        let number;
        let value = match value {
            None | Some(Value::Null) => None,
            Some(Value::String(value)) => Some(value.as_str()),
            Some(other @ (Value::Array(_) | Value::Object(_))) => {
                bail!(
                    "{place}, key {key:?}: found {other}, which --keep cannot order: expected a number, a time or a string"
                )
            }
            Some(other) => {
                number = other.to_string();
                Some(number.as_str())
            }
        };
        rows.push(columns.fill(&cells, &mut String::new()), op, value).with_context(|| place.clone())?;
        self.ids.push(object.get(self.options.id()), self.options.id(), &place)
    }
}

impl FoundIds {
    fn push(&mut self, id: Option<&Value>, key: &str, place: &str) -> Result<()> {
        if *self.are_there.get_or_insert(id.is_some()) != id.is_some() {
            bail!("{place}: some objects have the key {key:?} and this one differs");
        }
        let integer = |n: &serde_json::Number| n.as_i64().or_else(|| integer_of(n.as_f64()?));
        match id {
            None => {}
            Some(Value::Number(n)) if integer(n).is_some() && self.strings.is_empty() => {
                self.integers.extend(integer(n))
            }
            Some(Value::String(id)) if self.integers.is_empty() => self.strings.push(id.clone()),
            Some(Value::Number(n)) if n.is_f64() => {
                return Err(hint(
                    format!("{place}, key {key:?}: the id {n} is no integer"),
                    "ids are integers or strings: name another key with --id-column, or write the ids as one of them",
                ));
            }
            Some(other) => {
                bail!("{place}, key {key:?}: found {other}, expected an integer or a string as in those before")
            }
        }
        Ok(())
    }
}
