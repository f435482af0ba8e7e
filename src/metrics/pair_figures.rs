//! The figures of scored pairs, summed up in one pass over the thresholds.
//!
//! A reported threshold lies halfway between the lowest score above and the highest below, as in sentence-transformers'
//! evaluators: on new pairs it is the better guess, on these it decides the same.

use crate::metrics::confusion::Confusion;

/// Every figure of one set of scored pairs. `None` if the labels leave a figure undefined.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairFigures {
    pub pairs: u64,
    pub positives: u64,
    /// The threshold with the highest F1.
    pub best_f1: Option<BestF1>,
    /// The threshold with the highest share of right decisions.
    pub best_accuracy: Option<BestAccuracy>,
    /// Σ (Rₖ − Rₖ₋₁) Pₖ over the distinct scores from the highest, scikit-learn's `average_precision_score`.
    pub average_precision: Option<f64>,
    /// Area under the ROC curve: the probability that a positive outscores a negative, a tie counting half.
    pub roc_auc: Option<f64>,
}

/// The highest F1 = 2 TP / (2 TP + FP + FN) over every threshold, ties to the higher one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestF1 {
    pub f1: f64,
    pub precision: f64,
    pub recall: f64,
    pub threshold: f64,
    /// Matthews correlation at the same threshold.
    pub mcc: f64,
}

/// The highest (TP + TN) / n over every threshold, ties to the higher one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestAccuracy {
    pub accuracy: f64,
    /// Just above the highest score if it is best to call no pair a duplicate.
    pub threshold: f64,
}

/// Sums over thresholds from the highest down. Counts are f64, which holds whole numbers up to 2⁵³ exactly.
pub(super) struct Sweep {
    positives: f64,
    negatives: f64,
    pub(super) hits: f64,
    pub(super) misses: f64,
    pub(super) precision_sum: f64,
    area: f64,
    best_f1: Option<(f64, f64, f64, f64)>,
    best_right: (f64, Option<f64>),
}

impl Sweep {
    /// `positives` and `negatives` are the weights of all duplicates and of all other pairs.
    pub(super) fn new(positives: f64, negatives: f64) -> Self {
        let best_right = (negatives, None);
        Self { positives, negatives, hits: 0.0, misses: 0.0, precision_sum: 0.0, area: 0.0, best_f1: None, best_right }
    }

    /// Lowers the threshold past pairs of one score: `hits` duplicates, `misses` others; `next` is the score below.
    pub(super) fn pass(&mut self, score: f64, next: Option<f64>, hits: f64, misses: f64) {
        if hits + misses == 0.0 {
            return;
        }
        self.area += misses * (self.hits + self.hits + hits) / 2.0;
        self.hits += hits;
        self.misses += misses;
        let predicted = self.hits + self.misses;
        self.precision_sum += hits * (self.hits / predicted);
        let f1 = 2.0 * self.hits / (predicted + self.positives);
        if self.best_f1.is_none_or(|(best, ..)| f1 > best) {
            self.best_f1 = Some((f1, self.hits, self.misses, between(score, next)));
        }
        let right = self.hits + (self.negatives - self.misses);
        if right > self.best_right.0 {
            self.best_right = (right, Some(between(score, next)));
        }
    }

    /// The figures of `pairs` pairs, whose weights are whole numbers.
    pub(super) fn finish(self, pairs: u64, highest: Option<f64>) -> PairFigures {
        let defined = self.positives > 0.0 && pairs > 0;
        let best_f1 = self.best_f1.filter(|_| defined).map(|(f1, hits, misses, threshold)| {
            let confusion = Confusion {
                true_positives: hits as u64,
                false_positives: misses as u64,
                false_negatives: (self.positives - hits) as u64,
                true_negatives: (self.negatives - misses) as u64,
            };
            BestF1 { f1, precision: confusion.precision(), recall: confusion.recall(), threshold, mcc: confusion.mcc() }
        });
        let best_accuracy = highest.filter(|_| pairs > 0).map(|highest| BestAccuracy {
            accuracy: self.best_right.0 / pairs as f64,
            threshold: self.best_right.1.unwrap_or(highest.next_up()),
        });
        let class_pairs = self.hits * self.negatives;
        PairFigures {
            pairs,
            positives: self.positives as u64,
            best_f1,
            best_accuracy,
            average_precision: defined.then(|| self.precision_sum / self.positives),
            roc_auc: (class_pairs > 0.0).then(|| self.area / class_pairs),
        }
    }
}

/// Halfway to the next lower score, unless rounding makes that the next score itself.
fn between(score: f64, next: Option<f64>) -> f64 {
    let middle = next.map_or(score, |next| (score + next) / 2.0);
    if next == Some(middle) { score } else { middle }
}
