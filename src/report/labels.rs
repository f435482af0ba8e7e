//! The run's pairs against labels that a person gave: precision-recall and calibration.
//!
//! A label may have a weight: `mine sample` draws only few of the many easy pairs and gives them a high weight. Every
//! figure uses the weights. A labelled pair that the run did not score counts as never called a duplicate.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::metrics::calibration::{ReliabilityBin, weighted_expected_calibration_error, weighted_reliability};
use crate::metrics::precision_recall::{Curve, weighted_curve};
use crate::tables::columns::{self, CellKind, Wanted};
use crate::tables::id_index::IdIndex;
use crate::tables::labelled_pairs::parse_label;

/// Labelled pairs by the rows of their ids.
pub struct Labels {
    positions: HashMap<(u32, u32), usize>,
    labelled: Vec<LabelledProbability>,
    /// Rows of the file without a label, and rows with an id that the run does not have.
    pub unlabelled: usize,
    pub unknown: usize,
}

/// A labelled pair and the probability that the run gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledProbability {
    pub is_duplicate: bool,
    pub weight: f64,
    /// `None` if the pair was not a candidate, or is undecided.
    pub probability: Option<f64>,
}

impl Labels {
    /// Reads `id_a, id_b, is_duplicate` and optionally `weight` from a file of any input format; `mine sample` writes
    /// such files.
    pub fn read(path: &Path, ids: &IdIndex) -> Result<Self> {
        let names = [
            ("id_a", CellKind::Text),
            ("id_b", CellKind::Text),
            ("is_duplicate", CellKind::Text),
            ("weight", CellKind::Text),
        ];
        let table = columns::read(path, &names.map(|(name, kind)| Wanted { name, kind, flag: None }))?;
        if let Some(at) = (0..3).find(|&at| !table.has(at)) {
            bail!(
                "{}: no column {:?}, expected id_a, id_b, is_duplicate and maybe weight",
                path.display(),
                names[at].0
            );
        }
        let mut labels = Self { positions: HashMap::new(), labelled: Vec::new(), unlabelled: 0, unknown: 0 };
        for row in 0..table.rows() {
            let at = || format!("{}: {}", path.display(), table.place(row));
            let label = parse_label(table.text(2, row)).map_err(|e| anyhow!("{}: is_duplicate is {e}", at()))?;
            let Some(is_duplicate) = label else {
                labels.unlabelled += 1;
                continue;
            };
            let weight = match table.text(3, row) {
                None if table.has(3) => bail!("{}: weight is empty, expected a positive number", at()),
                None => 1.0,
                Some(written) => match written.trim().parse::<f64>() {
                    Ok(weight) if weight > 0.0 && weight.is_finite() => weight,
                    _ => bail!("{}: weight is {written}, expected a positive number", at()),
                },
            };
            let row_of = |column| table.text(column, row).and_then(|id| ids.find(id));
            let (Some(a), Some(b)) = (row_of(0), row_of(1)) else {
                labels.unknown += 1;
                continue;
            };
            let labelled = LabelledProbability { is_duplicate, weight, probability: None };
            if labels.positions.insert((a.min(b), a.max(b)), labels.labelled.len()).is_some() {
                bail!("{}: {}: the pair is labelled twice", path.display(), table.place(row));
            }
            labels.labelled.push(labelled);
        }
        if labels.labelled.is_empty() {
            bail!(
                "{}: no label for this run: {} rows without a label, {} with an id that the run does not have",
                path.display(),
                labels.unlabelled,
                labels.unknown
            );
        }
        Ok(labels)
    }

    /// The labels, none of them scored yet.
    pub fn unscored(&self) -> Vec<LabelledProbability> {
        self.labelled.clone()
    }

    /// The position of a pair of rows among the labels, in either order: without the input, rows are numbered by
    /// appearance.
    pub fn position(&self, a: u32, b: u32) -> Option<usize> {
        self.positions.get(&(a.min(b), a.max(b))).copied()
    }
}

/// Labelled pairs of the run as the metrics take them: one entry a pair that has a probability.
pub struct ScoredLabels {
    labels: Vec<bool>,
    probabilities: Vec<f64>,
    weights: Vec<f64>,
    /// Weight of all duplicates, also of those without a probability.
    duplicates: f64,
}

impl ScoredLabels {
    pub fn new(labelled: &[LabelledProbability]) -> Self {
        let mut scored = Self { labels: Vec::new(), probabilities: Vec::new(), weights: Vec::new(), duplicates: 0.0 };
        for pair in labelled {
            scored.duplicates += if pair.is_duplicate { pair.weight } else { 0.0 };
            if let Some(probability) = pair.probability {
                scored.labels.push(pair.is_duplicate);
                scored.probabilities.push(probability);
                scored.weights.push(pair.weight);
            }
        }
        scored
    }

    /// Precision and recall at every probability. A duplicate without one counts as missed.
    pub fn curve(&self) -> Curve {
        weighted_curve(&self.labels, &self.probabilities, &self.weights, self.duplicates)
    }

    /// Equal bins of probability, without the empty ones.
    pub fn reliability(&self, bins: usize) -> Vec<ReliabilityBin> {
        weighted_reliability(&self.labels, &self.probabilities, &self.weights, bins)
    }

    pub fn expected_calibration_error(&self) -> Option<f64> {
        weighted_expected_calibration_error(&self.labels, &self.probabilities, &self.weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_without_a_probability_are_missed_duplicates() {
        let pair = |is_duplicate, weight, probability| LabelledProbability { is_duplicate, weight, probability };
        let pairs = [pair(true, 1.0, Some(0.9)), pair(false, 3.0, Some(0.5)), pair(true, 2.0, None)];
        let scored = ScoredLabels::new(&pairs);
        let points: Vec<_> = scored.curve().points.iter().map(|p| (p.threshold, p.precision, p.recall)).collect();
        assert_eq!(points, [(0.9, 1.0, 1.0 / 3.0), (0.5, 0.25, 1.0 / 3.0)]);
        assert_eq!(scored.reliability(10).len(), 2);
        let others = ScoredLabels::new(&[pair(false, 1.0, Some(0.5))]);
        assert!(others.curve().points.is_empty() && others.curve().average_precision.is_none());
        assert_eq!(ScoredLabels::new(&[pair(true, 1.0, None)]).expected_calibration_error(), None);
    }
}
