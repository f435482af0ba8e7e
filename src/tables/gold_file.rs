//! Known duplicates of a corpus, by text or by id, in every form in which people store them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::error::hint;
use crate::tables::columns::{self, CellKind, Wanted};
use crate::tables::labelled_pairs::{self, PairColumns, parse_label};

/// Two questions, and whether they are duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldPair {
    pub a: String,
    pub b: String,
    pub is_duplicate: bool,
    /// Row of the file, from 0; `None` in a file of texts.
    pub row: Option<usize>,
}

/// What names the questions of a gold file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    ByText,
    ById,
}

/// What a gold file holds.
#[derive(Debug, PartialEq, Eq)]
pub struct GoldFile {
    pub named: Named,
    /// Groups of ids become the pairs that tie each member to the group's first.
    pub pairs: Vec<GoldPair>,
    /// Whether the file lists duplicates only: groups, or pairs of ids without a label.
    pub lists_duplicates: bool,
    /// Rows without a label.
    pub unlabelled: usize,
}

/// Reads a gold file. Its columns decide how: `id_a, id_b` and optionally a label (without a label all pairs are
/// duplicates); `id, group`; or else texts and labels, in the columns that `columns` names. The second value says what
/// was left out.
pub fn read(path: &Path, columns: &PairColumns) -> Result<(GoldFile, Option<String>)> {
    let optional = |name, kind| Wanted { name, kind, flag: None };
    let table = columns::read(
        path,
        &[
            optional("id_a", CellKind::Text),
            optional("id_b", CellKind::Text),
            optional(&columns.label_column, CellKind::Text),
            optional("id", CellKind::Text),
            optional("group", CellKind::Text),
            optional(&columns.question1_column, CellKind::Text),
        ],
    )?;
    let cell = |column: usize, row: usize| table.text(column, row).map(String::from);
    if table.has(0) && table.has(1) {
        let label = &columns.label_column;
        if !table.has(2) && *label != PairColumns::default().label_column {
            return Err(hint(
                format!("{}: no column {label:?}", path.display()),
                "name the label column with --label-column; leave the flag out if every pair is a duplicate",
            ));
        }
        let (mut gold, mut unlabelled) = (Vec::new(), 0);
        for row in 0..table.rows() {
            let at = || format!("{}: {}", path.display(), table.place(row));
            let written = if table.has(2) { table.text(2, row) } else { Some("1") };
            match (cell(0, row), cell(1, row), parse_label(written).map_err(|e| anyhow!("{}: {label} is {e}", at()))?) {
                (Some(a), Some(b), Some(is_duplicate)) => gold.push(GoldPair { a, b, is_duplicate, row: Some(row) }),
                (_, _, None) => unlabelled += 1,
                _ => bail!("{}: expected two ids", at()),
            }
        }
        let note = match (table.has(2), unlabelled) {
            (true, 0) => None,
            (true, rows) => Some(format!("{}: {rows} rows without a label left out", path.display())),
            (false, _) => Some(format!(
                "{}: no column {label:?}: all of its {} pairs count as duplicates",
                path.display(),
                gold.len()
            )),
        };
        let file = GoldFile { named: Named::ById, pairs: gold, lists_duplicates: !table.has(2), unlabelled };
        return Ok((file, note));
    }
    if table.has(3) && table.has(4) && !table.has(5) {
        let mut first_of = HashMap::new();
        let mut gold = Vec::new();
        for row in 0..table.rows() {
            let (Some(b), Some(group)) = (cell(3, row), cell(4, row)) else { continue };
            let a = first_of.entry(group).or_insert_with(|| b.clone()).clone();
            // the first of a group is paired with itself, so that a group of one is known too
            gold.push(GoldPair { a, b, is_duplicate: true, row: Some(row) });
        }
        let left_out = table.rows() - gold.len();
        let note = format!("{}: {left_out} rows without an id or a group left out", path.display());
        let file = GoldFile { named: Named::ById, pairs: gold, lists_duplicates: true, unlabelled: 0 };
        return Ok((file, (left_out > 0).then_some(note)));
    }
    let read = labelled_pairs::read(path, columns)?;
    let warning = read.warning();
    let pairs = read.pairs.into_iter().map(|pair| GoldPair {
        a: pair.question1,
        b: pair.question2,
        is_duplicate: pair.is_duplicate,
        row: None,
    });
    let unlabelled = read.bad.len();
    let file = GoldFile { named: Named::ByText, pairs: pairs.collect(), lists_duplicates: false, unlabelled };
    Ok((file, warning))
}
