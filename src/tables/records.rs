//! Tables whose rows are a Rust type: one declaration serves the writer and the reader.
//!
//! A row refers to questions by number; the file holds their ids. Reading goes a batch at a time: ten million pairs need
//! no memory unless the caller keeps them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::compute::{cast, filter, is_not_null};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::error::hint;
use crate::tables::format::open_parquet;
use crate::tables::id_index::IdIndex;
use crate::tables::ids::{Ids, check_type};
use crate::tables::write::{Column, write_batches};

const BATCH_ROWS: usize = 65_536;

/// Time zone of times in files.
const UTC: &str = "UTC";

/// Footer key of a file's format number.
const FORMAT_KEY: &str = "dupmine.format";

/// The footer's entry of a format number.
pub fn format_entry(format: u32) -> (String, String) {
    (FORMAT_KEY.into(), format.to_string())
}

/// A file whose rows are `R`.
pub struct Schema<R: 'static> {
    /// Name of the file.
    pub file: &'static str,
    /// Raised when a column is added, goes or changes its meaning.
    pub format: u32,
    pub columns: &'static [Field<R>],
}

/// One column: where it is in a row, what it means, and its unit (`""` when it has none).
pub struct Field<R: 'static> {
    pub name: &'static str,
    pub unit: &'static str,
    pub meaning: &'static str,
    pub cell: Cell<R>,
}

/// Where a column's value is in a row. Only the optional ones may be null in the file.
pub enum Cell<R: 'static> {
    /// The number of a question; the file holds its id.
    Id(fn(&mut R) -> &mut u32),
    /// The same, or no question.
    OptionalId(fn(&mut R) -> &mut Option<u32>),
    U32(fn(&mut R) -> &mut u32),
    U64(fn(&mut R) -> &mut u64),
    I64(fn(&mut R) -> &mut i64),
    OptionalI64(fn(&mut R) -> &mut Option<i64>),
    /// Microseconds since 1970, UTC.
    Time(fn(&mut R) -> &mut i64),
    F32(fn(&mut R) -> &mut f32),
    F64(fn(&mut R) -> &mut f64),
    Bool(fn(&mut R) -> &mut bool),
    OptionalF32(fn(&mut R) -> &mut Option<f32>),
    OptionalBool(fn(&mut R) -> &mut Option<bool>),
    Text {
        get: fn(&R) -> &str,
        /// Returns false for a text that this column cannot hold.
        set: fn(&mut R, &str) -> bool,
    },
}

impl<R: Clone> Cell<R> {
    fn is_optional(&self) -> bool {
        matches!(self, Self::OptionalId(_) | Self::OptionalI64(_) | Self::OptionalF32(_) | Self::OptionalBool(_))
    }

    /// The column of some rows; questions become their `ids`.
    fn array(&self, rows: &[R], ids: &Ids) -> Result<ArrayRef> {
        fn values<R: Clone, T: Copy>(rows: &[R], at: fn(&mut R) -> &mut T) -> impl Iterator<Item = T> {
            rows.iter().map(move |row| *at(&mut row.clone()))
        }
        Ok(match *self {
            Self::Id(at) => ids.pick(&values(rows, at).collect::<Vec<_>>())?.0,
            Self::OptionalId(at) => ids.pick_some(values(rows, at))?.0,
            Self::U32(at) => Arc::new(UInt32Array::from_iter_values(values(rows, at))),
            Self::U64(at) => Arc::new(UInt64Array::from_iter_values(values(rows, at))),
            Self::I64(at) => Arc::new(Int64Array::from_iter_values(values(rows, at))),
            Self::OptionalI64(at) => Arc::new(values(rows, at).collect::<Int64Array>()),
            Self::Time(at) => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(values(rows, at)).with_timezone(UTC))
            }
            Self::F32(at) => Arc::new(Float32Array::from_iter_values(values(rows, at))),
            Self::F64(at) => Arc::new(Float64Array::from_iter_values(values(rows, at))),
            Self::Bool(at) => Arc::new(values(rows, at).map(Some).collect::<BooleanArray>()),
            Self::OptionalF32(at) => Arc::new(values(rows, at).collect::<Float32Array>()),
            Self::OptionalBool(at) => Arc::new(values(rows, at).collect::<BooleanArray>()),
            Self::Text { get, .. } => Arc::new(StringArray::from_iter_values(rows.iter().map(get))),
        })
    }

    fn check(&self, found: &DataType) -> Result<()> {
        let expected = match self {
            Self::Id(_) | Self::OptionalId(_) => return check_type(found, true),
            Self::Text { .. } => return check_type(found, false),
            Self::U32(_) => DataType::UInt32,
            Self::U64(_) => DataType::UInt64,
            Self::I64(_) | Self::OptionalI64(_) => DataType::Int64,
            Self::Time(_) => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::F32(_) | Self::OptionalF32(_) => DataType::Float32,
            Self::F64(_) => DataType::Float64,
            Self::Bool(_) | Self::OptionalBool(_) => DataType::Boolean,
        };
        if *found == expected { Ok(()) } else { bail!("has type {found}, expected {expected}") }
    }

    /// Puts a column of the file into the rows.
    fn fill(&self, rows: &mut [R], column: &ArrayRef, index: &IdIndex) -> Result<()> {
        fn put<R, T>(rows: &mut [R], at: fn(&mut R) -> &mut T, values: impl Iterator<Item = T>) {
            rows.iter_mut().zip(values).for_each(|(row, value)| *at(row) = value);
        }
        match *self {
            Self::Id(at) => put(rows, at, index.rows(column)?.into_iter()),
            Self::OptionalId(at) => put(rows, at, index.find_all(&Ids(column.clone()))?.into_iter()),
            Self::U32(at) => put(rows, at, column.as_primitive::<UInt32Type>().values().iter().copied()),
            Self::U64(at) => put(rows, at, column.as_primitive::<UInt64Type>().values().iter().copied()),
            Self::I64(at) => put(rows, at, column.as_primitive::<Int64Type>().values().iter().copied()),
            Self::OptionalI64(at) => put(rows, at, column.as_primitive::<Int64Type>().iter()),
            Self::Time(at) => {
                put(rows, at, column.as_primitive::<TimestampMicrosecondType>().values().iter().copied());
            }
            Self::F32(at) => put(rows, at, column.as_primitive::<Float32Type>().values().iter().copied()),
            Self::F64(at) => put(rows, at, column.as_primitive::<Float64Type>().values().iter().copied()),
            Self::Bool(at) => put(rows, at, column.as_boolean().values().iter()),
            Self::OptionalF32(at) => put(rows, at, column.as_primitive::<Float32Type>().iter()),
            Self::OptionalBool(at) => put(rows, at, column.as_boolean().iter()),
            Self::Text { set, .. } => {
                let texts = cast(column, &DataType::LargeUtf8)?;
                for (row, text) in rows.iter_mut().zip(texts.as_string::<i64>().iter().flatten()) {
                    if !set(row, text) {
                        bail!("holds {text:?}, no known value");
                    }
                }
            }
        }
        Ok(())
    }
}

impl<R: Clone + Default> Schema<R> {
    /// Writes the file into `folder`, complete or not at all. `footer` goes beside the format into the file's metadata.
    pub fn write(&self, folder: &Path, ids: &Ids, rows: &[R], footer: &[(String, String)]) -> Result<()> {
        let table = |rows: &[R]| -> Result<Vec<Column>> {
            let column = |field: &Field<R>| {
                let column = Column::new(field.name, field.cell.array(rows, ids)?, field.unit, field.meaning);
                Ok(if field.cell.is_optional() { column.nullable() } else { column })
            };
            self.columns.iter().map(column).collect()
        };
        // at least one batch, so that an empty table still has its columns
        let whole = if rows.is_empty() { Some(rows) } else { None };
        let batches = whole.into_iter().chain(rows.chunks(BATCH_ROWS)).map(table);
        let footer: Vec<(String, String)> = footer.iter().cloned().chain([format_entry(self.format)]).collect();
        write_batches(&folder.join(self.file), batches, &footer)
    }

    /// Rows of the file in `folder`, a batch at a time. `index` has the ids of the questions.
    pub fn read<'a>(&'a self, folder: &Path, index: &'a IdIndex) -> Result<impl Iterator<Item = Result<Vec<R>>> + 'a> {
        let batches = Batches::open(&folder.join(self.file), self.format, self.columns)?;
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let mut rows = vec![R::default(); batch.rows.num_rows()];
            for field in self.columns {
                let filled = field.cell.fill(&mut rows, &batch.rows[field.name], index);
                filled.map_err(|e| anyhow!(batch.place(field.name, &e.to_string())))?;
            }
            Ok(rows)
        }))
    }

    /// The columns of the file that hold ids, a batch at a time, without nulls.
    pub fn ids(&self, folder: &Path) -> Result<impl Iterator<Item = Result<Ids>> + use<R>> {
        let names: Vec<&str> = self
            .columns
            .iter()
            .filter(|field| matches!(field.cell, Cell::Id(_) | Cell::OptionalId(_)))
            .map(|field| field.name)
            .collect();
        let batches = Batches::open(&folder.join(self.file), self.format, self.columns)?;
        Ok(batches.flat_map(move |batch| -> Vec<Result<Ids>> {
            match batch {
                Ok(batch) => names.iter().map(|name| Ok(Ids(without_nulls(&batch.rows[*name])?))).collect(),
                Err(error) => vec![Err(error)],
            }
        }))
    }
}

fn without_nulls(column: &ArrayRef) -> Result<ArrayRef> {
    if column.null_count() == 0 {
        return Ok(column.clone());
    }
    Ok(filter(column, &is_not_null(column)?)?)
}

/// The declared columns of one file, a batch at a time.
struct Batches {
    path: PathBuf,
    required: Vec<&'static str>,
    reader: ParquetRecordBatchReader,
}

impl Batches {
    fn open<R: Clone>(path: &Path, format: u32, columns: &'static [Field<R>]) -> Result<Self> {
        let builder = open_parquet(path)?;
        let footer = builder.metadata().file_metadata().key_value_metadata();
        let written = footer.and_then(|entries| entries.iter().find(|entry| entry.key == FORMAT_KEY)?.value.clone());
        if let Some(newer) = written.and_then(|written| written.parse::<u32>().ok()).filter(|found| *found > format) {
            return Err(hint(
                format!("{}: it has format {newer}, this mine reads up to {format}", path.display()),
                "read it with the version of mine that wrote it, or a later one",
            ));
        }
        let schema = builder.schema().clone();
        let mut chosen = Vec::new();
        for field in columns {
            let Some((at, found)) = schema.column_with_name(field.name) else {
                let present: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(hint(
                    format!("{}: no column {:?}; the columns are: {}", path.display(), field.name, present.join(", ")),
                    "an older version of mine wrote the file: the same run again, with this one, adds the column",
                ));
            };
            let checked = field.cell.check(found.data_type());
            checked.map_err(|e| anyhow!("{}: column {:?} {e}", path.display(), field.name))?;
            chosen.push(at);
        }
        let required = columns.iter().filter(|field| !field.cell.is_optional()).map(|field| field.name).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), chosen);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path: path.to_path_buf(), required, reader })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        let path = &self.path;
        let rows = match self.reader.next()? {
            Ok(rows) => rows,
            Err(error) => return Some(Err(anyhow!("{}: cannot be read: {error}", path.display()))),
        };
        let batch = Batch { path: path.clone(), rows };
        let null = self.required.iter().find(|name| batch.rows[**name].null_count() > 0);
        Some(match null {
            Some(name) => Err(anyhow!(batch.place(name, "holds a null, expected none"))),
            None => Ok(batch),
        })
    }
}

/// Rows of a file whose columns have been checked.
struct Batch {
    path: PathBuf,
    rows: RecordBatch,
}

impl Batch {
    fn place(&self, column: &str, what: &str) -> String {
        format!("{}: column {column:?} {what}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Row {
        question: u32,
        score: Option<f32>,
        kind: String,
        other: Option<u32>,
    }

    const ROWS: Schema<Row> = Schema {
        file: "rows.parquet",
        format: 2,
        columns: &[
            Field { name: "id", unit: "", meaning: "id", cell: Cell::Id(|row| &mut row.question) },
            Field { name: "score", unit: "logit", meaning: "score", cell: Cell::OptionalF32(|row| &mut row.score) },
            Field { name: "other", unit: "", meaning: "id", cell: Cell::OptionalId(|row| &mut row.other) },
            Field {
                name: "kind",
                unit: "",
                meaning: "kind",
                cell: Cell::Text {
                    get: |row| &row.kind,
                    set: |row, kind| {
                        row.kind = kind.into();
                        kind != "wrong"
                    },
                },
            },
        ],
    };

    fn row(question: u32, score: Option<f32>, kind: &str) -> Row {
        Row { question, score, kind: kind.into(), other: None }
    }

    fn read(folder: &Path, rows: usize) -> Result<Vec<Row>> {
        let index = IdIndex::new(Ids::row_numbers(rows))?;
        let batches: Result<Vec<Vec<Row>>> = ROWS.read(folder, &index)?.collect();
        Ok(batches?.concat())
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let with_other = Row { other: Some(1), ..row(2, None, "c") };
        for rows in [vec![], vec![row(3, None, "a"), with_other, row(0, Some(0.5), "b")]] {
            ROWS.write(folder.path(), &Ids::row_numbers(4), &rows, &[]).unwrap();
            assert_eq!(read(folder.path(), 4).unwrap(), rows);
            // numbered as they appear: nulls are no ids
            let index = IdIndex::numbering(ROWS.ids(folder.path()).unwrap()).unwrap();
            let again: Vec<Row> = ROWS.read(folder.path(), &index).unwrap().flat_map(|batch| batch.unwrap()).collect();
            let id = |number: u32| index.ids().display(number as usize).parse::<u32>().unwrap();
            let others: Vec<Option<u32>> = again.iter().map(|row| row.other.map(id)).collect();
            assert_eq!(others, rows.iter().map(|row| row.other).collect::<Vec<_>>());
            assert_eq!(
                again.iter().map(|row| id(row.question)).collect::<Vec<_>>(),
                rows.iter().map(|row| row.question).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn errors_name_file_column_and_what_was_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(ROWS.file);
        let error = |rows| format!("{:#}", read(folder.path(), rows).unwrap_err()).replace(path.to_str().unwrap(), "F");
        ROWS.write(folder.path(), &Ids::row_numbers(4), &[row(3, None, "wrong")], &[]).unwrap();
        assert_eq!(error(4), "F: column \"kind\" holds \"wrong\", no known value");
        assert_eq!(error(3), "F: column \"id\" id 3 is not among the input's");
        let newer = Schema { format: 3, ..ROWS };
        newer.write(folder.path(), &Ids::row_numbers(4), &[], &[]).unwrap();
        assert_eq!(error(4), "F: it has format 3, this mine reads up to 2");
        let scores: ArrayRef = Arc::new(Float64Array::from(vec![2.0]));
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let columns = vec![Column::new("id", ids, "", ""), Column::new("score", scores, "", "")];
        write_batches(&path, std::iter::once(Ok(columns)), &[]).unwrap();
        assert_eq!(error(4), "F: column \"score\" has type Float64, expected Float32");
        std::fs::write(&path, "PAR1").unwrap();
        assert!(error(4).starts_with("F: not a readable Parquet file"), "{}", error(4));
        std::fs::remove_file(&path).unwrap();
        assert!(error(4).starts_with("cannot read F"), "{}", error(4));
    }
}
