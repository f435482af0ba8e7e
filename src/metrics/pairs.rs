//! Scored pairs compared with their labels.
//!
//! Inputs everywhere: `labels` (true = duplicate) and `scores`, one each a pair, a higher score meaning more likely a
//! duplicate. A pair is predicted positive when its score is at or above the threshold, so only the distinct scores
//! are thresholds worth trying, and pairs of equal score are decided together: no order of ties can change a figure.
//! Scores are finite; callers with f32 widen, which is exact.

/// The threshold with the highest F1, and what it gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestF1 {
    pub f1: f64,
    pub precision: f64,
    pub recall: f64,
    /// Inclusive; one of the scores.
    pub threshold: f64,
}

/// The threshold with the highest share of right decisions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestAccuracy {
    pub accuracy: f64,
    /// Inclusive; one of the scores, or infinite where calling no pair a duplicate is best.
    pub threshold: f64,
}

/// The highest F1 = 2 TP / (2 TP + FP + FN) over every threshold, ties to the higher one; `None` without a positive.
pub fn best_f1(labels: &[bool], scores: &[f64]) -> Option<BestF1> {
    let curve = Curve::new(labels, scores);
    if curve.positives == 0 {
        return None;
    }
    let mut best: Option<BestF1> = None;
    for point in &curve.points {
        let right = point.true_positives as f64;
        let predicted = (point.true_positives + point.false_positives) as f64;
        let positives = curve.positives as f64;
        let f1 = 2.0 * right / (predicted + positives);
        if best.is_none_or(|best| f1 > best.f1) {
            let (precision, recall) = (right / predicted, right / positives);
            best = Some(BestF1 { f1, precision, recall, threshold: point.threshold });
        }
    }
    best
}

/// The highest (TP + TN) / n over every threshold, ties to the higher one; `None` without pairs.
pub fn best_accuracy(labels: &[bool], scores: &[f64]) -> Option<BestAccuracy> {
    let curve = Curve::new(labels, scores);
    let pairs = labels.len() as f64;
    if labels.is_empty() {
        return None;
    }
    let none_positive = BestAccuracy { accuracy: curve.negatives as f64 / pairs, threshold: f64::INFINITY };
    Some(curve.points.iter().fold(none_positive, |best, point| {
        let right = point.true_positives + curve.negatives - point.false_positives;
        let accuracy = right as f64 / pairs;
        if accuracy > best.accuracy { BestAccuracy { accuracy, threshold: point.threshold } } else { best }
    }))
}

/// Average precision, Σ (Rₖ − Rₖ₋₁) Pₖ over the distinct scores from the highest: scikit-learn's
/// `average_precision_score`, without interpolation. `None` without a positive.
pub fn average_precision(labels: &[bool], scores: &[f64]) -> Option<f64> {
    let curve = Curve::new(labels, scores);
    let mut sum = 0.0;
    let mut before = 0;
    for point in &curve.points {
        let precision = point.true_positives as f64 / (point.true_positives + point.false_positives) as f64;
        sum += (point.true_positives - before) as f64 * precision;
        before = point.true_positives;
    }
    (curve.positives > 0).then(|| sum / curve.positives as f64)
}

/// Area under the ROC curve: the probability that a positive outscores a negative, a tie counting half. `None` unless
/// both classes occur.
pub fn roc_auc(labels: &[bool], scores: &[f64]) -> Option<f64> {
    let curve = Curve::new(labels, scores);
    let mut area = 0.0;
    let (mut positives_above, mut negatives_above) = (0, 0);
    for point in &curve.points {
        let negatives_here = (point.false_positives - negatives_above) as f64;
        area += negatives_here * (positives_above + point.true_positives) as f64 / 2.0;
        (positives_above, negatives_above) = (point.true_positives, point.false_positives);
    }
    let class_pairs = curve.positives as f64 * curve.negatives as f64;
    (class_pairs > 0.0).then(|| area / class_pairs)
}

/// What one threshold predicts.
struct Point {
    threshold: f64,
    true_positives: u64,
    false_positives: u64,
}

/// Every distinct threshold from the highest down, and the size of the two classes.
struct Curve {
    points: Vec<Point>,
    positives: u64,
    negatives: u64,
}

impl Curve {
    fn new(labels: &[bool], scores: &[f64]) -> Self {
        assert_eq!(labels.len(), scores.len(), "labels and scores must be of the same pairs");
        let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let (mut positives, mut negatives) = (0, 0);
        let mut points = Vec::new();
        for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
            let duplicates = tied.iter().filter(|pair| pair.1).count() as u64;
            positives += duplicates;
            negatives += tied.len() as u64 - duplicates;
            points.push(Point { threshold: tied[0].0, true_positives: positives, false_positives: negatives });
        }
        Self { points, positives, negatives }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reference/metrics.json");

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
                ("best_f1_threshold", best.threshold),
                ("best_f1_precision", best.precision),
                ("best_f1_recall", best.recall),
                ("average_precision", average_precision(&labels, &scores).unwrap()),
                ("roc_auc", roc_auc(&labels, &scores).unwrap()),
            ] {
                assert!((ours - figure(key)).abs() < 1e-9, "{name} {key}: {ours}, scikit-learn has {}", figure(key));
            }
        }
    }

    #[test]
    fn undefined_figures_are_none() {
        assert_eq!(best_f1(&[], &[]), None);
        assert_eq!(best_accuracy(&[], &[]), None);
        assert_eq!(average_precision(&[], &[]), None);
        assert_eq!(roc_auc(&[], &[]), None);
        assert_eq!(best_f1(&[false], &[0.5]), None);
        assert_eq!(average_precision(&[false], &[0.5]), None);
        assert_eq!(roc_auc(&[true, true], &[0.5, 0.6]), None);
    }

    #[test]
    fn calling_nothing_a_duplicate_can_be_the_most_accurate() {
        let best = best_accuracy(&[false, false, true], &[0.9, 0.8, 0.1]).unwrap();
        assert_eq!(best, BestAccuracy { accuracy: 2.0 / 3.0, threshold: f64::INFINITY });
    }

    #[test]
    fn ties_take_the_higher_threshold() {
        let (labels, scores) = ([true, false, true], [0.9, 0.5, 0.4]);
        assert_eq!(best_accuracy(&labels, &scores).unwrap().threshold, 0.9);
        // F1 is 2/3 at 0.9, 1/2 at 0.5 and 2/3 again at 0.2.
        let (labels, scores) = ([true, false, false, true], [0.9, 0.5, 0.2, 0.2]);
        assert_eq!(best_f1(&labels, &scores).unwrap().threshold, 0.9);
    }

    #[test]
    fn pairs_of_equal_score_are_decided_together() {
        let best = best_f1(&[true, false], &[0.5, 0.5]).unwrap();
        assert_eq!((best.precision, best.recall), (0.5, 1.0));
        assert_eq!(average_precision(&[true, false], &[0.5, 0.5]), Some(0.5));
        assert_eq!(roc_auc(&[true, false], &[0.5, 0.5]), Some(0.5));
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
            let best = best_accuracy(&labels, &scores).unwrap();
            prop_assert_eq!((best.accuracy, best.threshold), accuracy);
            if positives > 0.0 {
                let best = best_f1(&labels, &scores).unwrap();
                prop_assert_eq!((best.f1, best.threshold), f1);
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
            match roc_auc(&labels, &scores) {
                Some(area) => prop_assert!((area - won / all).abs() < 1e-9),
                None => prop_assert_eq!(all, 0.0),
            }
        }
    }
}
