//! Questions by id: their names and texts, and the row of an id that someone typed.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::error::hint;
use crate::run::reader::FinishedRun;
use crate::text::visible::visible;
use crate::view::block::CHARACTERS;

/// A question's id and its text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedQuestion {
    /// A number or a string, as in the input.
    pub id: Value,
    /// `None` if the input is gone or has changed.
    pub text: Option<String>,
}

impl NamedQuestion {
    pub fn new(run: &FinishedRun, row: u32) -> Self {
        Self { id: id(run, row), text: run.text(row).map(String::from) }
    }
}

/// The row of a typed id. The error for an unknown id names the most similar one.
pub fn row_of(run: &FinishedRun, typed: &str, what: &str) -> Result<u32> {
    let index = run.results.index();
    index.find(typed).ok_or_else(|| {
        let nearest =
            index.nearest(typed).map_or("the run has no ids".into(), |id| format!("the most similar id is {id}"));
        hint(format!("no {what} {typed:?} in this run"), nearest)
    })
}

/// A cluster's id as a person types it.
pub fn cluster_of(typed: &str) -> Option<i64> {
    typed.trim().parse().ok()
}

/// A question's id for JSON.
pub fn id(run: &FinishedRun, row: u32) -> Value {
    run.results.index().ids().json(row as usize)
}

/// A question's id for the terminal.
pub fn shown_id(run: &FinishedRun, row: u32) -> String {
    visible(&run.results.index().ids().display(row as usize), CHARACTERS)
}

/// A question's text for the terminal.
pub fn shown_text(run: &FinishedRun, row: u32) -> String {
    run.text(row).map_or("(text not available)".into(), |text| visible(text, CHARACTERS))
}
