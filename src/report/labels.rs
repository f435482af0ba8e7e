//! The run's pairs against labels that a person gave: precision-recall and calibration.
//!
//! A label may have a weight: `mine sample` draws only few of the many easy pairs. Then a label counts for the pairs of its
//! stratum divided by the labels there, as in `mine evaluate --sample`. Every figure uses the weights. A labelled pair that
//! has no probability counts as never called a duplicate.

use std::collections::{BTreeMap, HashMap};

use crate::metrics::calibration::{ReliabilityBin, weighted_expected_calibration_error, weighted_reliability};
use crate::metrics::gold::Gold;
use crate::metrics::precision_recall::{Curve, weighted_curve};
use crate::metrics::stratified::{SampleFigures, Stratum, estimate, weights};
use crate::run::schema::{PairKind, PairRow};

/// Draws of an interval.
const DRAWS: u64 = 1000;
const SEED: u64 = 42;

/// A label for two rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowLabel {
    pub a: u32,
    pub b: u32,
    pub is_duplicate: bool,
    pub weight: f64,
    /// The stratum of a sample that the pair was drawn from, and the pairs in it; they decide the weight.
    pub stratum: Option<(u32, u64)>,
}

/// Labelled pairs by the rows of their questions.
pub struct Labels {
    positions: HashMap<(u32, u32), usize>,
    labelled: Vec<LabelledProbability>,
    /// Known groups of duplicates, if the file lists no pairs that are none: then other pairs of its questions are none.
    groups: Option<Gold>,
    /// Rows of the file without a label, and rows with a question that the run does not have.
    pub unlabelled: usize,
    pub unknown: usize,
}

/// A labelled pair and the probability that the run gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledProbability {
    pub is_duplicate: bool,
    pub weight: f64,
    pub stratum: Option<(u32, u64)>,
    /// `None` if the pair was not a candidate, or is undecided.
    pub probability: Option<f64>,
}

impl Labels {
    /// Labels of pairs. Of several labels of a pair the first one counts, or a label that calls it a duplicate.
    pub fn of_pairs(pairs: &[RowLabel]) -> Self {
        let mut labelled: Vec<LabelledProbability> = Vec::new();
        let mut positions: HashMap<(u32, u32), usize> = HashMap::new();
        for &RowLabel { a, b, is_duplicate, weight, stratum } in pairs {
            if let Some(&at) = positions.get(&(a.min(b), a.max(b))) {
                labelled[at].is_duplicate |= is_duplicate;
                continue;
            }
            positions.insert((a.min(b), a.max(b)), labelled.len());
            // copies of one text: every run joins them
            let probability = (a == b).then_some(1.0);
            labelled.push(LabelledProbability { is_duplicate, weight, stratum, probability });
        }
        let strata: Option<Vec<(u32, u64)>> = labelled.iter().map(|pair| pair.stratum).collect();
        for (pair, weight) in labelled.iter_mut().zip(strata.map(|strata| weights(&strata)).unwrap_or_default()) {
            pair.weight = weight;
        }
        Self { positions, labelled, groups: None, unlabelled: 0, unknown: 0 }
    }

    /// Labels of a file that lists duplicates only: two of its questions in different groups are none.
    pub fn of_groups(groups: Gold) -> Self {
        let label = |&(a, b): &(u32, u32)| RowLabel { a, b, is_duplicate: true, weight: 1.0, stratum: None };
        let labels: Vec<RowLabel> = groups.duplicates.iter().map(label).collect();
        Self { groups: Some(groups), ..Self::of_pairs(&labels) }
    }

    pub fn is_empty(&self) -> bool {
        self.labelled.is_empty()
    }

    /// The labels, none of them scored yet.
    pub fn unscored(&self) -> Vec<LabelledProbability> {
        self.labelled.clone()
    }

    /// Notes the probability of a pair of the run, if it is labelled. Without the input, rows are numbered by appearance, so
    /// that either may be the lower one.
    pub fn note(&self, pair: &PairRow, labelled: &mut Vec<LabelledProbability>) {
        let probability = pair.probability.map(f64::from);
        if let Some(&at) = self.positions.get(&(pair.a.min(pair.b), pair.a.max(pair.b))) {
            labelled[at].probability = probability;
        } else if let Some(groups) = &self.groups
            && pair.kind == PairKind::Semantic
            && [pair.a, pair.b].iter().all(|row| groups.mentioned.binary_search(row).is_ok())
        {
            labelled.push(LabelledProbability { is_duplicate: false, weight: 1.0, stratum: None, probability });
        }
    }
}

/// Labelled pairs of the run as the metrics take them: one entry a pair that has a probability.
pub struct ScoredLabels<'a> {
    labelled: &'a [LabelledProbability],
    labels: Vec<bool>,
    probabilities: Vec<f64>,
    weights: Vec<f64>,
    /// Weight of all duplicates, also of those without a probability.
    duplicates: f64,
}

impl<'a> ScoredLabels<'a> {
    pub fn new(labelled: &'a [LabelledProbability]) -> Self {
        let (labels, probabilities, weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut scored = Self { labelled, labels, probabilities, weights, duplicates: 0.0 };
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

    /// Precision and recall at a threshold with their intervals, if the labels are those of a sample.
    pub fn figures_at(&self, threshold: f64) -> Option<SampleFigures> {
        let mut strata: BTreeMap<u32, Stratum> = BTreeMap::new();
        for pair in self.labelled {
            let (stratum, pairs) = pair.stratum?;
            let stratum = strata.entry(stratum).or_default();
            stratum.pairs = pairs;
            let is_called = pair.probability.is_some_and(|probability| probability >= threshold);
            (if is_called { &mut stratum.called } else { &mut stratum.not_called }).add(pair.is_duplicate);
        }
        Some(estimate(&strata.into_values().collect::<Vec<_>>(), DRAWS, SEED))
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
        let pair = |is_duplicate, weight, probability| LabelledProbability {
            is_duplicate,
            weight,
            stratum: None,
            probability,
        };
        let pairs = [pair(true, 1.0, Some(0.9)), pair(false, 3.0, Some(0.5)), pair(true, 2.0, None)];
        let scored = ScoredLabels::new(&pairs);
        let points: Vec<_> = scored.curve().points.iter().map(|p| (p.threshold, p.precision, p.recall)).collect();
        assert_eq!(points, [(0.9, 1.0, 1.0 / 3.0), (0.5, 0.25, 1.0 / 3.0)]);
        assert_eq!(scored.reliability(10).len(), 2);
        assert_eq!(scored.figures_at(0.5), None);
        let others = [pair(false, 1.0, Some(0.5))];
        let others = ScoredLabels::new(&others);
        assert!(others.curve().points.is_empty() && others.curve().average_precision.is_none());
        assert_eq!(ScoredLabels::new(&[pair(true, 1.0, None)]).expected_calibration_error(), None);
    }

    #[test]
    fn a_sample_has_the_weights_of_its_labels_and_groups_know_what_is_no_duplicate() {
        let label = |a, b, is_duplicate, stratum| RowLabel { a, b, is_duplicate, weight: 7.0, stratum };
        let (low, high) = (Some((1, 30)), Some((0, 8)));
        let labels = Labels::of_pairs(&[label(1, 2, true, high), label(4, 3, false, low), label(5, 6, true, low)]);
        assert_eq!(labels.unscored().iter().map(|pair| pair.weight).collect::<Vec<_>>(), [8.0, 15.0, 15.0]);
        let mut scored = labels.unscored();
        let pair = |a, b, p| PairRow { a, b, probability: Some(p), ..PairRow::default() };
        for pair in [pair(1, 2, 0.75), pair(3, 4, 0.5), pair(1, 3, 0.5)] {
            labels.note(&pair, &mut scored);
        }
        let scored = ScoredLabels::new(&scored);
        let figures = scored.figures_at(0.5).unwrap();
        let point = scored.curve().at(0.5).unwrap();
        assert_eq!((point.precision, point.recall), (8.0 / 23.0, 8.0 / 23.0));
        assert!((figures.precision.unwrap().value - point.precision).abs() < 1e-12);
        assert!((figures.recall.unwrap().value - point.recall).abs() < 1e-12);

        let gold = Gold::new(9, &[(1, 2, true), (2, 3, true), (4, 4, true)], true).unwrap();
        let labels = Labels::of_groups(gold);
        let mut scored = labels.unscored();
        for pair in [pair(1, 3, 0.5), pair(1, 4, 0.25), pair(1, 5, 0.5)] {
            labels.note(&pair, &mut scored);
        }
        let found: Vec<_> = scored.iter().map(|pair| (pair.is_duplicate, pair.probability)).collect();
        assert_eq!(found, [(true, None), (true, Some(0.5)), (true, None), (false, Some(0.25))]);
    }
}
