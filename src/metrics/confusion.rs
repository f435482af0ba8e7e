//! Decisions at one threshold against labels.

/// Decisions at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub false_negatives: u64,
    pub true_negatives: u64,
}

impl Confusion {
    /// Counts decisions; a score at or above `threshold` is a predicted duplicate.
    pub fn at(labels: &[bool], scores: &[f64], threshold: f64) -> Self {
        let mut counts = Self::default();
        labels.iter().zip(scores).for_each(|(&label, &score)| counts.add(label, score >= threshold, 1));
        counts
    }

    /// Counts a decision `times` times.
    pub fn add(&mut self, label: bool, predicted: bool, times: u64) {
        *match (label, predicted) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (true, false) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        } += times;
    }

    /// TP / (TP + FP); 1 if nothing is predicted.
    pub fn precision(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// TP / (TP + FN); 1 if there is nothing to find.
    pub fn recall(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// 2 TP / (2 TP + FP + FN); 1 if there is nothing to find and nothing is predicted.
    pub fn f1(&self) -> f64 {
        share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }

    /// (TP + TN) / n.
    pub fn accuracy(&self) -> f64 {
        let right = self.true_positives + self.true_negatives;
        share(right, right + self.false_positives + self.false_negatives)
    }

    /// Matthews correlation coefficient, −1 to 1; 0 if a row or column of the matrix is empty, as in scikit-learn.
    pub fn mcc(&self) -> f64 {
        let [tp, fp, fn_, tn] =
            [self.true_positives, self.false_positives, self.false_negatives, self.true_negatives].map(|n| n as f64);
        let scale = ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
        if scale > 0.0 { (tp * tn - fp * fn_) / scale } else { 0.0 }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// The best F1, and where, over thresholds `0, step, 2 step …` up to 1, the lowest of equals: the sweep of the
/// reference notebooks. `None` without a positive.
pub fn grid_best_f1(labels: &[bool], scores: &[f64], step: f64) -> Option<(f64, f64)> {
    let steps = (1.0 / step + 1e-9).floor() as usize;
    let f1_at = |i: usize| (Confusion::at(labels, scores, i as f64 * step).f1(), i as f64 * step);
    let best = (0..=steps).map(f1_at).fold((0.0, 0.0), |best, here| if here.0 > best.0 { here } else { best });
    labels.contains(&true).then_some(best)
}
