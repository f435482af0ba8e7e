//! Precision over recall, for pairs that have weights.

use crate::metrics::pair_figures::Sweep;
use crate::metrics::ranking::Ranking;

/// Precision and recall if the pairs from one score up are called duplicates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    pub threshold: f64,
    pub precision: f64,
    pub recall: f64,
}

impl CurvePoint {
    /// The harmonic mean of precision and recall; 0 if both are 0.
    pub fn f1(self) -> f64 {
        let sum = self.precision + self.recall;
        if sum > 0.0 { 2.0 * self.precision * self.recall / sum } else { 0.0 }
    }
}

/// A precision-recall curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// A point a distinct score, from the highest down; empty without a duplicate.
    pub points: Vec<CurvePoint>,
    /// As [`crate::metrics::pair_figures::PairFigures::average_precision`]; scikit-learn's with `sample_weight`.
    pub average_precision: Option<f64>,
}

impl Curve {
    /// The point with the highest F1; of equals the one with the highest threshold.
    pub fn best_f1(&self) -> Option<CurvePoint> {
        let by_f1 =
            |x: &CurvePoint, y: &CurvePoint| x.f1().total_cmp(&y.f1()).then(x.threshold.total_cmp(&y.threshold));
        self.points.iter().copied().max_by(by_f1)
    }

    /// The point at `threshold`: the last one that is not below it.
    pub fn at(&self, threshold: f64) -> Option<CurvePoint> {
        self.points.iter().copied().take_while(|point| point.threshold >= threshold).last()
    }
}

/// The curve if pair i counts `weights[i]` times, as in a sample that was drawn unevenly. `known` is the weight of all
/// duplicates, which includes those that have no score: they count as never found.
///
/// # Panics
///
/// When the slices differ in length.
pub fn weighted_curve(labels: &[bool], scores: &[f64], weights: &[f64], known: f64) -> Curve {
    assert_eq!(labels.len(), weights.len(), "labels and weights must be of the same pairs");
    let ranking = Ranking::new(labels, scores);
    let weight = |rank: usize| weights[ranking.order()[rank] as usize];
    let (_, negatives) = ranking.totals(weight);
    let mut sweep = Sweep::new(known, negatives);
    let mut points = Vec::new();
    ranking.each_score(weight, |threshold, next, hits, misses| {
        sweep.pass(threshold, next, hits, misses);
        points.push(CurvePoint {
            threshold,
            precision: sweep.hits / (sweep.hits + sweep.misses),
            recall: sweep.hits / known,
        });
    });
    let average_precision = (known > 0.0 && !points.is_empty()).then(|| sweep.precision_sum / known);
    if known <= 0.0 {
        points.clear();
    }
    Curve { points, average_precision }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ranking::{average_precision, best_f1};

    #[test]
    fn with_equal_weights_the_curve_has_the_figures_of_the_ranking() {
        let scores: Vec<f64> = (0..200_u32).map(|i| f64::from(i * 37 % 50) / 50.0).collect();
        let labels: Vec<bool> = (0..200_u32).map(|i| i * 13 % 7 < 3).collect();
        let duplicates = labels.iter().filter(|label| **label).count() as f64;
        let curve = weighted_curve(&labels, &scores, &[2.5; 200], 2.5 * duplicates);
        let expected = average_precision(&labels, &scores).unwrap();
        assert!((curve.average_precision.unwrap() - expected).abs() < 1e-12);
        assert!((curve.best_f1().unwrap().f1() - best_f1(&labels, &scores).unwrap().f1).abs() < 1e-12);
        // Σ (Rₖ − Rₖ₋₁) Pₖ over the points
        let before = std::iter::once(0.0).chain(curve.points.iter().map(|point| point.recall));
        let sum: f64 = curve.points.iter().zip(before).map(|(p, before)| (p.recall - before) * p.precision).sum();
        assert!((sum - expected).abs() < 1e-12);
    }

    #[test]
    fn weights_count_and_duplicates_without_a_score_are_missed() {
        let point = |threshold, precision, recall| CurvePoint { threshold, precision, recall };
        let curve = weighted_curve(&[true, false], &[0.9, 0.5], &[1.0, 3.0], 3.0);
        assert_eq!(curve.points, [point(0.9, 1.0, 1.0 / 3.0), point(0.5, 0.25, 1.0 / 3.0)]);
        assert_eq!((curve.at(0.95), curve.at(0.6)), (None, Some(curve.points[0])));
        let none = weighted_curve(&[false], &[0.5], &[1.0], 0.0);
        assert_eq!(none, Curve { points: Vec::new(), average_precision: None });
    }
}
