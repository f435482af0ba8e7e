//! Questions out of a Parquet file, a batch of rows at a time.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatchReader, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::column::reader::ColumnReader;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::tables::format::open_parquet;
use crate::tables::ids::{Ids, check_type, integers_of_floats, is_float};
use crate::tables::question_rows::{Positions, ReadOptions, Rows};
use crate::tables::ranking_values;
use crate::tables::source::{self, name};

const BATCH_ROWS: usize = 8192;

/// Appends the file's rows; returns its ids, `None` when it has no id column.
pub fn read(path: &Path, options: &ReadOptions, rows: &mut Rows) -> Result<Option<Ids>> {
    let (at, mut reader) = open(path, options, rows)?;
    let schema = reader.schema();
    let id_type =
        |id: usize| Some(schema.field(id).data_type()).filter(|kind| !is_float(kind)).unwrap_or(&DataType::Int64);
    // an empty first chunk keeps the ids' type when the file has no rows
    let mut chunks: Vec<ArrayRef> = at.id.iter().map(|&id| new_empty_array(id_type(id))).collect();
    let mut whole = String::new();
    let mut row = 0;
    loop {
        let batch = match reader.next() {
            None => break,
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Err(place_of_error(path, &at.columns.names, row, &error)),
        };
        let text = |&column: &usize| cast(batch.column(column), &DataType::LargeUtf8);
        let texts = at.text.iter().map(text).collect::<Result<Vec<ArrayRef>, _>>()?;
        let texts: Vec<&LargeStringArray> = texts.iter().map(|text| text.as_string::<i64>()).collect();
        let ops = at.op.map(|op| cast(batch.column(op), &DataType::LargeUtf8)).transpose()?;
        let ops = ops.as_ref().map(|ops| ops.as_string::<i64>());
        let values = at.ranking.map(|at| ranking_values::as_text(batch.column(at))).transpose()?;
        let values = values.as_ref().map(|values| values.as_string::<i64>());
        for offset in 0..batch.num_rows() {
            let value = values.filter(|values| values.is_valid(offset)).map(|values| values.value(offset));
            let op = ops.filter(|ops| ops.is_valid(offset)).map(|ops| ops.value(offset));
            let cells: Vec<Option<&str>> =
                texts.iter().map(|text| text.is_valid(offset).then(|| text.value(offset))).collect();
            rows.push(at.columns.fill(&cells, &mut whole), op, value)
                .with_context(|| format!("{}: row {}", name(path), row + offset))?;
        }
        if let Some(id) = at.id {
            let ids = batch.column(id);
            if let Some(null) = (0..ids.len()).find(|&at| ids.is_null(at)) {
                bail!("{}: row {}, column {:?}: the id is null", name(path), row + null, options.id());
            }
            chunks.push(match is_float(ids.data_type()) {
                true => integers_of_floats(ids, row)
                    .with_context(|| format!("{}: column {:?}", name(path), options.id()))?,
                false => ids.clone(),
            });
        }
        row += batch.num_rows();
    }
    Ids::concat(&chunks).with_context(|| name(path).to_string())
}

/// The reader of the columns that count, and where they are once only they are read.
fn open(path: &Path, options: &ReadOptions, rows: &mut Rows) -> Result<(Positions, ParquetRecordBatchReader)> {
    let mut builder = open_parquet(path)?;
    let schema = builder.schema().clone();
    let present: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let Positions { text, columns, id, op, ranking } = options.find(path, &present)?;
    rows.note_columns(&present);
    let check = |at: usize, integers: bool| {
        check_type(schema.field(at).data_type(), integers)
            .map_err(|e| anyhow!("{}: column {:?} {e}", name(path), present[at]))
    };
    for &text in &text {
        check(text, false)?;
    }
    if let Some(id) = id.filter(|&id| !is_float(schema.field(id).data_type())) {
        check(id, true)?;
    }
    if let Some(op) = op {
        check(op, false)?;
    }
    if let Some(at) = ranking {
        ranking_values::check_type(schema.field(at).data_type())
            .map_err(|e| anyhow!("{}: column {:?} {e}", name(path), present[at]))?;
    }
    let mut wanted: Vec<usize> = text.iter().copied().chain(id).chain(op).chain(ranking).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
    builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
    // a projection keeps the file's column order, whatever order it was asked for in
    wanted.sort_unstable();
    wanted.dedup();
    let place = |column: usize| wanted.partition_point(|&other| other < column);
    let text = text.into_iter().map(place).collect();
    let projection = Positions { text, columns, id: id.map(place), op: op.map(place), ranking: ranking.map(place) };
    Ok((projection, builder.build().with_context(|| format!("cannot read {}", name(path)))?))
}

/// The reader's errors name no row. When bytes that are not UTF-8 are to blame, reading the column again as bare
/// bytes tells which row holds them.
fn place_of_error(path: &Path, columns: &[String], batch_start: usize, error: &ArrowError) -> anyhow::Error {
    let found = columns.iter().find_map(|column| Some((column, first_invalid_utf8(path, column).ok()??)));
    match found {
        Some((column, row)) => anyhow!("{}: row {row}, column {column:?}: invalid UTF-8", name(path)),
        None => anyhow!("{}: after row {batch_start}: cannot be read: {error}", name(path)),
    }
}

fn first_invalid_utf8(path: &Path, column: &str) -> Result<Option<usize>> {
    let file = SerializedFileReader::new(source::open(path)?)?;
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
