//! Questions out of a Parquet file, a batch of rows at a time.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatchReader, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::column::reader::ColumnReader;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::tables::format::open_parquet;
use crate::tables::ids::{Ids, check_type};
use crate::tables::question_rows::{Columns, Positions, Rows};

const BATCH_ROWS: usize = 8192;

/// Appends the file's rows; returns its ids, `None` when it has no id column.
pub fn read(path: &Path, columns: &Columns, rows: &mut Rows) -> Result<Option<Ids>> {
    let (at, mut reader) = open(path, columns)?;
    // an empty first chunk keeps the ids' type when the file has no rows
    let mut chunks: Vec<ArrayRef> =
        at.id.iter().map(|&id| new_empty_array(reader.schema().field(id).data_type())).collect();
    let mut row = 0;
    loop {
        let batch = match reader.next() {
            None => break,
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Err(place_of_error(path, columns, row, &error)),
        };
        let text = cast(batch.column(at.text), &DataType::LargeUtf8)?;
        let ops = at.op.map(|op| cast(batch.column(op), &DataType::LargeUtf8)).transpose()?;
        let ops = ops.as_ref().map(|ops| ops.as_string::<i64>());
        for (offset, value) in text.as_string::<i64>().iter().enumerate() {
            let op = ops.filter(|ops| ops.is_valid(offset)).map(|ops| ops.value(offset));
            rows.push(value, op).with_context(|| format!("{}: row {}", path.display(), row + offset))?;
        }
        if let Some(id) = at.id {
            let ids = batch.column(id);
            if let Some(null) = (0..ids.len()).find(|&at| ids.is_null(at)) {
                bail!("{}: row {}, column {:?}: the id is null", path.display(), row + null, columns.id());
            }
            chunks.push(ids.clone());
        }
        row += batch.num_rows();
    }
    Ids::concat(&chunks).with_context(|| path.display().to_string())
}

/// The reader of the columns that count, and where they are once only they are read.
fn open(path: &Path, columns: &Columns) -> Result<(Positions, ParquetRecordBatchReader)> {
    let mut builder = open_parquet(path)?;
    let schema = builder.schema().clone();
    let present: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let Positions { text, id, op } = columns.find(path, &present)?;
    let check = |at: usize, integers: bool| {
        check_type(schema.field(at).data_type(), integers)
            .map_err(|e| anyhow!("{}: column {:?} {e}", path.display(), present[at]))
    };
    check(text, false)?;
    if let Some(id) = id {
        check(id, true)?;
    }
    if let Some(op) = op {
        check(op, false)?;
    }
    let mut wanted: Vec<usize> = [text].into_iter().chain(id).chain(op).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
    builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
    // a projection keeps the file's column order, whatever order it was asked for in
    wanted.sort_unstable();
    let place = |column: usize| wanted.partition_point(|&other| other < column);
    let projection = Positions { text: place(text), id: id.map(place), op: op.map(place) };
    Ok((projection, builder.build().with_context(|| format!("cannot read {}", path.display()))?))
}

/// The reader's errors name no row. When bytes that are not UTF-8 are to blame, reading the column again as bare
/// bytes tells which row holds them.
fn place_of_error(path: &Path, columns: &Columns, batch_start: usize, error: &ArrowError) -> anyhow::Error {
    match first_invalid_utf8(path, columns.text()) {
        Ok(Some(row)) => anyhow!("{}: row {row}, column {:?}: invalid UTF-8", path.display(), columns.text()),
        _ => anyhow!("{}: after row {batch_start}: cannot be read: {error}", path.display()),
    }
}

fn first_invalid_utf8(path: &Path, column: &str) -> Result<Option<usize>> {
    let file = SerializedFileReader::new(File::open(path)?)?;
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let at = schema.columns().iter().position(|c| c.path().string() == column).context("not a flat column")?;
    let defined = schema.column(at).max_def_level();
    let mut row = 0;
    for group in 0..file.num_row_groups() {
        let ColumnReader::ByteArrayColumnReader(mut reader) = file.get_row_group(group)?.get_column_reader(at)? else {
            return Ok(None);
        };
        loop {
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let (records, ..) = reader.read_records(BATCH_ROWS, Some(&mut levels), None, &mut values)?;
            if records == 0 {
                break;
            }
            levels.resize(records, defined);
            let mut values = values.iter();
            for level in levels {
                let bytes = if level == defined { values.next() } else { None };
                if bytes.is_some_and(|bytes| std::str::from_utf8(bytes.data()).is_err()) {
                    return Ok(Some(row));
                }
                row += 1;
            }
        }
    }
    Ok(None)
}
