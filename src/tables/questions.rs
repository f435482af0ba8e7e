//! The input: questions with their ids, and the rows that were left out with the reason.
//!
//! Rows are numbered in the order of their ids, so that nothing later can depend on the order of the input. Without an id
//! column the ids are the row numbers of the input, and both orders are the same.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::error::hint;
use crate::tables::format::Format;
use crate::tables::ids::Ids;
use crate::tables::question_rows::{Columns, Rows, SkipReason};
use crate::tables::texts::Texts;
use crate::tables::{read_lines, read_parquet};

/// A row without a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    pub row: u32,
    /// Row of the input, from 0, files joined in order.
    pub input_row: u32,
    pub reason: SkipReason,
}

/// Everything read. Row `r` is the one with the `r`-th smallest id; `texts[i]` is the question of row `rows[i]`.
#[derive(Debug)]
pub struct Questions {
    /// One a row, ascending.
    pub ids: Ids,
    pub texts: Texts,
    /// Ascending.
    pub rows: Vec<u32>,
    /// In the order of their ids.
    pub skipped: Vec<Skipped>,
    /// Hash of ids, texts and skipped rows as they were read, whatever their order and the format of the files.
    pub content: String,
}

impl Questions {
    /// Puts rows as they came into the order of their ids.
    fn new(ids: Ids, rows: Rows) -> Result<Self> {
        let order = ids.ascending()?;
        let mut row_of = vec![0u32; order.len()];
        for (row, &input_row) in (0..).zip(&order) {
            row_of[input_row as usize] = row;
        }
        let mut at_row: Vec<Option<usize>> = vec![None; order.len()];
        for (at, &input_row) in rows.rows.iter().enumerate() {
            at_row[row_of[input_row as usize] as usize] = Some(at);
        }
        let mut texts = Texts::default();
        let mut of_questions = Vec::with_capacity(rows.rows.len());
        for (row, at) in (0..).zip(&at_row) {
            if let Some(at) = at {
                texts.push(rows.texts.get(*at));
                of_questions.push(row);
            }
        }
        let skip =
            |&(input_row, reason): &(u32, SkipReason)| Skipped { row: row_of[input_row as usize], input_row, reason };
        let mut skipped: Vec<Skipped> = rows.skipped.iter().map(skip).collect();
        skipped.sort_unstable_by_key(|skipped| skipped.row);
        let mut questions = Self { ids: ids.pick(&order)?, texts, rows: of_questions, skipped, content: String::new() };
        questions.content = questions.hash()?;
        Ok(questions)
    }

    /// The hash of what was read, so that what is hashed is what is mined.
    fn hash(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        let ids = self.ids.texts()?;
        add(&self.ids.type_name());
        for (at, &row) in self.rows.iter().enumerate() {
            add(ids.get(row as usize));
            add(self.texts.get(at));
        }
        for skipped in &self.skipped {
            add(ids.get(skipped.row as usize));
            add(skipped.reason.name());
        }
        Ok(hasher.finalize().to_hex()[..32].to_string())
    }

    /// The text of a row, `None` for one without a question.
    pub fn text_of_row(&self, row: u32) -> Option<&str> {
        self.rows.binary_search(&row).ok().map(|at| self.texts.get(at))
    }
}

/// Reads all files in order as one table, row group by row group. Refuses null and duplicate ids.
pub fn read(files: &[PathBuf], columns: &Columns) -> Result<Questions> {
    let mut rows = Rows::default();
    let mut ids = Vec::new();
    let mut starts = Vec::new();
    for file in files {
        starts.push(rows.seen);
        if std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len() == 0 {
            bail!("{}: the file is empty (0 bytes)", file.display());
        }
        let file_ids = match Format::of(file) {
            Some(Format::Csv) => read_lines::csv(file, b',', columns, &mut rows)?,
            Some(Format::Tsv) => read_lines::csv(file, b'\t', columns, &mut rows)?,
            Some(Format::JsonLines) => read_lines::json(file, columns, &mut rows)?,
            Some(Format::Parquet) | None => read_parquet::read(file, columns, &mut rows)?,
        };
        if files.len() == 1 || starts.last() != Some(&rows.seen) {
            ids.push((file, file_ids));
        }
    }
    let differ = |ids: &[(&PathBuf, Option<Ids>)]| ids.iter().position(|(_, other)| kind(other) != kind(&ids[0].1));
    // in text an id has no type of its own: what looks like integers in one file may be strings in the next
    if files.iter().all(|file| !matches!(Format::of(file), Some(Format::Parquet) | None)) && differ(&ids).is_some() {
        for (_, ids) in &mut ids {
            *ids = ids.take().map(Ids::into_text).transpose()?;
        }
    }
    if let Some(at) = differ(&ids) {
        let ((first_file, first), (file, other)) = (&ids[0], &ids[at]);
        bail!("{} has {}, but {} has {}", file.display(), kind(other), first_file.display(), kind(first));
    }
    let ids: Vec<_> = ids.into_iter().filter_map(|(_, ids)| ids).map(|ids| ids.0).collect();
    let ids = Ids::concat(&ids)?.unwrap_or_else(|| Ids::row_numbers(rows.seen));
    if let Some(found) = ids.find_duplicate()? {
        let place = |row: usize| {
            let file = starts.partition_point(|&start| start <= row) - 1;
            format!("row {} of {}", row - starts[file], files[file].display())
        };
        return Err(hint(
            format!("id {} occurs twice: {} and {}", found.value, place(found.first_row), place(found.second_row)),
            format!("ids in column {:?} must be unique; name another column with --id-column", columns.id()),
        ));
    }
    Questions::new(ids, rows)
}

/// What files of one input must agree on: whether there are ids, and of what type.
fn kind(ids: &Option<Ids>) -> String {
    match ids {
        Some(ids) => format!("ids of type {}", ids.0.data_type()),
        None => "no id column".into(),
    }
}
