//! Rows of the input as they come, before they are one table.

use std::path::Path;

use anyhow::{Context, Result};

use crate::tables::format::missing_column;
use crate::tables::texts::Texts;

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

/// Rows of all files as they come, before all files are joined.
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
