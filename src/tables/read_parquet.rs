//! Questions out of a Parquet file, a batch of rows at a time.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::tables::ids::{Ids, check_type};
use crate::tables::questions::{Columns, Rows};

const BATCH_ROWS: usize = 8192;

/// Where the columns are once only they are read.
struct Projection {
    text: usize,
    id: Option<usize>,
}

/// Appends the file's rows; returns its ids, `None` when it has no id column.
pub fn read(path: &Path, columns: &Columns, rows: &mut Rows) -> Result<Option<Ids>> {
    let (projection, mut reader) = open(path, columns, None)?;
    // an empty first chunk keeps the ids' type when the file has no rows
    let mut chunks: Vec<ArrayRef> =
        projection.id.iter().map(|&id| new_empty_array(reader.schema().field(id).data_type())).collect();
    let mut row = 0;
    loop {
        let batch = match reader.next() {
            None => break,
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Err(place_of_error(path, columns, row, &anyhow!(error))),
        };
        let text = cast(batch.column(projection.text), &DataType::LargeUtf8)?;
        for value in text.as_string::<i64>() {
            rows.push(value)?;
        }
        if let Some(id) = projection.id {
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

fn open(
    path: &Path,
    columns: &Columns,
    range: Option<(usize, usize)>,
) -> Result<(Projection, ParquetRecordBatchReader)> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let not_parquet = || format!("{}: not a readable Parquet file", path.display());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).with_context(not_parquet)?;
    let schema = builder.schema().clone();
    let present: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let (text, id) = columns.find(path, &present)?;
    let check = |at: usize, integers: bool| {
        check_type(schema.field(at).data_type(), integers)
            .map_err(|e| anyhow!("{}: column {:?} {e}", path.display(), present[at]))
    };
    check(text, false)?;
    if let Some(id) = id {
        check(id, true)?;
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), [text].into_iter().chain(id));
    builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
    if let Some((offset, limit)) = range {
        builder = builder.with_offset(offset).with_limit(limit);
    }
    // a projection keeps the file's column order, whatever order it was asked for in
    let projection = Projection {
        text: usize::from(id.is_some_and(|id| id < text)),
        id: id.map(|id| usize::from(id > text)),
    };
    Ok((projection, builder.build().with_context(not_parquet)?))
}

/// The reader's errors name no row, so the failing batch is halved until one row is left.
fn place_of_error(path: &Path, columns: &Columns, batch_start: usize, error: &anyhow::Error) -> anyhow::Error {
    let fails = |from: usize, rows: usize| {
        let read = || -> Result<Vec<RecordBatch>> {
            open(path, columns, Some((from, rows)))?.1.map(|batch| Ok(batch?)).collect()
        };
        read().is_err()
    };
    let (mut from, mut rows) = (batch_start, BATCH_ROWS);
    while rows > 1 {
        let half = rows / 2;
        if fails(from, half) {
            rows = half;
        } else if fails(from + half, rows - half) {
            (from, rows) = (from + half, rows - half);
        } else {
            break;
        }
    }
    let message = error.to_string();
    let reason = message.strip_prefix("Parquet argument error: Parquet error: ").unwrap_or(&message).to_string();
    let row = if rows == 1 { format!("row {from}") } else { format!("after row {batch_start}") };
    anyhow!("{}: {row}, column {:?}: cannot be read: {reason}", path.display(), columns.text())
}
