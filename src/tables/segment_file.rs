//! The bytes of a segment: named columns of equal length as one Arrow IPC file. Any Arrow reader opens it.

use std::io::Cursor;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, ListArray,
    RecordBatch, StringArray, UInt64Array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, UInt64Type};
use arrow::ipc::{reader::FileReader, writer::FileWriter};

use crate::text::key::TextKey;

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    Keys(Vec<TextKey>),
    Numbers(Vec<u64>),
    Floats(Vec<f32>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
    /// Rows of `width` values each, row-major.
    Vectors {
        width: usize,
        values: Vec<f32>,
    },
    /// Rows of any number of values: row `r` has `values[ends[r − 1]..ends[r]]`.
    Lists {
        ends: Vec<u32>,
        values: Box<Column>,
    },
}

/// Named columns of equal length.
pub type Columns = Vec<(String, Column)>;

impl Column {
    fn array(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Keys(keys) => {
                let bytes: Vec<u8> = keys.iter().flat_map(|key| *key.bytes()).collect();
                Arc::new(FixedSizeBinaryArray::try_new(TextKey::BYTES as i32, Buffer::from_vec(bytes), None)?)
            }
            Self::Numbers(values) => Arc::new(UInt64Array::from(values)),
            Self::Floats(values) => Arc::new(Float32Array::from(values)),
            Self::Flags(values) => Arc::new(BooleanArray::from(values)),
            Self::Texts(values) => Arc::new(StringArray::from(values)),
            Self::Vectors { width, values } => vectors_array(width, values)?,
            Self::Lists { ends, values } => {
                let values = values.array()?;
                let item = Arc::new(Field::new("item", values.data_type().clone(), false));
                let offsets = std::iter::once(0).chain(ends.iter().map(|&end| end as i32)).collect::<Vec<i32>>();
                Arc::new(ListArray::try_new(item, OffsetBuffer::new(ScalarBuffer::from(offsets)), values, None)?)
            }
        })
    }

    /// Number of rows.
    fn rows(&self) -> usize {
        match self {
            Self::Keys(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Flags(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Vectors { width, values } => values.len() / (*width).max(1),
            Self::Lists { ends, .. } => ends.len(),
        }
    }

    /// Appends the rows of a column of the same kind.
    pub fn append(&mut self, other: Self) -> Result<()> {
        match (self, other) {
            (Self::Keys(to), Self::Keys(mut from)) => to.append(&mut from),
            (Self::Numbers(to), Self::Numbers(mut from)) => to.append(&mut from),
            (Self::Floats(to), Self::Floats(mut from)) => to.append(&mut from),
            (Self::Flags(to), Self::Flags(mut from)) => to.append(&mut from),
            (Self::Texts(to), Self::Texts(mut from)) => to.append(&mut from),
            (Self::Vectors { width, values: to }, Self::Vectors { width: other, values: mut from })
                if *width == other =>
            {
                to.append(&mut from);
            }
            (Self::Lists { ends, values: to }, Self::Lists { ends: more, values: from }) => {
                let before = to.rows() as u32;
                ends.extend(more.into_iter().map(|end| before + end));
                to.append(*from)?;
            }
            _ => bail!("segments of one identity have other columns"),
        }
        Ok(())
    }

    /// The rows of these numbers, in this order.
    fn take(&self, rows: &[u32]) -> Self {
        fn picked<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| values[row as usize]).collect()
        }
        match self {
            Self::Keys(values) => Self::Keys(picked(values, rows)),
            Self::Numbers(values) => Self::Numbers(picked(values, rows)),
            Self::Floats(values) => Self::Floats(picked(values, rows)),
            Self::Flags(values) => Self::Flags(picked(values, rows)),
            Self::Texts(values) => Self::Texts(rows.iter().map(|&row| values[row as usize].clone()).collect()),
            Self::Vectors { width, values } => {
                let of = |&row: &u32| &values[row as usize * width..(row as usize + 1) * width];
                Self::Vectors { width: *width, values: rows.iter().flat_map(of).copied().collect() }
            }
            Self::Lists { ends, values } => {
                let of = |&row: &u32| (if row == 0 { 0 } else { ends[row as usize - 1] })..ends[row as usize];
                let inner: Vec<u32> = rows.iter().flat_map(of).collect();
                let mut end = 0;
                let ends = rows.iter().map(|row| {
                    end += of(row).len() as u32;
                    end
                });
                Self::Lists { ends: ends.collect(), values: Box::new(values.take(&inner)) }
            }
        }
    }

    fn of(array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::FixedSizeBinary(width) if *width as usize == TextKey::BYTES => {
                let rows = array.as_fixed_size_binary();
                let key = |row| Ok(TextKey::from_bytes(<[u8; TextKey::BYTES]>::try_from(rows.value(row))?));
                Self::Keys((0..rows.len()).map(key).collect::<Result<_>>()?)
            }
            DataType::UInt64 => Self::Numbers(array.as_primitive::<UInt64Type>().values().to_vec()),
            DataType::Float32 => Self::Floats(array.as_primitive::<Float32Type>().values().to_vec()),
            DataType::Utf8 => {
                Self::Texts(array.as_string::<i32>().iter().map(|text| text.unwrap_or_default().into()).collect())
            }
            DataType::Boolean => Self::Flags(array.as_boolean().values().iter().collect()),
            DataType::FixedSizeList(_, width) => {
                let values = array.as_fixed_size_list().values().as_primitive::<Float32Type>().values().to_vec();
                Self::Vectors { width: *width as usize, values }
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let ends = lists.offsets()[1..].iter().map(|&end| end as u32).collect();
                Self::Lists { ends, values: Box::new(Self::of(lists.values())?) }
            }
            other => bail!("unexpected type {other}"),
        })
    }
}

/// `[rows, width]` values as a fixed-size list column.
pub(super) fn vectors_array(width: usize, values: Vec<f32>) -> Result<ArrayRef> {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let width = i32::try_from(width).context("vectors are too wide")?;
    Ok(Arc::new(FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(values)), None)?))
}

/// Number of rows.
pub fn rows(columns: &Columns) -> usize {
    columns.first().map_or(0, |(_, column)| column.rows())
}

/// The rows of these numbers, in this order.
pub fn take(columns: &Columns, rows: &[u32]) -> Columns {
    columns.iter().map(|(name, column)| (name.clone(), column.take(rows))).collect()
}

/// The order of rows by their keys: each combination once, and only those whose every key is `live`.
pub fn row_order(columns: &Columns, live: &dyn Fn(&TextKey) -> bool) -> Vec<u32> {
    let keys: Vec<&Vec<TextKey>> = columns
        .iter()
        .filter_map(|(_, column)| if let Column::Keys(keys) = column { Some(keys) } else { None })
        .collect();
    let of = |row: u32| keys.iter().map(move |keys| &keys[row as usize]);
    let mut order: Vec<u32> = (0..rows(columns) as u32).filter(|&row| of(row).all(live)).collect();
    order.sort_by(|&x, &y| of(x).cmp(of(y)));
    order.dedup_by(|x, y| of(*x).eq(of(*y)));
    order
}

/// The file's bytes.
pub fn encode(columns: Columns) -> Result<Vec<u8>> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, column) in columns {
        let array = column.array()?;
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new(&mut bytes, &schema)?;
    writer.write(&RecordBatch::try_new(schema.clone(), arrays)?)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

/// The columns of a file. The decoder trusts the lengths that it reads: hand over only bytes that [`encode`] returned.
pub fn decode(bytes: Vec<u8>) -> Result<Columns> {
    let mut reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let batch = reader.next().context("no rows")??;
    let schema = batch.schema();
    let named = schema.fields().iter().zip(batch.columns());
    named.map(|(field, array)| Ok((field.name().clone(), Column::of(array)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_column_comes_back_as_it_was() {
        let keys = || Column::Keys(vec![TextKey::of("a"), TextKey::of("b"), TextKey::of("c")]);
        let columns: Columns = vec![
            ("text".into(), keys()),
            ("number".into(), Column::Numbers(vec![3, 1, 2])),
            ("score".into(), Column::Floats(vec![0.5, -1.0, f32::MIN_POSITIVE])),
            ("cut".into(), Column::Flags(vec![true, false, true])),
            ("said".into(), Column::Texts(["a", "", "ü"].map(String::from).to_vec())),
            ("vector".into(), Column::Vectors { width: 2, values: vec![0.5, 1.0, -1.0, 0.25, 0.0, 1.0] }),
            ("neighbour".into(), Column::Lists { ends: vec![0, 2, 3], values: Box::new(keys()) }),
        ];
        assert_eq!(decode(encode(columns.clone()).unwrap()).unwrap(), columns);
        let order = row_order(&columns, &|key| *key != TextKey::of("b"));
        let kept = take(&columns, &order);
        assert_eq!(rows(&kept), 2);
        let mut twice = kept.clone();
        twice.iter_mut().zip(kept.clone()).for_each(|((_, to), (_, from))| to.append(from).unwrap());
        assert_eq!(take(&twice, &row_order(&twice, &|_| true)), kept);
        let first = order[0] as usize;
        assert_eq!(
            kept[2].1,
            Column::Floats(order.iter().map(|&row| [0.5, -1.0, f32::MIN_POSITIVE][row as usize]).collect())
        );
        assert_eq!(
            kept[5].1.take(&[0]),
            Column::Vectors { width: 2, values: [[0.5, 1.0], [-1.0, 0.25], [0.0, 1.0]][first].to_vec() }
        );
        let empty: Columns = vec![("text".into(), Column::Keys(Vec::new()))];
        assert_eq!(decode(encode(empty.clone()).unwrap()).unwrap(), empty);
    }
}
