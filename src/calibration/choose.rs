//! The method that does best on pairs it was not fitted on.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::calibration::calibrator::Calibrator;
use crate::calibration::{isotonic, platt, temperature};
use crate::metrics::bootstrap::Clusters;
use crate::metrics::calibration::{brier, expected_calibration_error};

const FOLDS: usize = 5;

/// A method with fewer parameters is chosen if its Brier score is within this share of the lowest. The steps of an
/// isotonic map give one probability to pairs whose scores differ: a map with a Brier score 1.1 % better lowered
/// average precision by 0.006.
const SIMPLER_IS_WORTH: f64 = 0.02;

/// What the scores are. It decides which methods apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreKind {
    /// Log-odds: their sigmoid is a probability.
    LogOdds,
    /// Cosines: they become probabilities only by calibration.
    Cosine,
}

/// How well a method did.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MethodScore {
    pub method: &'static str,
    /// On pairs that it was not fitted on, over all folds; lower is better.
    pub brier: f64,
    pub expected_calibration_error: f64,
}

/// The chosen calibrator, fitted on all pairs, and the methods it was chosen from: the chosen one, then the others,
/// best first. Their scores show how good each is on pairs it was not fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub calibrator: Calibrator,
    pub candidates: Vec<MethodScore>,
}

type Fit = fn(&[bool], &[f64]) -> Option<Calibrator>;

/// Fits every method that applies in five-fold cross-validation, takes the simplest of those with about the lowest
/// Brier score and fits it on all pairs. The pairs of a cluster are in one fold. `None` if no method fits these labels.
pub fn choose(labels: &[bool], scores: &[f64], clusters: &Clusters, kind: ScoreKind, seed: u64) -> Option<Choice> {
    let methods: &[(&'static str, Fit)] = match kind {
        ScoreKind::LogOdds => &[("temperature", temperature::fit), ("platt", platt::fit), ("isotonic", isotonic::fit)],
        ScoreKind::Cosine => &[("platt", platt::fit), ("isotonic", isotonic::fit)],
    };
    let folds = folds(clusters, seed);
    let mut tried: Vec<(MethodScore, Fit)> = methods
        .iter()
        .filter_map(|&(method, fit)| {
            let probabilities = out_of_fold(labels, scores, &folds, fit)?;
            let candidate = MethodScore {
                method,
                brier: brier(labels, &probabilities)?,
                expected_calibration_error: expected_calibration_error(labels, &probabilities)?,
            };
            Some((candidate, fit))
        })
        .collect();
    let lowest = tried.iter().map(|(candidate, _)| candidate.brier).min_by(f64::total_cmp)?;
    // the simplest methods are listed first
    let chosen = tried.iter().position(|(candidate, _)| candidate.brier <= lowest * (1.0 + SIMPLER_IS_WORTH))?;
    tried[..=chosen].rotate_right(1);
    tried[1..].sort_by(|a, b| a.0.brier.total_cmp(&b.0.brier));
    let calibrator = tried.first()?.1(labels, scores)?;
    Some(Choice { calibrator, candidates: tried.into_iter().map(|(candidate, _)| candidate).collect() })
}

/// The fold of every pair.
fn folds(clusters: &Clusters, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..clusters.count).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut fold_of = vec![0; clusters.count];
    for (at, cluster) in order.into_iter().enumerate() {
        fold_of[cluster] = at % FOLDS;
    }
    clusters.of_pair.iter().map(|&cluster| fold_of[cluster as usize]).collect()
}

/// The probability of every pair, from a fit on the other folds.
fn out_of_fold(labels: &[bool], scores: &[f64], folds: &[usize], fit: Fit) -> Option<Vec<f64>> {
    let mut probabilities = vec![0.0; labels.len()];
    for fold in 0..FOLDS {
        let others = (0..labels.len()).filter(|&pair| folds[pair] != fold);
        let (labels, others_scores): (Vec<bool>, Vec<f64>) = others.map(|pair| (labels[pair], scores[pair])).unzip();
        let calibrator = fit(&labels, &others_scores)?;
        for pair in (0..folds.len()).filter(|&pair| folds[pair] == fold) {
            probabilities[pair] = calibrator.probability(scores[pair]);
        }
    }
    Some(probabilities)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// Scores whose true probability is `truth(z)`.
    fn drawn(pairs: usize, seed: u64, truth: impl Fn(f64) -> f64) -> (Vec<bool>, Vec<f64>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..pairs)
            .map(|_| {
                let z = random.random_range(-6.0..6.0);
                (random.random_bool(truth(z)), z)
            })
            .unzip()
    }

    fn chosen(labels: &[bool], scores: &[f64]) -> Choice {
        choose(labels, scores, &Clusters::singletons(labels.len()), ScoreKind::LogOdds, 1).unwrap()
    }

    #[test]
    fn the_truth_is_found_whatever_it_is() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (labels, scores) = drawn(5000, 1, |z| sigmoid(z / 2.5));
        let choice = chosen(&labels, &scores);
        assert!((choice.calibrator.probability(1.0) - sigmoid(0.4)).abs() < 0.03, "{choice:?}");

        let (labels, scores) = drawn(5000, 2, |z| sigmoid(z - 2.0));
        let choice = chosen(&labels, &scores);
        assert_eq!(choice.calibrator.method(), "platt", "isotonic is as good, and steps");
        assert!((choice.calibrator.probability(2.0) - 0.5).abs() < 0.05, "{choice:?}");
        assert!(choice.candidates.iter().position(|c| c.method == "temperature") == Some(2), "{choice:?}");

        let (labels, scores) = drawn(5000, 3, |z| if z < -2.0 { 0.1 } else { 0.7 });
        assert_eq!(chosen(&labels, &scores).calibrator.method(), "isotonic");
    }

    #[test]
    fn one_class_alone_calibrates_nothing() {
        let all = Clusters::singletons(4);
        assert_eq!(
            choose(&[true; 4], &[0.9, 0.8, 0.7, 0.6], &all, ScoreKind::Cosine, 1).map(|c| c.calibrator.method()),
            Some("isotonic")
        );
    }
}
