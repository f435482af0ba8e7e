//! Question ids: whatever integer or string type the input had, carried through to every output unchanged.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{CastOptions, cast, cast_with_options, concat, sort_to_indices, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use serde_json::{Number, Value};

use crate::error::hint;
use crate::tables::texts::Texts;

/// One id a row, in input order.
#[derive(Debug, Clone)]
pub struct Ids(pub(super) ArrayRef);

/// Two rows with the same id.
#[derive(Debug, PartialEq)]
pub struct DuplicateId {
    pub value: String,
    pub first_row: usize,
    pub second_row: usize,
}

impl Ids {
    /// Row numbers from 0, the ids of an input without an id column.
    pub fn row_numbers(rows: usize) -> Self {
        Self(Arc::new(Int64Array::from_iter_values(0..rows as i64)))
    }

    /// Ids that are integers.
    pub fn of_numbers(numbers: impl Iterator<Item = i64>) -> Self {
        Self(Arc::new(Int64Array::from_iter_values(numbers)))
    }

    /// Joins the chunks of a column; all have one type. `None` when there are no chunks.
    pub(super) fn concat(chunks: &[ArrayRef]) -> Result<Option<Self>> {
        if chunks.is_empty() {
            return Ok(None);
        }
        let chunks: Vec<&dyn Array> = chunks.iter().map(AsRef::as_ref).collect();
        Ok(Some(Self(concat(&chunks)?)))
    }

    /// The same ids as strings.
    pub(super) fn into_text(self) -> Result<Self> {
        Ok(Self(cast(&self.0, &DataType::Utf8)?))
    }

    /// These ids, then those of another table, which have the same type.
    pub fn join(&self, other: &Self) -> Result<Self> {
        Ok(Self(concat(&[&self.0, &other.0])?))
    }

    /// The same ids in the type of another table's. Says which id has no value of that type.
    pub fn with_type_of(&self, other: &Self) -> Result<Self> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let cast = cast_with_options(&self.0, other.0.data_type(), &strict);
        Ok(Self(cast.map_err(|e| anyhow!("ids of type {}, expected {}: {e}", self.type_name(), other.type_name()))?))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids of `rows`, in that order, in the input's type.
    pub fn pick(&self, rows: &[u32]) -> Result<Self> {
        Ok(Self(take(&self.0, &UInt32Array::from(rows.to_vec()), None)?))
    }

    /// The ids of some rows, null for none.
    pub(super) fn pick_some(&self, rows: impl Iterator<Item = Option<u32>>) -> Result<Self> {
        Ok(Self(take(&self.0, &rows.collect::<UInt32Array>(), None)?))
    }

    /// Rows by ascending id: numbers by value, strings by their bytes.
    pub(super) fn ascending(&self) -> Result<Vec<u32>> {
        Ok(sort_to_indices(&self.0, None, None)?.values().to_vec())
    }

    /// Every id as text.
    pub(super) fn texts(&self) -> Result<Texts> {
        let mut texts = Texts::default();
        cast(&self.0, &DataType::LargeUtf8)?.as_string::<i64>().iter().flatten().for_each(|id| texts.push(id));
        Ok(texts)
    }

    /// What the ids are: `Int64`, `Utf8`.
    pub fn type_name(&self) -> String {
        self.0.data_type().to_string()
    }

    /// The id of a row as text, for messages.
    pub fn display(&self, row: usize) -> String {
        arrow::util::display::array_value_to_string(&self.0, row).unwrap_or_default()
    }

    /// The id of a row for JSON: a number where ids are integers.
    pub fn json(&self, row: usize) -> Value {
        let text = self.display(row);
        match text.parse::<Number>() {
            Ok(number) if self.0.data_type().is_integer() => Value::Number(number),
            _ => Value::String(text),
        }
    }

    /// The first id that occurs twice, if any. Ids are not null: the readers refuse that.
    pub fn find_duplicate(&self) -> Result<Option<DuplicateId>> {
        let repeated = match self.0.data_type() {
            DataType::UInt64 => first_repeat(self.0.as_primitive::<UInt64Type>().values().iter()),
            kind if kind.is_integer() => {
                let wide = cast(&self.0, &DataType::Int64)?;
                first_repeat(wide.as_primitive::<Int64Type>().values().iter())
            }
            _ => {
                let text = cast(&self.0, &DataType::LargeUtf8)?;
                first_repeat(text.as_string::<i64>().iter().flatten())
            }
        };
        Ok(repeated.map(|(first_row, second_row)| DuplicateId {
            value: self.display(second_row),
            first_row,
            second_row,
        }))
    }
}

fn first_repeat<T: Hash + Eq>(values: impl Iterator<Item = T>) -> Option<(usize, usize)> {
    let mut seen = HashMap::new();
    for (row, value) in values.enumerate() {
        if let Some(first) = seen.insert(value, row) {
            return Some((first, row));
        }
    }
    None
}

/// Whether ids are numbers with a fraction, as pandas writes integers of a column that had a null.
pub(super) fn is_float(kind: &DataType) -> bool {
    matches!(kind, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

/// Ids that are whole numbers as integers; the first of them is that of row `first`. Refuses others by row and value:
/// beyond 2^53, a float stands for several integers.
pub(super) fn integers_of_floats(floats: &ArrayRef, first: usize) -> Result<ArrayRef> {
    let floats = cast(floats, &DataType::Float64)?;
    let values = floats.as_primitive::<Float64Type>().values();
    if let Some((row, value)) = values.iter().enumerate().find(|(_, value)| integer_of(**value).is_none()) {
        return Err(hint(
            format!("row {}: the id {value} is no integer", first + row),
            "ids are integers or strings: name another column with --id-column, or write the ids as one of them",
        ));
    }
    Ok(Arc::new(values.iter().filter_map(|value| integer_of(*value)).collect::<Int64Array>()))
}

/// The integer that a float is.
pub(super) fn integer_of(value: f64) -> Option<i64> {
    const EXACT: f64 = (1u64 << 53) as f64;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// Whether a column may serve as ids or, with `integers` false, as text.
pub(super) fn check_type(kind: &DataType, integers: bool) -> Result<()> {
    let value = match kind {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    let text = matches!(value, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (text, integers && value.is_integer()) {
        (true, _) | (_, true) => Ok(()),
        _ if integers => bail!("has type {kind}, expected integers or strings"),
        _ => bail!("has type {kind}, expected strings"),
    }
}
