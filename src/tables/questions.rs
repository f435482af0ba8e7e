//! The input: questions with their ids, and the rows that were left out with the reason.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::error::hint;
use crate::tables::format::{Format, missing_column};
use crate::tables::ids::Ids;
use crate::tables::{read_lines, read_parquet};

/// Part of the fingerprint of whatever is made from the input; raise it when reading changes.
pub const VERSION: u32 = 1;

/// Which columns hold what. A column left `None` is `text` or `id`; without a column `id` the row number serves.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    pub text: Option<String>,
    pub id: Option<String>,
}

impl Columns {
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("text")
    }

    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("id")
    }

    /// Positions of the text column and of the id column, if there is one, among the columns that a file has.
    pub(super) fn find(&self, file: &Path, present: &[String]) -> Result<(usize, Option<usize>)> {
        let position = |name: &str| present.iter().position(|column| column == name);
        let missing = |name: &str, flag: &str| missing_column(file, name, flag, present);
        let text = position(self.text()).ok_or_else(|| missing(self.text(), "--text-column"))?;
        let id = position(self.id());
        if id.is_none() && self.id.is_some() {
            return Err(missing(self.id(), "--id-column"));
        }
        Ok((text, id))
    }
}

/// Why a row has no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    Null,
    Blank,
}

impl SkipReason {
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null text",
            Self::Blank => "blank text",
        }
    }
}

/// Many strings in one allocation.
#[derive(Debug, Default)]
pub struct Texts {
    bytes: String,
    ends: Vec<usize>,
}

impl Texts {
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    pub fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// Everything read: `ids` has an entry for every input row, `texts[i]` is the question of input row `rows[i]`.
#[derive(Debug)]
pub struct Questions {
    pub ids: Ids,
    pub texts: Texts,
    pub rows: Vec<u32>,
    pub skipped: Vec<(u32, SkipReason)>,
}

impl Questions {
    /// The text of an input row, `None` for one without a question.
    pub fn text_of_row(&self, row: u32) -> Option<&str> {
        self.rows.binary_search(&row).ok().map(|at| self.texts.get(at))
    }
}

/// Rows of one file as they come, before all files are joined.
#[derive(Default)]
pub(super) struct Rows {
    pub texts: Texts,
    pub rows: Vec<u32>,
    pub skipped: Vec<(u32, SkipReason)>,
    pub seen: usize,
}

impl Rows {
    pub fn push(&mut self, text: Option<&str>) -> Result<()> {
        let row = u32::try_from(self.seen).context("more than 4,294,967,295 rows")?;
        self.seen += 1;
        match text {
            None => self.skipped.push((row, SkipReason::Null)),
            Some(text) if text.chars().all(char::is_whitespace) => self.skipped.push((row, SkipReason::Blank)),
            Some(text) => {
                self.texts.push(text);
                self.rows.push(row);
            }
        }
        Ok(())
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
    Ok(Questions { ids, texts: rows.texts, rows: rows.rows, skipped: rows.skipped })
}

/// What files of one input must agree on: whether there are ids, and of what type.
fn kind(ids: &Option<Ids>) -> String {
    match ids {
        Some(ids) => format!("ids of type {}", ids.0.data_type()),
        None => "no id column".into(),
    }
}
