//! From an id back to its row: result files hold ids, computing wants row numbers.

use std::collections::HashMap;
use std::hash::Hash;

use anyhow::{Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};

use crate::tables::ids::Ids;

/// Ids with the row of each.
pub struct IdIndex {
    ids: Ids,
    rows: Rows,
}

/// Every integer type fits into 64 bits; ids of one input have one type, so that no two share their bits.
enum Rows {
    Integers(HashMap<i64, u32>),
    Texts(HashMap<Box<str>, u32>),
}

/// A column's ids in the form in which they are looked up.
enum Keys {
    Integers(Vec<i64>),
    Texts(ArrayRef),
}

fn keys(column: &ArrayRef) -> Result<Keys> {
    Ok(match column.data_type() {
        DataType::UInt64 => {
            Keys::Integers(column.as_primitive::<UInt64Type>().values().iter().map(|&v| v as i64).collect())
        }
        kind if kind.is_integer() => {
            let wide = cast(column, &DataType::Int64)?;
            Keys::Integers(wide.as_primitive::<Int64Type>().values().to_vec())
        }
        _ => Keys::Texts(cast(column, &DataType::LargeUtf8)?),
    })
}

impl IdIndex {
    /// Indexes the ids of an input: an id's number is its input row.
    pub fn new(ids: Ids) -> Result<Self> {
        let rows = match keys(&ids.0)? {
            Keys::Integers(keys) => Rows::Integers(keys.into_iter().zip(0..).collect()),
            Keys::Texts(keys) => {
                Rows::Texts(keys.as_string::<i64>().iter().flatten().map(Box::from).zip(0..).collect())
            }
        };
        Ok(Self { ids, rows })
    }

    /// Numbers the ids of result columns in order of appearance, for an input that is gone.
    pub fn numbering(columns: impl Iterator<Item = Result<Ids>>) -> Result<Self> {
        let (mut integers, mut texts) = (HashMap::new(), HashMap::new());
        let mut chunks = Vec::new();
        for column in columns {
            let Ids(column) = column?;
            let fresh = match keys(&column)? {
                Keys::Integers(keys) => number(keys.into_iter(), &mut integers),
                Keys::Texts(keys) => number(keys.as_string::<i64>().iter().flatten().map(Box::from), &mut texts),
            };
            chunks.push(take(&column, &UInt32Array::from(fresh), None)?);
        }
        if !integers.is_empty() && !texts.is_empty() {
            bail!("the files disagree about the type of ids");
        }
        let ids = Ids::concat(&chunks)?.unwrap_or_else(|| Ids::row_numbers(0));
        Ok(Self { ids, rows: if texts.is_empty() { Rows::Integers(integers) } else { Rows::Texts(texts) } })
    }

    /// The ids by row.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Row of an id as a person types it.
    pub fn find(&self, id: &str) -> Option<u32> {
        match &self.rows {
            Rows::Integers(rows) if *self.ids.0.data_type() == DataType::UInt64 => {
                rows.get(&(id.parse::<u64>().ok()? as i64)).copied()
            }
            Rows::Integers(rows) => rows.get(&id.parse().ok()?).copied(),
            Rows::Texts(rows) => rows.get(id).copied(),
        }
    }

    /// The id that is most like one that is not there, to tell a slip of the hand.
    pub fn nearest(&self, id: &str) -> Option<String> {
        let distance = |row: &usize| strsim::damerau_levenshtein(&self.ids.display(*row), id);
        (0..self.ids.len()).min_by_key(distance).map(|row| self.ids.display(row))
    }

    /// The row of each id of another table, `None` for one that is not here or is null. Ids of another type are never here.
    pub fn find_all(&self, ids: &Ids) -> Result<Vec<Option<u32>>> {
        Ok(match (keys(&ids.0)?, &self.rows) {
            (Keys::Integers(keys), Rows::Integers(rows)) => {
                let is_there = |at: &usize| ids.0.is_valid(*at);
                let find = |(at, key)| Some(at).filter(is_there).and_then(|_| rows.get(key).copied());
                keys.iter().enumerate().map(find).collect()
            }
            (Keys::Texts(keys), Rows::Texts(rows)) => {
                keys.as_string::<i64>().iter().map(|key| rows.get(key?).copied()).collect()
            }
            (Keys::Integers(_) | Keys::Texts(_), _) => vec![None; ids.len()],
        })
    }

    /// Rows of a column of ids; says which id is unknown.
    pub(super) fn rows(&self, column: &ArrayRef) -> Result<Vec<u32>> {
        match (keys(column)?, &self.rows) {
            (Keys::Integers(keys), Rows::Integers(rows)) => look_up(keys.iter(), |key| rows.get(key).copied()),
            (Keys::Texts(keys), Rows::Texts(rows)) => {
                look_up(keys.as_string::<i64>().iter().flatten(), |key| rows.get(*key).copied())
            }
            _ => bail!("has type {}, expected {} as in the input", column.data_type(), self.ids.0.data_type()),
        }
    }
}

/// Gives every unknown key the next number; returns where in the column these keys are.
fn number<K: Hash + Eq>(keys: impl Iterator<Item = K>, known: &mut HashMap<K, u32>) -> Vec<u32> {
    let mut fresh = Vec::new();
    for (key, at) in keys.zip(0..) {
        let next = known.len() as u32;
        known.entry(key).or_insert_with(|| {
            fresh.push(at);
            next
        });
    }
    fresh
}

/// Pairs come sorted by their first id, so that an id is often the one before it.
fn look_up<K: PartialEq + std::fmt::Display>(
    keys: impl Iterator<Item = K>,
    row: impl Fn(&K) -> Option<u32>,
) -> Result<Vec<u32>> {
    let mut last: Option<(K, u32)> = None;
    let mut rows = Vec::with_capacity(keys.size_hint().0);
    for key in keys {
        let found = match &last {
            Some((known, found)) if *known == key => *found,
            _ => match row(&key) {
                Some(found) => found,
                None => bail!("id {key} is not among the input's"),
            },
        };
        rows.push(found);
        last = Some((key, found));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray, UInt64Array};

    use super::*;

    #[test]
    fn ids_of_any_type_lead_back_to_their_row() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "7"]));
        let index = IdIndex::new(Ids(texts.clone())).unwrap();
        assert_eq!((index.find("7"), index.find("b"), index.find("c")), (Some(2), Some(0), None));
        assert_eq!(index.rows(&cast(&texts, &DataType::Utf8View).unwrap()).unwrap(), [0, 1, 2]);
        let wide: ArrayRef = Arc::new(UInt64Array::from(vec![3, u64::MAX]));
        let index = IdIndex::new(Ids(wide.clone())).unwrap();
        assert_eq!((index.find("18446744073709551615"), index.find("-1")), (Some(1), None));
        assert_eq!(index.rows(&wide).unwrap(), [0, 1]);
        let error = index.rows(&texts).unwrap_err().to_string();
        assert_eq!(error, "has type Utf8, expected UInt64 as in the input");
    }

    #[test]
    fn without_the_input_ids_are_numbered_as_they_appear() {
        let ids = |values: Vec<i32>| -> Ids { Ids(Arc::new(Int32Array::from(values))) };
        let column = |values: Vec<i32>| -> Result<Ids> { Ok(ids(values)) };
        let index = IdIndex::numbering([column(vec![9, 4, 9]), column(vec![4, 5])].into_iter()).unwrap();
        assert_eq!((index.ids().len(), index.ids().display(2)), (3, "5".to_string()));
        assert_eq!(index.rows(&ids(vec![5, 5, 9, 4]).0).unwrap(), [2, 2, 0, 1]);
        let error = index.rows(&ids(vec![4, 6]).0).unwrap_err().to_string();
        assert_eq!(error, "id 6 is not among the input's");
    }
}
