//! The input: questions with their ids, and the rows that were left out with the reason.
//!
//! Rows are numbered in the order of their ids, so that nothing later can depend on the order of the input. Without an id
//! column the ids are the row numbers of the input, and both orders are the same.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::error::hint;
use crate::tables::format::{Format, is_like_id};
use crate::tables::id_index::IdIndex;
use crate::tables::ids::Ids;
use crate::tables::question_rows::{ReadOptions, Rows, SkipReason};
use crate::tables::ranking_values::RankingValues;
use crate::tables::source::{self, name};
use crate::tables::texts::Texts;
use crate::tables::{read_csv, read_json, read_parquet};
use crate::text::key::TextKey;
use crate::text::normalise::normalise;

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
    /// Question → whether it is known already and only there to be compared with; empty without a reference.
    pub is_reference: Vec<bool>,
    /// The values that decide which question represents a cluster, if a column does.
    pub ranking: Option<RankingValues>,
    /// Hash of ids, texts, skipped rows and ranking values as they were read, whatever their order and the format of the
    /// files.
    pub content: String,
}

impl Questions {
    /// Puts rows as they came into the order of their ids.
    pub(super) fn new(ids: Ids, rows: Rows) -> Result<Self> {
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
        let column = rows.ranking.as_ref().map(|ranking| ranking.column.clone());
        let mut ranking = column.map(|column| RankingValues { column, ..RankingValues::default() });
        for (row, at) in (0..).zip(&at_row) {
            if let Some(at) = at {
                texts.push(rows.texts.get(*at));
                of_questions.push(row);
                if let (Some(ranking), Some(read)) = (&mut ranking, &rows.ranking) {
                    ranking.texts.push(read.texts.get(*at));
                }
            }
        }
        let skip =
            |&(input_row, reason): &(u32, SkipReason)| Skipped { row: row_of[input_row as usize], input_row, reason };
        let mut skipped: Vec<Skipped> = rows.skipped.iter().map(skip).collect();
        skipped.sort_unstable_by_key(|skipped| skipped.row);
        let ids = ids.pick(&order)?;
        let (is_reference, content) = (Vec::new(), String::new());
        Self { ids, texts, rows: of_questions, skipped, is_reference, ranking, content }.hashed()
    }

    /// With the hash of what it holds.
    pub(super) fn hashed(self) -> Result<Self> {
        let content = self.hash()?;
        Ok(Self { content, ..self })
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
        if let Some(ranking) = &self.ranking {
            add("ranked by");
            add(&ranking.column);
        }
        for (at, &row) in self.rows.iter().enumerate() {
            add(ids.get(row as usize));
            add(self.texts.get(at));
            if self.is_reference.get(at) == Some(&true) {
                add("reference");
            }
            if let Some(ranking) = &self.ranking {
                add(ranking.texts.get(at));
            }
        }
        for skipped in &self.skipped {
            add(ids.get(skipped.row as usize));
            add(skipped.reason.name());
        }
        Ok(hasher.finalize().to_hex()[..32].to_string())
    }

    /// These questions without the rows that `is_left_out`, and those of a reference, without its skipped rows.
    pub fn with_reference(&self, reference: &Self, is_left_out: &[bool]) -> Result<Self> {
        let kept: Vec<u32> = (0..self.ids.len() as u32).filter(|&row| !is_left_out[row as usize]).collect();
        let mut rows = self.no_rows();
        let mut input_rows = Vec::new();
        for &row in &kept {
            match self.rows.binary_search(&row) {
                Ok(at) => rows.push(Some(self.texts.get(at)), None, self.ranking_value(at))?,
                Err(_) => {
                    let at = self.skipped.binary_search_by_key(&row, |skipped| skipped.row);
                    let skipped = self.skipped[at.ok().context("a row is neither a question nor skipped")?];
                    input_rows.push((rows.seen as u32, skipped.input_row));
                    rows.skip(skipped.reason);
                }
            }
        }
        for text in reference.texts.iter() {
            rows.push_text(text)?;
        }
        let ids = self.ids.pick(&kept)?.join(&reference.ids.pick(&reference.rows)?)?;
        let mut joined = Self::new(ids, rows)?;
        let input_row_of: HashMap<u32, u32> = input_rows.into_iter().collect();
        for skipped in &mut joined.skipped {
            skipped.input_row = input_row_of[&skipped.input_row];
        }
        let is_known = IdIndex::new(reference.ids.clone())?.find_all(&joined.ids)?;
        joined.is_reference = joined.rows.iter().map(|&row| is_known[row as usize].is_some()).collect();
        joined.hashed()
    }

    /// Without the questions of a reference.
    pub fn without_reference(self) -> Result<Self> {
        if self.is_reference.is_empty() {
            return Ok(self);
        }
        let is_known = |row: u32| self.rows.binary_search(&row).is_ok_and(|at| self.is_reference[at]);
        let left_out: Vec<bool> = (0..self.ids.len() as u32).map(is_known).collect();
        let none = Self::new(self.ids.pick(&[])?, Rows::default())?;
        let mut rest = self.with_reference(&none, &left_out)?;
        rest.is_reference.clear();
        rest.hashed()
    }

    /// The row that stands for each text in the pairs of a run: a question of the reference, or the one with the smallest id.
    pub fn first_rows(&self) -> HashMap<TextKey, u32> {
        let is_reference = |at: &usize| self.is_reference.get(*at) == Some(&true);
        let all = || 0..self.rows.len();
        let mut first = HashMap::new();
        for at in all().filter(is_reference).chain(all().filter(|at| !is_reference(at))) {
            first.entry(TextKey::of(&normalise(self.texts.get(at)))).or_insert(self.rows[at]);
        }
        first
    }

    /// The questions of these numbers, without skipped rows.
    pub fn part(&self, numbers: &[usize]) -> Result<Self> {
        let mut rows = self.no_rows();
        for &at in numbers {
            rows.push(Some(self.texts.get(at)), None, self.ranking_value(at))?;
        }
        let of = |&at: &usize| self.rows[at];
        Self::new(self.ids.pick(&numbers.iter().map(of).collect::<Vec<_>>())?, rows)
    }

    /// No rows, which will be ranked by the same column.
    fn no_rows(&self) -> Rows {
        Rows::ranked_by(self.ranking.as_ref().map(|ranking| ranking.column.as_str()))
    }

    /// The value of a question in the ranking column.
    pub(super) fn ranking_value(&self, at: usize) -> Option<&str> {
        self.ranking.as_ref()?.of(at)
    }

    /// The text of a row, `None` for one without a question.
    pub fn text_of_row(&self, row: u32) -> Option<&str> {
        self.rows.binary_search(&row).ok().map(|at| self.texts.get(at))
    }
}

/// Where the ids come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdsFrom {
    Column(String),
    /// The column that was looked for, and one that may have been meant.
    RowNumbers {
        sought: String,
        likely: Option<String>,
    },
}

impl fmt::Display for IdsFrom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Column(name) => write!(f, "column {name}"),
            Self::RowNumbers { sought, likely } => {
                write!(f, "row numbers, because there is no column {sought}; name one with --id-column")?;
                likely.iter().try_for_each(|name| write!(f, ", for instance --id-column {name}"))
            }
        }
    }
}

/// Reads all files in order as one table, row group by row group. Refuses null and duplicate ids.
pub fn read(files: &[PathBuf], options: &ReadOptions) -> Result<(Questions, IdsFrom)> {
    let FileRows { rows, ids, starts } = read_rows(files, options)?;
    let likely = || rows.columns.iter().find(|column| !column.is_empty() && is_like_id(column)).cloned();
    let from = match &ids {
        Some(_) => IdsFrom::Column(options.id().into()),
        None => IdsFrom::RowNumbers { sought: options.id().into(), likely: likely() },
    };
    let ids = ids.unwrap_or_else(|| Ids::row_numbers(rows.seen));
    if let Some(found) = ids.find_duplicate()? {
        let place = |row: usize| {
            let file = starts.partition_point(|&start| start <= row) - 1;
            format!("row {} of {}", row - starts[file], name(&files[file]))
        };
        return Err(hint(
            format!("id {} occurs twice: {} and {}", found.value, place(found.first_row), place(found.second_row)),
            format!("ids in column {:?} must be unique; name another column with --id-column", options.id()),
        ));
    }
    Ok((Questions::new(ids, rows)?, from))
}

/// Questions with row numbers as ids, for tests.
#[cfg(test)]
pub fn of_texts(texts: impl Iterator<Item = String>) -> Questions {
    let texts: Texts = texts.collect();
    let rows: Vec<u32> = (0..texts.len() as u32).collect();
    let (skipped, is_reference, content) = (Vec::new(), Vec::new(), String::new());
    Questions { ids: Ids::row_numbers(rows.len()), texts, rows, skipped, is_reference, ranking: None, content }
}

/// The rows of all files as they came.
pub(super) struct FileRows {
    pub rows: Rows,
    /// `None` without an id column.
    pub ids: Option<Ids>,
    /// The first row of each file.
    pub starts: Vec<usize>,
}

/// Reads all files in order.
pub(super) fn read_rows(files: &[PathBuf], options: &ReadOptions) -> Result<FileRows> {
    let mut rows = Rows::ranked_by(options.ranking.as_deref());
    let mut ids = Vec::new();
    let mut starts = Vec::new();
    let mut has_parquet = false;
    for file in files {
        starts.push(rows.seen);
        // a night without changes
        let is_json = || Format::of_input(file, options.format).is_ok_and(|format| format == Format::Json);
        if options.are_changes && is_json() && source::size(file)? == 0 {
            continue;
        }
        source::check(file)?;
        let format = Format::of_input(file, options.format)?;
        has_parquet |= format == Format::Parquet;
        let file_ids = match format {
            Format::Csv => read_csv::read(file, b',', options, &mut rows)?,
            Format::Tsv => read_csv::read(file, b'\t', options, &mut rows)?,
            Format::Json => read_json::read(file, options, &mut rows)?,
            Format::Parquet => read_parquet::read(file, options, &mut rows)?,
        };
        if files.len() == 1 || starts.last() != Some(&rows.seen) {
            ids.push((file, file_ids));
        }
    }
    let differ = |ids: &[(&PathBuf, Option<Ids>)]| ids.iter().position(|(_, other)| kind(other) != kind(&ids[0].1));
    // in text an id has no type of its own: what looks like integers in one file may be strings in the next
    if !has_parquet && differ(&ids).is_some() {
        for (_, ids) in &mut ids {
            *ids = ids.take().map(Ids::into_text).transpose()?;
        }
    }
    if let Some(at) = differ(&ids) {
        let ((first_file, first), (file, other)) = (&ids[0], &ids[at]);
        bail!("{} has {}, but {} has {}", name(file), kind(other), name(first_file), kind(first));
    }
    let ids: Vec<_> = ids.into_iter().filter_map(|(_, ids)| ids).map(|ids| ids.0).collect();
    Ok(FileRows { rows, ids: Ids::concat(&ids)?, starts })
}

/// What files of one input must agree on: whether there are ids, and of what type.
fn kind(ids: &Option<Ids>) -> String {
    match ids {
        Some(ids) => format!("ids of type {}", ids.0.data_type()),
        None => "no id column".into(),
    }
}
