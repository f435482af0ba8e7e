//! Labels for a report out of any file that `mine evaluate --gold` takes, and samples of `mine sample`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::metrics::gold::Gold;
use crate::report::labels::{Labels, RowLabel};
use crate::run::reader::FinishedRun;
use crate::tables::columns::{self, CellKind, Table, Wanted};
use crate::tables::gold_file::{self, GoldFile, GoldPair, Named};
use crate::tables::labelled_pairs::PairColumns;
use crate::text::key::TextKey;
use crate::text::normalise::normalise;

/// Reads labels of the run's questions; the second value says what was left out.
pub fn read(path: &Path, columns: &PairColumns, run: &FinishedRun) -> Result<(Labels, Option<String>)> {
    let (file, note) = gold_file::read(path, columns)?;
    let questions = Questions::new(path, &file, run)?;
    let columns = WeightColumns::read(path)?;
    let (mut pairs, mut unknown) = (Vec::new(), 0);
    for pair in &file.pairs {
        let (weight, stratum) = columns.weight(path, pair)?;
        match (questions.row(&pair.a), questions.row(&pair.b)) {
            (Some(a), Some(b)) => pairs.push(RowLabel { a, b, is_duplicate: pair.is_duplicate, weight, stratum }),
            _ => unknown += 1,
        }
    }
    let mut labels = match file.lists_duplicates {
        true => {
            let known: Vec<(u32, u32, bool)> = pairs.iter().map(|pair| (pair.a, pair.b, true)).collect();
            let rows = run.results.index().ids().len();
            let gold = Gold::new(rows, &known, true).map_err(|why| anyhow!("{}: {why}", path.display()))?;
            Labels::of_groups(gold)
        }
        false => Labels::of_pairs(&pairs),
    };
    if labels.is_empty() {
        bail!(
            "{}: no label for this run: {} rows without a label, {unknown} with a question that the run does not have",
            path.display(),
            file.unlabelled
        );
    }
    (labels.unlabelled, labels.unknown) = (file.unlabelled, unknown);
    Ok((labels, note))
}

/// The run's questions by the names that the file has for them. A copy has the row of the first question with its text: only
/// that one is in the run's pairs.
struct Questions<'a> {
    named: Named,
    run: &'a FinishedRun,
    /// Empty without the texts of the run.
    first: HashMap<TextKey, u32>,
}

impl<'a> Questions<'a> {
    fn new(path: &Path, file: &GoldFile, run: &'a FinishedRun) -> Result<Self> {
        let first = match &run.questions {
            Ok(questions) => questions.first_rows(),
            Err(why) if file.named == Named::ByText => {
                bail!("{}: it names questions by their text, but {why}", path.display())
            }
            Err(_) => HashMap::new(),
        };
        Ok(Self { named: file.named, run, first })
    }

    fn row(&self, name: &str) -> Option<u32> {
        match self.named {
            Named::ByText => self.first.get(&key(name)).copied(),
            Named::ById => {
                let row = self.run.results.index().find(name)?;
                let first = self.run.text(row).and_then(|text| self.first.get(&key(text)));
                Some(first.copied().unwrap_or(row))
            }
        }
    }
}

fn key(text: &str) -> TextKey {
    TextKey::of(&normalise(text))
}

/// The columns that say how much a label counts.
struct WeightColumns(Table);

impl WeightColumns {
    fn read(path: &Path) -> Result<Self> {
        let number = |name| Wanted { name, kind: CellKind::Number, flag: None };
        let weight = Wanted { name: "weight", kind: CellKind::Text, flag: None };
        // of a text file, broken lines are left out here as in the labels
        columns::read_rows(path, &[weight, number("stratum"), number("stratum_pairs")]).map(Self)
    }

    /// The weight of a pair, or the stratum that decides it.
    fn weight(&self, path: &Path, pair: &GoldPair) -> Result<(f64, Option<(u32, u64)>)> {
        let (table, Some(row)) = (&self.0, pair.row) else { return Ok((1.0, None)) };
        let at = || format!("{}: {}", path.display(), table.place(row));
        if table.has(1) && table.has(2) {
            let count = |column: usize| {
                let value = table.number(column, row).filter(|value| *value >= 0.0 && value.fract() == 0.0);
                value.with_context(|| format!("{}: stratum or stratum_pairs is no number", at()))
            };
            return Ok((1.0, Some((count(1)? as u32, count(2)? as u64))));
        }
        match table.text(0, row) {
            None if table.has(0) => bail!("{}: weight is empty, expected a positive number", at()),
            None => Ok((1.0, None)),
            Some(written) => match written.trim().parse::<f64>() {
                Ok(weight) if weight > 0.0 && weight.is_finite() => Ok((weight, None)),
                _ => bail!("{}: weight is {written}, expected a positive number", at()),
            },
        }
    }
}
