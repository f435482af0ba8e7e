//! Scored pairs compared with their labels.
//!
//! Inputs everywhere: `labels` (true = duplicate) and `scores`, one each a pair, a higher score meaning more likely a
//! duplicate. A pair is predicted positive when its score is at or above the threshold. Pairs of equal score are
//! decided together, so no order of ties can change a figure. Scores are finite; callers with f32 widen, which is
//! exact.

use std::ops::AddAssign;

use rayon::slice::ParallelSliceMut;

use crate::metrics::confusion::Confusion;
use crate::metrics::pair_figures::{BestF1, PairFigures, Sweep};

/// Pairs from the highest score down: sorted once, summed up once for every draw of a bootstrap.
#[derive(Debug)]
pub struct Ranking {
    scores: Vec<f64>,
    labels: Vec<bool>,
    /// The pair, as numbered in the input, of every rank.
    order: Vec<u32>,
}

impl Ranking {
    /// # Panics
    ///
    /// When the slices differ in length or hold more than 2³² pairs.
    #[expect(clippy::expect_used, reason = "a caller with more pairs has broken the contract above")]
    pub fn new(labels: &[bool], scores: &[f64]) -> Self {
        assert_eq!(labels.len(), scores.len(), "labels and scores must be of the same pairs");
        let pairs = u32::try_from(labels.len()).expect("at most 4,294,967,295 pairs");
        let mut order: Vec<u32> = (0..pairs).collect();
        order.par_sort_unstable_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
        Self {
            scores: order.iter().map(|&pair| scores[pair as usize]).collect(),
            labels: order.iter().map(|&pair| labels[pair as usize]).collect(),
            order,
        }
    }

    /// The pair of every rank, as numbered in the input.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Figures over all pairs.
    pub fn figures(&self) -> PairFigures {
        self.sum_up(|_| 1, None)
    }

    /// Figures if `positives` duplicates are known and only some of them are among the pairs: the others count as
    /// never found. This is how ParaphraseMiningEvaluator of sentence-transformers scores mined pairs.
    pub fn figures_of_known(&self, positives: u64) -> PairFigures {
        self.sum_up(|_| 1, Some(positives))
    }

    /// Figures when the pair of rank `r` counts `weight(r)` times; `known` as in [`Ranking::figures_of_known`].
    pub fn weighted_figures(&self, weight: impl Fn(usize) -> u64, known: Option<u64>) -> PairFigures {
        self.sum_up(weight, known)
    }

    /// Decisions at `threshold` when the pair of rank `r` counts `weight(r)` times.
    pub fn weighted_confusion(&self, threshold: f64, weight: impl Fn(usize) -> u64) -> Confusion {
        let mut counts = Confusion::default();
        for (rank, (&label, &score)) in self.labels.iter().zip(&self.scores).enumerate() {
            counts.add(label, score >= threshold, weight(rank));
        }
        counts
    }

    fn sum_up(&self, weight: impl Fn(usize) -> u64, known: Option<u64>) -> PairFigures {
        let (found, negatives) = self.totals(&weight);
        let mut sweep = Sweep::new(known.unwrap_or(found) as f64, negatives as f64);
        self.each_score(weight, |score, next, hits, misses| sweep.pass(score, next, hits as f64, misses as f64));
        sweep.finish(found + negatives, self.scores.first().copied())
    }

    /// Weight of the duplicates and of the other pairs.
    pub(super) fn totals<W: Copy + Default + AddAssign>(&self, weight: impl Fn(usize) -> W) -> (W, W) {
        let (mut positives, mut negatives) = (W::default(), W::default());
        for (rank, &label) in self.labels.iter().enumerate() {
            *(if label { &mut positives } else { &mut negatives }) += weight(rank);
        }
        (positives, negatives)
    }

    /// Calls `pass` for every distinct score from the highest down, with the next lower score and the weights of the
    /// duplicates and of the other pairs that have it.
    pub(super) fn each_score<W: Copy + Default + AddAssign>(
        &self,
        weight: impl Fn(usize) -> W,
        mut pass: impl FnMut(f64, Option<f64>, W, W),
    ) {
        let mut rank = 0;
        while rank < self.scores.len() {
            let score = self.scores[rank];
            let (mut hits, mut misses) = (W::default(), W::default());
            while rank < self.scores.len() && self.scores[rank] == score {
                *(if self.labels[rank] { &mut hits } else { &mut misses }) += weight(rank);
                rank += 1;
            }
            pass(score, self.scores.get(rank).copied(), hits, misses);
        }
    }
}

/// The highest F1 over every threshold; `None` without a positive.
pub fn best_f1(labels: &[bool], scores: &[f64]) -> Option<BestF1> {
    Ranking::new(labels, scores).figures().best_f1
}

/// Average precision; `None` without a positive.
pub fn average_precision(labels: &[bool], scores: &[f64]) -> Option<f64> {
    Ranking::new(labels, scores).figures().average_precision
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::pair_figures::BestAccuracy;
    use proptest::prelude::*;
    use serde_json::Value;

    const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reference/metrics.json");

    fn figures(labels: &[bool], scores: &[f64]) -> PairFigures {
        Ranking::new(labels, scores).figures()
    }

    #[test]
    fn equals_the_saved_reference() {
        let reference: Value = serde_json::from_str(&std::fs::read_to_string(REFERENCE).unwrap()).unwrap();
        for name in ["pairs", "pairs_tied_f1"] {
            let case = &reference[name];
            let figure = |key: &str| case[key].as_f64().unwrap();
            let labels: Vec<bool> = case["labels"].as_array().unwrap().iter().map(|label| *label == 1).collect();
            let scores: Vec<f64> =
                case["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap()).collect();
            let best = best_f1(&labels, &scores).unwrap();
            for (key, ours) in [
                ("best_f1", best.f1),
                ("best_f1_precision", best.precision),
                ("best_f1_recall", best.recall),
                ("average_precision", average_precision(&labels, &scores).unwrap()),
                ("roc_auc", figures(&labels, &scores).roc_auc.unwrap()),
            ] {
                assert!((ours - figure(key)).abs() < 1e-9, "{name} {key}: {ours}, scikit-learn has {}", figure(key));
            }
        }
    }

    #[test]
    fn undefined_figures_are_none() {
        assert_eq!(best_f1(&[], &[]), None);
        assert_eq!(figures(&[], &[]).best_accuracy, None);
        assert_eq!(average_precision(&[], &[]), None);
        assert_eq!(figures(&[], &[]).roc_auc, None);
        assert_eq!(best_f1(&[false], &[0.5]), None);
        assert_eq!(average_precision(&[false], &[0.5]), None);
        assert_eq!(figures(&[true, true], &[0.5, 0.6]).roc_auc, None);
    }

    #[test]
    fn calling_nothing_a_duplicate_can_be_the_most_accurate() {
        let best = figures(&[false, false, true], &[0.9, 0.8, 0.1]).best_accuracy.unwrap();
        assert_eq!(best, BestAccuracy { accuracy: 2.0 / 3.0, threshold: 0.9_f64.next_up() });
    }

    #[test]
    fn ties_take_the_higher_threshold() {
        let (labels, scores) = ([true, false, true], [0.9, 0.5, 0.4]);
        assert_eq!(figures(&labels, &scores).best_accuracy.unwrap().threshold, 0.7);
        // F1 is 2/3 at 0.9, 1/2 at 0.5 and 2/3 again at 0.2.
        let (labels, scores) = ([true, false, false, true], [0.9, 0.5, 0.2, 0.2]);
        assert_eq!(best_f1(&labels, &scores).unwrap().threshold, 0.7);
    }

    #[test]
    fn pairs_of_equal_score_are_decided_together() {
        let best = best_f1(&[true, false], &[0.5, 0.5]).unwrap();
        assert_eq!((best.precision, best.recall), (0.5, 1.0));
        assert_eq!(average_precision(&[true, false], &[0.5, 0.5]), Some(0.5));
        assert_eq!(figures(&[true, false], &[0.5, 0.5]).roc_auc, Some(0.5));
    }

    /// Ten score levels, so that ties are common.
    fn pairs() -> impl Strategy<Value = Vec<(bool, u8)>> {
        prop::collection::vec((any::<bool>(), 0_u8..10), 1..40)
    }

    proptest! {
        #[test]
        fn equals_trying_every_threshold(pairs in pairs()) {
            let labels: Vec<bool> = pairs.iter().map(|pair| pair.0).collect();
            let scores: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.1) / 10.0).collect();
            let n = pairs.len() as f64;
            let count = |f: &dyn Fn(bool, f64) -> bool| {
                labels.iter().zip(&scores).filter(|&(&label, &score)| f(label, score)).count() as f64
            };
            let positives = count(&|label, _| label);
            let mut f1 = (f64::NEG_INFINITY, 0.0);
            let mut accuracy = ((n - positives) / n, f64::INFINITY);
            let mut precision_at_hits = 0.0;
            for level in (0..10).rev().map(|level| f64::from(level) / 10.0).filter(|level| scores.contains(level)) {
                let tp = count(&|label, score| label && score >= level);
                let fp = count(&|label, score| !label && score >= level);
                let hits = count(&|label, score| label && score == level);
                precision_at_hits += hits * tp / (tp + fp);
                let here = 2.0 * tp / (2.0 * tp + fp + (positives - tp));
                if here > f1.0 { f1 = (here, level); }
                let here = (tp + n - positives - fp) / n;
                if here > accuracy.0 { accuracy = (here, level); }
            }
            let best = figures(&labels, &scores).best_accuracy.unwrap();
            let decisions = |threshold: f64| Confusion::at(&labels, &scores, threshold);
            prop_assert_eq!((best.accuracy, decisions(best.threshold)), (accuracy.0, decisions(accuracy.1)));
            if positives > 0.0 {
                let best = best_f1(&labels, &scores).unwrap();
                prop_assert_eq!((best.f1, decisions(best.threshold)), (f1.0, decisions(f1.1)));
                prop_assert_eq!(best.mcc, decisions(best.threshold).mcc());
                let average = average_precision(&labels, &scores).unwrap();
                prop_assert!((average - precision_at_hits / positives).abs() < 1e-9);
            }
        }

        #[test]
        fn roc_auc_is_the_share_of_pairs_in_order(pairs in pairs()) {
            let labels: Vec<bool> = pairs.iter().map(|pair| pair.0).collect();
            let scores: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.1)).collect();
            let (mut won, mut all) = (0.0, 0.0);
            for (_, positive) in pairs.iter().filter(|pair| pair.0) {
                for (_, negative) in pairs.iter().filter(|pair| !pair.0) {
                    all += 1.0;
                    won += if positive > negative { 1.0 } else if positive == negative { 0.5 } else { 0.0 };
                }
            }
            match figures(&labels, &scores).roc_auc {
                Some(area) => prop_assert!((area - won / all).abs() < 1e-9),
                None => prop_assert_eq!(all, 0.0),
            }
        }
    }
}
