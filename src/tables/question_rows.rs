//! Rows of the input as they come, before they are one table.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::error::hint;
use crate::tables::encoding::Encoding;
use crate::tables::format::{Format, missing_column};
use crate::tables::ranking_values::{RankingValues, written};
use crate::tables::source::name;
use crate::tables::text_column::TextColumns;
use crate::tables::texts::Texts;

/// How the input is read, and which columns hold what. A column left `None` is `text` or `id`; without a column `id` the
/// row number serves.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// One column, or several as `--text-column` writes them.
    pub text: Option<String>,
    pub id: Option<String>,
    /// `None` goes by the files' names.
    pub format: Option<Format>,
    /// Of text files.
    pub encoding: Encoding,
    /// Whether the rows are changes, which a column [`OP`] can tell apart.
    pub are_changes: bool,
    /// A column that ranks the questions: that of `--keep`.
    pub ranking: Option<String>,
}

/// Column of a change: `upsert` or `delete`.
pub const OP: &str = "op";

/// Positions of columns in a file.
pub(super) struct Positions {
    /// One for each name of `columns`.
    pub text: Vec<usize>,
    pub columns: TextColumns,
    pub id: Option<usize>,
    pub op: Option<usize>,
    pub ranking: Option<usize>,
}

impl ReadOptions {
    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("text")
    }

    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("id")
    }

    /// What the text is made of, in a file in which `exists` tells of each column whether it is there.
    pub(super) fn text_columns(&self, exists: impl Fn(&str) -> bool) -> Result<TextColumns> {
        TextColumns::parse(self.text(), exists)
    }

    /// Where the columns are among those that a file has.
    pub(super) fn find(&self, file: &Path, present: &[String]) -> Result<Positions> {
        let position = |name: &str| present.iter().position(|column| column == name);
        let columns = self.text_columns(|name| position(name).is_some())?;
        let id = position(self.id());
        let taken = id.map(|_| self.id());
        let place = |name: &String| {
            position(name).ok_or_else(|| missing_column(file, (name, self.text()), "--text-column", present, taken))
        };
        let text = columns.names.iter().map(place).collect::<Result<Vec<usize>>>()?;
        if id.is_none() && self.id.is_some() {
            let taken = columns.names.first().map(String::as_str);
            return Err(missing_column(file, (self.id(), self.id()), "--id-column", present, taken));
        }
        let ranking = match &self.ranking {
            Some(column) => Some(position(column).ok_or_else(|| self.missing_ranking(file, column, present))?),
            None => None,
        };
        Ok(Positions { text, columns, id, op: position(OP).filter(|_| self.are_changes), ranking })
    }

    /// The error for a file without the column that ranks the questions.
    pub(super) fn missing_ranking(&self, file: &Path, column: &str, present: &[String]) -> anyhow::Error {
        let advice = if self.are_changes {
            "changes need the column that --keep names: it decides which question represents a cluster".to_string()
        } else {
            let choices = ["most-central", "longest", "first"].into_iter();
            let near = choices
                .chain(present.iter().map(String::as_str))
                .map(|name| (strsim::damerau_levenshtein(&name.to_lowercase(), &column.to_lowercase()), name))
                .min_by_key(|(distance, _)| *distance)
                .filter(|(distance, _)| *distance <= 2);
            let meant = near.map_or(String::new(), |(_, name)| format!("did you mean --keep {name}? "));
            format!(
                "{meant}--keep takes first, longest, most-central or a column of the input, whose highest value wins"
            )
        };
        hint(format!("{}: no column {column:?}; the columns are: {}", name(file), present.join(", ")), advice)
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

    /// The inverse of [`SkipReason::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Null, Self::Blank].into_iter().find(|reason| reason.name() == name)
    }
}

/// Rows of all files as they come, before all files are joined.
#[derive(Default)]
pub(super) struct Rows {
    pub texts: Texts,
    pub rows: Vec<u32>,
    pub skipped: Vec<(u32, SkipReason)>,
    /// The column that ranks the questions, and its value of each.
    pub ranking: Option<RankingValues>,
    /// Columns of the first file.
    pub columns: Vec<String>,
    /// Changes that delete their id.
    pub deleted: Vec<u32>,
    pub seen: usize,
}

impl Rows {
    /// No rows yet; `ranking` is the column that will rank the questions.
    pub fn ranked_by(ranking: Option<&str>) -> Self {
        let ranking = ranking.map(|column| RankingValues { column: column.into(), ..RankingValues::default() });
        Self { ranking, ..Self::default() }
    }

    /// A question without a value in the ranking column.
    pub fn push_text(&mut self, text: &str) -> Result<()> {
        self.push(Some(text), None, None)
    }

    /// A row as it came; `op` says what a change does, if it says so, and `value` is that of the ranking column.
    pub fn push(&mut self, text: Option<&str>, op: Option<&str>, value: Option<&str>) -> Result<()> {
        let row = u32::try_from(self.seen).context("more than 4,294,967,295 rows")?;
        self.seen += 1;
        match op.map(str::trim) {
            None | Some("" | "upsert") => {}
            Some("delete") => {
                self.deleted.push(row);
                return Ok(());
            }
            Some(other) => bail!("column {OP:?} holds {other:?}, expected \"upsert\" or \"delete\""),
        }
        match text {
            None => self.skipped.push((row, SkipReason::Null)),
            Some(text) if text.chars().all(char::is_whitespace) => self.skipped.push((row, SkipReason::Blank)),
            Some(text) => {
                self.texts.push(text);
                self.rows.push(row);
                if let Some(ranking) = &mut self.ranking {
                    ranking.texts.push(&written(value));
                }
            }
        }
        Ok(())
    }

    /// Remembers which columns the first file has.
    pub fn note_columns(&mut self, present: &[String]) {
        if self.columns.is_empty() {
            self.columns = present.to_vec();
        }
    }

    /// A row that holds no question for a known reason.
    pub fn skip(&mut self, reason: SkipReason) {
        self.skipped.push((self.seen as u32, reason));
        self.seen += 1;
    }
}
