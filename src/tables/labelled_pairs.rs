//! Labelled pairs: two questions and whether they are duplicates, for training and evaluation.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::tables::columns::{self, BrokenLine, CellKind, Table, Wanted};

/// Which columns of a pairs file hold what.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct PairColumns {
    /// Column of the first question
    #[arg(long, value_name = "COLUMN", default_value = "question1")]
    pub question1_column: String,
    /// Column of the second question
    #[arg(long, value_name = "COLUMN", default_value = "question2")]
    pub question2_column: String,
    /// Column of the label: 1 or true for duplicates, 0 or false
    #[arg(long, value_name = "COLUMN", default_value = "is_duplicate")]
    pub label_column: String,
}

impl Default for PairColumns {
    fn default() -> Self {
        let name = String::from;
        Self {
            question1_column: name("question1"),
            question2_column: name("question2"),
            label_column: name("is_duplicate"),
        }
    }
}

/// A labelled pair as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledPair {
    pub question1: String,
    pub question2: String,
    pub is_duplicate: bool,
    /// Ids of the questions, if the file has columns `qid1` and `qid2`.
    pub ids: Option<(String, String)>,
    /// False for an added pair: it is not from the mix that users meet, and changes the share of duplicates. The column
    /// `natural` says so. Added pairs are for training, not for measuring.
    pub natural: bool,
}

/// A row that holds no labelled pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// `row 7` or `line 9`.
    pub place: String,
    pub reason: String,
}

/// Everything in a pairs file, in its order.
#[derive(Debug)]
pub struct LabelledPairs {
    pub file: PathBuf,
    pub pairs: Vec<LabelledPair>,
    pub bad: Vec<BadRow>,
}

impl LabelledPairs {
    /// A warning that says how many rows were left out, and names the first few; `None` if all rows were good.
    pub fn warning(&self) -> Option<String> {
        let first = self.bad.first()?;
        let places: Vec<String> =
            self.bad.iter().take(5).map(|bad| format!("{} ({})", bad.place, bad.reason)).collect();
        Some(match self.bad.len() {
            1 => format!("{}: 1 row left out: {} ({})", self.file.display(), first.place, first.reason),
            bad => format!("{}: {bad} rows left out, the first: {}", self.file.display(), places.join(", ")),
        })
    }
}

/// A label as a person writes it; `None` for an empty cell. The error says what the cell holds.
pub fn parse_label(cell: Option<&str>) -> Result<Option<bool>, String> {
    match cell.map(|cell| cell.trim().to_lowercase()).as_deref() {
        None | Some("") => Ok(None),
        Some("1" | "1.0" | "true") => Ok(Some(true)),
        Some("0" | "0.0" | "false") => Ok(Some(false)),
        Some(other) => Err(format!("{other:?}, expected 1, 0, true, false or nothing")),
    }
}

/// Reads a pairs file. Rows without two texts or a label are listed in `bad`. A file without a good row is an error.
pub fn read(file: &Path, names: &PairColumns) -> Result<LabelledPairs> {
    let required = |name, flag, kind| Wanted { name, kind, flag: Some(flag) };
    let optional = |name, kind| Wanted { name, kind, flag: None };
    let table = columns::read_rows(
        file,
        &[
            required(&names.question1_column, "--question1-column", CellKind::Text),
            required(&names.question2_column, "--question2-column", CellKind::Text),
            required(&names.label_column, "--label-column", CellKind::Text),
            optional("qid1", CellKind::Text),
            optional("qid2", CellKind::Text),
            optional("natural", CellKind::Number),
        ],
    )?;
    let no_row = |BrokenLine { line, reason }: &BrokenLine| {
        (*line, BadRow { place: format!("line {line}"), reason: reason.clone() })
    };
    let (mut pairs, mut bad) = (Vec::new(), table.broken.iter().map(no_row).collect::<Vec<_>>());
    for row in 0..table.rows() {
        match pair(&table, row, names) {
            Ok(pair) => pairs.push(pair),
            Err(reason) => bad.push((table.line(row), BadRow { place: table.place(row), reason })),
        }
    }
    bad.sort_by_key(|(line, _)| *line);
    let bad: Vec<BadRow> = bad.into_iter().map(|(_, bad)| bad).collect();
    if pairs.is_empty() {
        let why = bad.first().map_or("it has no rows".to_string(), |bad| format!("{}: {}", bad.place, bad.reason));
        bail!("{}: the file holds no labelled pair: {why}", file.display());
    }
    Ok(LabelledPairs { file: file.to_path_buf(), pairs, bad })
}

fn pair(table: &Table, row: usize, names: &PairColumns) -> Result<LabelledPair, String> {
    let text = |column: usize, name: &str| match table.text(column, row) {
        Some(text) if !text.chars().all(char::is_whitespace) => Ok(text.to_string()),
        Some(_) => Err(format!("{name:?} is blank")),
        None => Err(format!("{name:?} is null")),
    };
    let label = table.text(2, row);
    let Ok(Some(is_duplicate)) = parse_label(label) else {
        return Err(match label {
            Some(other) => format!("{:?} is {other}, expected 0 or 1", names.label_column),
            None => format!("{:?} is null, expected 0 or 1", names.label_column),
        });
    };
    Ok(LabelledPair {
        question1: text(0, &names.question1_column)?,
        question2: text(1, &names.question2_column)?,
        is_duplicate,
        ids: table.text(3, row).zip(table.text(4, row)).map(|(a, b)| (a.to_string(), b.to_string())),
        natural: table.number(5, row) != Some(0.0),
    })
}
