//! Fits a calibrator and a threshold to labelled scores.

use crate::calibration::choose::{Choice, ScoreKind, choose};
use crate::calibration::expected_f1;
use crate::calibration::target::{OperatingPoint, Target, operating_point};
use crate::metrics::bootstrap::Clusters;
use crate::metrics::confusion::Confusion;

const DRAWS: u64 = 1000;

/// The minimum cosine keeps this share of the duplicates, unless another share is given.
pub const KEPT_BY_MIN_COSINE: f64 = 0.99;

/// With fewer labelled pairs than this, a threshold is little more than chance.
pub const FEW_PAIRS: usize = 200;

/// How the threshold is chosen.
#[derive(Debug, Clone, Copy, Default)]
pub enum Goal {
    #[default]
    BestExpectedF1,
    Reach(Target),
    /// It was chosen elsewhere.
    Given(f32),
}

/// What scores are fitted to: labels, and how to choose the threshold.
#[derive(Debug, Clone, Copy)]
pub struct FitInput<'a> {
    /// Whether each pair is a duplicate.
    pub labels: &'a [bool],
    /// Which pairs share questions.
    pub clusters: &'a Clusters,
    pub goal: Goal,
    /// Seed of the folds and the bootstrap.
    pub seed: u64,
}

/// A calibrator and a threshold.
#[derive(Debug, Clone)]
pub struct Fitted {
    pub choice: Choice,
    /// A probability; for [`ScoreKind::Cosine`] a cosine.
    pub threshold: f32,
    /// The operating point of the target, if there is a target.
    pub operating: Option<OperatingPoint>,
    /// Decisions at the threshold.
    pub confusion: Confusion,
}

impl FitInput<'_> {
    /// Fits to one score a pair. The error says what the labels lack.
    pub fn fit(&self, scores: &[f64], kind: ScoreKind) -> Result<Fitted, String> {
        let Self { labels, clusters, goal, seed } = *self;
        let duplicates = labels.iter().filter(|&&label| label).count();
        if duplicates == 0 || duplicates == labels.len() {
            return Err(format!(
                "{duplicates} of {} pairs are duplicates: a calibration needs duplicates and other pairs",
                labels.len()
            ));
        }
        let choice = choose(labels, scores, clusters, kind, seed)
            .ok_or_else(|| format!("{} pairs are too few to fit a calibration", labels.len()))?;
        let probabilities: Vec<f64> = scores.iter().map(|&score| choice.calibrator.probability(score)).collect();
        let (low, high) = probabilities.iter().fold((1.0f64, 0.0f64), |(low, high), &p| (low.min(p), high.max(p)));
        if high <= low {
            return Err(format!(
                "the scores do not separate duplicates from other pairs: every pair would get probability {low:.3}"
            ));
        }
        let decided = match kind {
            ScoreKind::LogOdds => &probabilities,
            ScoreKind::Cosine => scores,
        };
        let operating = match goal {
            Goal::Reach(target) => Some(operating_point(target, labels, decided, clusters, DRAWS, seed)?),
            Goal::BestExpectedF1 | Goal::Given(_) => None,
        };
        let threshold = match (goal, operating) {
            (Goal::Given(threshold), _) => threshold,
            // the file stores f32; rounded down, no labelled pair falls below the threshold
            (_, Some(operating)) => rounded_down(operating.threshold),
            (_, None) => rounded_down(expected_f1::threshold(decided, &probabilities).ok_or("no pairs")?),
        };
        let confusion = Confusion::at(labels, decided, f64::from(threshold));
        Ok(Fitted { choice, threshold, operating, confusion })
    }
}

/// The highest cosine floor that keeps this share of the duplicates, whose cosines are given, and that is not above the
/// threshold.
pub fn highest_floor(mut duplicates: Vec<f64>, keep: f64, threshold: f32) -> f32 {
    duplicates.sort_unstable_by(f64::total_cmp);
    let lost = ((1.0 - keep) * duplicates.len() as f64).floor() as usize;
    duplicates.get(lost).map_or(threshold, |&cosine| rounded_down(cosine).min(threshold))
}

/// The nearest f32 that is not above `value`.
pub fn rounded_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_rank_backwards_are_refused() {
        let labels: Vec<bool> = (0..100).map(|pair| pair % 2 == 0).collect();
        let clusters = Clusters::singletons(labels.len());
        let labelled = FitInput { labels: &labels, clusters: &clusters, goal: Goal::default(), seed: 1 };
        let score = |side: f64| {
            labels.iter().zip(0..).map(|(&l, n)| if l { side } else { -side } + f64::from(n) / 100.0).collect()
        };
        let (right, wrong): (Vec<f64>, Vec<f64>) = (score(2.0), score(-2.0));
        assert!(labelled.fit(&right, ScoreKind::LogOdds).is_ok());
        let given = FitInput { goal: Goal::Given(0.25), ..labelled };
        assert_eq!(given.fit(&right, ScoreKind::LogOdds).unwrap().threshold, 0.25);
        let error = labelled.fit(&wrong, ScoreKind::LogOdds).unwrap_err();
        assert!(error.contains("do not separate duplicates from other pairs"), "{error}");
    }
}
