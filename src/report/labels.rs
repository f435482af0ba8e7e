//! The run's pairs against labels that a person gave: precision-recall and calibration.
//!
//! Labels may carry a weight (`mine sample` draws few pairs of the many easy ones and weighs them accordingly); every
//! figure is of the weights. A labelled pair that the run did not score counts as never called a duplicate.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::tables::columns::{self, CellKind, Wanted};
use crate::tables::id_index::IdIndex;
use crate::tables::labelled_pairs::parse_label;

/// Labelled pairs by input rows.
pub struct Labels {
    positions: HashMap<(u32, u32), usize>,
    labelled: Vec<Labelled>,
    /// Rows of the file without a label, and rows with an id that the run does not have.
    pub unlabelled: usize,
    pub unknown: usize,
}

/// A labelled pair and what the run says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled {
    pub is_duplicate: bool,
    pub weight: f64,
    /// `None` when the pair was no candidate, or was left undecided.
    pub probability: Option<f64>,
}

impl Labels {
    /// Reads `id_a, id_b, is_duplicate` and maybe `weight`, of any format that is read: `mine sample` writes such files.
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
            let labelled = Labelled { is_duplicate, weight, probability: None };
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
    pub fn unscored(&self) -> Vec<Labelled> {
        self.labelled.clone()
    }

    /// Where the pair of two rows stands among the labels, whichever comes first: without the input, rows are numbered by
    /// appearance.
    pub fn position(&self, a: u32, b: u32) -> Option<usize> {
        self.positions.get(&(a.min(b), a.max(b))).copied()
    }
}

/// One threshold of the precision-recall curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub threshold: f64,
    pub precision: f64,
    pub recall: f64,
}

impl Point {
    pub fn f1(self) -> f64 {
        let sum = self.precision + self.recall;
        if sum > 0.0 { 2.0 * self.precision * self.recall / sum } else { 0.0 }
    }
}

/// Precision and recall at every distinct probability, from the highest down; empty without a duplicate.
pub fn precision_recall(labelled: &[Labelled]) -> Vec<Point> {
    let all: f64 = labelled.iter().filter(|pair| pair.is_duplicate).map(|pair| pair.weight).sum();
    let mut ranked: Vec<(f64, &Labelled)> =
        labelled.iter().filter_map(|pair| Some((pair.probability?, pair))).collect();
    ranked.sort_by(|x, y| y.0.total_cmp(&x.0));
    let (mut right, mut called) = (0.0, 0.0);
    let mut points = Vec::new();
    for tied in ranked.chunk_by(|x, y| x.0 == y.0) {
        for (_, pair) in tied {
            called += pair.weight;
            right += if pair.is_duplicate { pair.weight } else { 0.0 };
        }
        points.push(Point { threshold: tied[0].0, precision: right / called, recall: right / all });
    }
    if all > 0.0 { points } else { Vec::new() }
}

/// Σ (Rₖ − Rₖ₋₁) Pₖ, as scikit-learn's `average_precision_score` with sample weights.
pub fn average_precision(curve: &[Point]) -> f64 {
    let before = std::iter::once(0.0).chain(curve.iter().map(|point| point.recall));
    curve.iter().zip(before).map(|(point, before)| (point.recall - before) * point.precision).sum()
}

/// One bin of the calibration curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationBin {
    /// Mean probability, and the share that are duplicates.
    pub predicted: f64,
    pub observed: f64,
    pub weight: f64,
}

/// Equal bins of probability, those that hold a pair.
pub fn calibration(labelled: &[Labelled], bins: usize) -> Vec<CalibrationBin> {
    let mut sums = vec![[0.0; 3]; bins];
    for pair in labelled {
        if let Some(probability) = pair.probability {
            let [weight, predicted, observed] = &mut sums[((probability * bins as f64) as usize).min(bins - 1)];
            *weight += pair.weight;
            *predicted += pair.weight * probability;
            *observed += if pair.is_duplicate { pair.weight } else { 0.0 };
        }
    }
    let filled = sums.into_iter().filter(|[weight, ..]| *weight > 0.0);
    filled.map(|[weight, p, o]| CalibrationBin { predicted: p / weight, observed: o / weight, weight }).collect()
}

/// Expected calibration error: Σ share of the bin × |predicted − observed| (Guo et al. 2017).
pub fn expected_calibration_error(bins: &[CalibrationBin]) -> f64 {
    let all: f64 = bins.iter().map(|bin| bin.weight).sum();
    bins.iter().map(|bin| bin.weight / all * (bin.predicted - bin.observed).abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::pairs;

    fn labelled(pairs: &[(bool, f64, Option<f64>)]) -> Vec<Labelled> {
        pairs
            .iter()
            .map(|&(is_duplicate, weight, probability)| Labelled { is_duplicate, weight, probability })
            .collect()
    }

    #[test]
    fn with_equal_weights_the_figures_are_those_of_the_metrics() {
        let scores: Vec<f64> = (0..200u32).map(|i| f64::from(i * 37 % 50) / 50.0).collect();
        let labels: Vec<bool> = (0..200u32).map(|i| i * 13 % 7 < 3).collect();
        let ours: Vec<_> = labels.iter().zip(&scores).map(|(&label, &score)| (label, 2.5, Some(score))).collect();
        let curve = precision_recall(&labelled(&ours));
        let expected = pairs::average_precision(&labels, &scores).unwrap();
        assert!((average_precision(&curve) - expected).abs() < 1e-12);
        let best = pairs::best_f1(&labels, &scores).unwrap();
        let found = curve.iter().copied().max_by(|x, y| x.f1().total_cmp(&y.f1())).unwrap();
        assert!((found.f1() - best.f1).abs() < 1e-12);
    }

    #[test]
    fn weights_count_and_unscored_pairs_are_missed() {
        let pairs = labelled(&[(true, 1.0, Some(0.9)), (false, 3.0, Some(0.5)), (true, 2.0, None)]);
        let point = |threshold, precision, recall| Point { threshold, precision, recall };
        assert_eq!(precision_recall(&pairs), [point(0.9, 1.0, 1.0 / 3.0), point(0.5, 0.25, 1.0 / 3.0)]);
        assert_eq!(precision_recall(&labelled(&[(false, 1.0, Some(0.5))])), []);
    }

    #[test]
    fn calibration_compares_what_was_said_with_what_was_so() {
        let pairs =
            labelled(&[(true, 1.0, Some(0.25)), (false, 3.0, Some(0.25)), (true, 4.0, Some(1.0)), (true, 1.0, None)]);
        let bin = |predicted, observed, weight| CalibrationBin { predicted, observed, weight };
        let bins = calibration(&pairs, 10);
        assert_eq!(bins, [bin(0.25, 0.25, 4.0), bin(1.0, 1.0, 4.0)]);
        assert_eq!(expected_calibration_error(&bins), 0.0);
        assert_eq!(expected_calibration_error(&[bin(0.5, 0.25, 1.0), bin(1.0, 1.0, 1.0)]), 0.125);
    }
}
