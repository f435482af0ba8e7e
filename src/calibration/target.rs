//! The threshold for a requested precision or recall, or the reason why the labels do not support one.

use std::collections::HashSet;

use crate::metrics::bootstrap::{Clusters, Interval, interval, resample};
use crate::metrics::confusion::Confusion;

/// If its interval is wider than this, a figure is not known well enough.
const WIDEST: f64 = 0.1;

/// The requested precision or recall, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    Precision(f64),
    Recall(f64),
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Precision(_) => "precision",
            Self::Recall(_) => "recall",
        }
    }

    fn value(self) -> f64 {
        match self {
            Self::Precision(value) | Self::Recall(value) => value,
        }
    }

    fn of(self, confusion: &Confusion) -> Option<f64> {
        let predicted = confusion.true_positives + confusion.false_positives;
        match self {
            Self::Precision(_) => (predicted > 0).then(|| confusion.precision()),
            Self::Recall(_) => Some(confusion.recall()),
        }
    }
}

/// A threshold and its decisions on the labelled pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    pub threshold: f64,
    pub confusion: Confusion,
    /// 95 % interval of the requested figure at this threshold.
    pub interval: Interval,
}

/// The operating point for `target`. Of the thresholds that reach it, that is the lowest for a precision (most recall)
/// and the highest for a recall (most precision). The error says why the labels do not support one.
pub fn operating_point(
    target: Target,
    labels: &[bool],
    scores: &[f64],
    clusters: &Clusters,
    draws: u64,
    seed: u64,
) -> Result<OperatingPoint, String> {
    let reaches = |confusion: &Confusion| target.of(confusion).is_some_and(|value| value >= target.value());
    let mut thresholds: Vec<f64> = scores.to_vec();
    thresholds.sort_unstable_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let points = confusions(labels, scores, &thresholds);
    let mut reaching = points.iter().filter(|(_, confusion)| reaches(confusion));
    let chosen = match target {
        Target::Precision(_) => reaching.next_back(),
        Target::Recall(_) => reaching.next(),
    };
    let Some(&(threshold, confusion)) = chosen else {
        let best = points.iter().filter_map(|(_, confusion)| target.of(confusion)).fold(0.0, f64::max);
        return Err(format!(
            "no threshold reaches {} {}: the highest on these {} pairs is {best:.3}",
            target.name(),
            target.value(),
            labels.len()
        ));
    };
    let drawn = resample(clusters.count, draws, seed, |times| {
        let mut counts = Confusion::default();
        for ((&label, &score), &cluster) in labels.iter().zip(scores).zip(&clusters.of_pair) {
            counts.add(label, score >= threshold, u64::from(times[cluster as usize]));
        }
        target.of(&counts)
    });
    let predicted = confusion.true_positives + confusion.false_positives;
    let counts = |pair: usize| match target {
        Target::Precision(_) => scores[pair] >= threshold,
        Target::Recall(_) => labels[pair],
    };
    let independent: HashSet<u32> =
        (0..labels.len()).filter(|&pair| counts(pair)).map(|pair| clusters.of_pair[pair]).collect();
    let value = target.of(&confusion).unwrap_or(1.0);
    // if every pair that counts is right, so is every draw: then only the number of pairs limits the figure
    let few = wilson(value, independent.len() as f64);
    let drawn = interval(drawn).map(|i| Interval { low: i.low.min(few.low), high: i.high.max(few.high) });
    match drawn {
        Some(interval) if interval.high - interval.low <= WIDEST => {
            Ok(OperatingPoint { threshold, confusion, interval })
        }
        Some(Interval { low, high }) => Err(format!(
            "too few labelled pairs to measure {}: at threshold {threshold:.4}, which {predicted} pairs reach, the 95 % \
             interval is {low:.3} to {high:.3}, wider than {WIDEST}",
            target.name()
        )),
        None => Err(format!("too few labelled pairs to measure {}: {predicted} reach the threshold", target.name())),
    }
}

/// The 95 % score interval of a share `value` seen among `n` (Wilson 1927).
fn wilson(value: f64, n: f64) -> Interval {
    const Z: f64 = 1.959_963_984_540_054;
    let scale = 1.0 + Z * Z / n;
    let middle = (value + Z * Z / (2.0 * n)) / scale;
    let half = Z * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    Interval { low: middle - half, high: middle + half }
}

/// The confusion matrix at each of the distinct `thresholds`, highest first.
fn confusions(labels: &[bool], scores: &[f64], thresholds: &[f64]) -> Vec<(f64, Confusion)> {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let positives = labels.iter().filter(|&&label| label).count() as u64;
    let negatives = labels.len() as u64 - positives;
    let (mut rank, mut hits) = (0, 0);
    thresholds
        .iter()
        .map(|&threshold| {
            while rank < ranked.len() && ranked[rank].0 >= threshold {
                hits += u64::from(ranked[rank].1);
                rank += 1;
            }
            let misses = rank as u64 - hits;
            let confusion = Confusion {
                true_positives: hits,
                false_positives: misses,
                false_negatives: positives - hits,
                true_negatives: negatives - misses,
            };
            (threshold, confusion)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 pairs whose share of duplicates rises with the score.
    fn pairs() -> (Vec<bool>, Vec<f64>) {
        (0..1000_u32).map(|i| (i * 7919 % 1000 < i, f64::from(i) / 1000.0)).unzip()
    }

    #[test]
    fn targets_are_reached_as_cheaply_as_possible() {
        let (labels, scores) = pairs();
        let clusters = Clusters::singletons(labels.len());
        let at = |target| operating_point(target, &labels, &scores, &clusters, 500, 1).unwrap();
        let precise = at(Target::Precision(0.9));
        assert!(precise.confusion.precision() >= 0.9 && precise.interval.low < 0.9);
        assert_eq!(precise.confusion, Confusion::at(&labels, &scores, precise.threshold));
        let lower = scores.iter().copied().filter(|&score| score < precise.threshold);
        assert!(lower.into_iter().all(|t| Confusion::at(&labels, &scores, t).precision() < 0.9));
        let complete = at(Target::Recall(0.95));
        assert!(complete.confusion.recall() >= 0.95);
        assert!(Confusion::at(&labels, &scores, complete.threshold.next_up()).recall() < 0.95);
    }

    #[test]
    fn a_target_that_the_labels_do_not_support_is_refused() {
        let (labels, scores) = ([true, false, true, false], [0.9, 0.95, 0.4, 0.3]);
        let clusters = Clusters::singletons(4);
        let refused = |target| operating_point(target, &labels, &scores, &clusters, 200, 1).unwrap_err();
        assert!(refused(Target::Precision(0.95)).contains("the highest on these 4 pairs is 0.667"));
        assert!(refused(Target::Recall(0.5)).contains("too few labelled pairs"));

        // ten right out of ten do not prove 0.99, though every draw of them is perfect
        let (labels, scores): (Vec<bool>, Vec<f64>) = (0..40).map(|i| (i < 10, 1.0 - f64::from(i) / 40.0)).unzip();
        let clusters = Clusters::singletons(40);
        for target in [Target::Precision(0.99), Target::Recall(1.0)] {
            let why = operating_point(target, &labels, &scores, &clusters, 200, 1).unwrap_err();
            assert!(why.contains("0.722 to 1.000"), "{why}");
        }
    }
}
