//! The file of `mine perturb`: questions, their edits, labels and rules.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};

use crate::tables::write::{Column, write as write_table};

/// A question and an edit of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerturbedPair {
    pub question: String,
    pub edited: String,
    /// Whether the edit asks the same.
    pub is_duplicate: bool,
    /// Name of the rule.
    pub rule: &'static str,
}

/// Writes pairs in the layout that `mine evaluate` and `mine train` read.
pub fn write(path: &Path, pairs: &[PerturbedPair]) -> Result<()> {
    let texts =
        |of: fn(&PerturbedPair) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(pairs.iter().map(of))) };
    let labels = Int64Array::from_iter_values(pairs.iter().map(|pair| i64::from(pair.is_duplicate)));
    let natural: BooleanArray = pairs.iter().map(|_| Some(false)).collect();
    write_table(
        path,
        vec![
            Column::new("question1", texts(|pair| &pair.question), "", "the question"),
            Column::new("question2", texts(|pair| &pair.edited), "", "its edit"),
            Column::new("is_duplicate", Arc::new(labels), "", "1 if the edit asks the same, else 0"),
            Column::new("natural", Arc::new(natural), "", "false: a rule made these pairs"),
            Column::new("rule", texts(|pair| pair.rule), "", "name of the rule"),
        ],
    )
}
