//! The Parquet files of `mine split`: labelled pairs, with how they were drawn in the file's metadata.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};

use crate::labels::labelled_pairs::{BadRow, LabelledPair};
use crate::tables::write::{Column, write, write_with_metadata};

/// Writes one part in the layout that `mine train` and `mine evaluate` read. `metadata` goes into the file's footer.
pub fn write_pairs(path: &Path, pairs: &[LabelledPair], metadata: &[(String, String)]) -> Result<()> {
    let texts =
        |of: fn(&LabelledPair) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(pairs.iter().map(of))) };
    let labels = Int64Array::from_iter_values(pairs.iter().map(|pair| i64::from(pair.is_duplicate)));
    let natural: BooleanArray = pairs.iter().map(|pair| Some(pair.natural)).collect();
    let mut columns = vec![
        Column::new("question1", texts(|pair| &pair.question1), "", "first question"),
        Column::new("question2", texts(|pair| &pair.question2), "", "second question"),
        Column::new("is_duplicate", Arc::new(labels), "", "1 for duplicates, 0 for others"),
        Column::new("natural", Arc::new(natural), "", "false for pairs that were added to the mix people meet"),
    ];
    if pairs.iter().any(|pair| pair.ids.is_some()) {
        let ids = |of: fn(&(String, String)) -> &str| -> ArrayRef {
            Arc::new(pairs.iter().map(|pair| pair.ids.as_ref().map(of)).collect::<StringArray>())
        };
        columns.push(Column::new("qid1", ids(|ids| &ids.0), "", "id of the first question").nullable());
        columns.push(Column::new("qid2", ids(|ids| &ids.1), "", "id of the second question").nullable());
    }
    write_with_metadata(path, columns, metadata)
}

/// Writes the rows that held no labelled pair.
pub fn write_bad_rows(path: &Path, bad: &[BadRow]) -> Result<()> {
    let texts = |of: fn(&BadRow) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(bad.iter().map(of))) };
    let columns = vec![
        Column::new("place", texts(|row| &row.place), "", "row or line of the input"),
        Column::new("reason", texts(|row| &row.reason), "", "why it holds no labelled pair"),
    ];
    write(path, columns)
}
