//! `embeddings.parquet`: a question and its vector a row.

use std::path::Path;

use anyhow::Result;

use crate::tables::ids::Ids;
use crate::tables::records::format_entry;
use crate::tables::segment_file::vectors_array;
use crate::tables::write::{Column, write_batches};

/// Raised when a column is added, goes or changes its meaning.
const FORMAT: u32 = 2;

const BATCH_ROWS: usize = 65_536;

/// Writes the file. `vectors` is row-major `[texts, width]`; question `rows[i].0` has the vector of text `rows[i].1`.
pub fn write(
    path: &Path,
    ids: &Ids,
    rows: &[(u32, u32)],
    (vectors, width): (&[f32], usize),
    footer: &[(String, String)],
) -> Result<()> {
    let table = |rows: &[(u32, u32)]| {
        let of = |text: u32| &vectors[text as usize * width..(text as usize + 1) * width];
        let values: Vec<f32> = rows.iter().flat_map(|&(_, text)| of(text)).copied().collect();
        let questions: Vec<u32> = rows.iter().map(|&(question, _)| question).collect();
        let meaning = "unit vector of the bi-encoder, or zero where its vocabulary knows no word of the text";
        Ok(vec![
            Column::new("id", ids.pick(&questions)?.0, "", "id of the question"),
            Column::new("embedding", vectors_array(width, values)?, "", meaning),
        ])
    };
    let footer: Vec<(String, String)> = footer.iter().cloned().chain([format_entry(FORMAT)]).collect();
    let whole = if rows.is_empty() { Some(rows) } else { None };
    write_batches(path, whole.into_iter().chain(rows.chunks(BATCH_ROWS)).map(table), &footer)
}
