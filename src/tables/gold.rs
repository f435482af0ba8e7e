//! Known duplicates of a corpus, by text or by id, in any of the forms that people keep them in.

use std::path::Path;

use anyhow::{Result, bail};

use crate::tables::columns::{self, Kind, Wanted};
use crate::tables::pairs::{self, PairColumns};

/// Two questions, and whether they are duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldPair {
    pub a: String,
    pub b: String,
    pub is_duplicate: bool,
}

/// What a gold file holds.
#[derive(Debug, PartialEq, Eq)]
pub enum GoldFile {
    /// Pairs of texts.
    Texts(Vec<GoldPair>),
    /// Pairs of ids; groups of ids become the pairs that tie each member to the group's first.
    Ids(Vec<GoldPair>),
}

/// Reads a gold file, by the columns it has: `id_a, id_b` and maybe a label (without one, all are duplicates); `id,
/// group`; else texts and labels as `columns` names them. The second value says what was left out.
pub fn read(path: &Path, columns: &PairColumns) -> Result<(GoldFile, Option<String>)> {
    let optional = |name, kind| Wanted { name, kind, flag: None };
    let table = columns::read(
        path,
        &[
            optional("id_a", Kind::Text),
            optional("id_b", Kind::Text),
            optional(&columns.label_column, Kind::Number),
            optional("id", Kind::Text),
            optional("group", Kind::Text),
            optional(&columns.question1_column, Kind::Text),
        ],
    )?;
    let cell = |column: usize, row: usize| table.text(column, row).map(String::from);
    if table.has(0) && table.has(1) {
        let mut gold = Vec::new();
        for row in 0..table.rows() {
            let label = if table.has(2) { table.number(2, row) } else { Some(1.0) };
            match (cell(0, row), cell(1, row), label) {
                (Some(a), Some(b), Some(label @ (0.0 | 1.0))) => {
                    gold.push(GoldPair { a, b, is_duplicate: label == 1.0 })
                }
                (_, _, None) => {} // a row that nobody has labelled says nothing
                _ => bail!("{}: {}: expected two ids and a label of 0 or 1", path.display(), table.place(row)),
            }
        }
        return Ok((GoldFile::Ids(gold), None));
    }
    if table.has(3) && table.has(4) && !table.has(5) {
        let mut first_of = std::collections::HashMap::new();
        let mut gold = Vec::new();
        for row in 0..table.rows() {
            let (Some(b), Some(group)) = (cell(3, row), cell(4, row)) else { continue };
            let a = first_of.entry(group).or_insert_with(|| b.clone()).clone();
            // the first of a group is paired with itself, so that a group of one is known to be one
            gold.push(GoldPair { a, b, is_duplicate: true });
        }
        return Ok((GoldFile::Ids(gold), None));
    }
    let read = pairs::read(path, columns)?;
    let warning = read.warning();
    let gold = read.pairs.into_iter();
    let gold = gold.map(|pair| GoldPair { a: pair.question1, b: pair.question2, is_duplicate: pair.is_duplicate });
    Ok((GoldFile::Texts(gold.collect()), warning))
}
