//! Labels and scores to a map to probabilities, and the threshold to decide at.

use crate::calibration::choose::{Choice, ScoreKind, choose};
use crate::calibration::expected_f1;
use crate::calibration::target::{Operating, Target, operating_point};
use crate::metrics::bootstrap::Clusters;
use crate::metrics::confusion::Confusion;

const DRAWS: u64 = 1000;

/// Share of the duplicates that a candidate floor keeps where nothing else is asked for.
pub const KEPT_BY_FLOOR: f64 = 0.99;

/// Fewer labelled pairs than this choose a threshold by little more than chance.
pub const FEW_PAIRS: usize = 200;

/// What scores are fitted to.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// Of every pair: whether it is a duplicate.
    pub labels: &'a [bool],
    /// Pairs that hang together by their questions.
    pub clusters: &'a Clusters,
    /// What the threshold must reach; without one it has the best expected F1.
    pub target: Option<Target>,
    /// Of folds and bootstrap.
    pub seed: u64,
}

/// A map to probabilities and a threshold.
#[derive(Debug, Clone)]
pub struct Fitted {
    pub choice: Choice,
    /// Of the probability; of the cosine itself for [`ScoreKind::Cosine`].
    pub threshold: f32,
    /// What the target came to.
    pub operating: Option<Operating>,
    /// Decisions at the threshold.
    pub confusion: Confusion,
}

impl Labelled<'_> {
    /// Fits one score a pair. An error says what the labels lack.
    pub fn fit(&self, scores: &[f64], kind: ScoreKind) -> Result<Fitted, String> {
        let Self { labels, clusters, target, seed } = *self;
        let duplicates = labels.iter().filter(|&&label| label).count();
        if duplicates == 0 || duplicates == labels.len() {
            return Err(format!(
                "{duplicates} of {} pairs are duplicates: a calibration needs both kinds",
                labels.len()
            ));
        }
        let choice = choose(labels, scores, clusters, kind, seed)
            .ok_or_else(|| format!("{} pairs are too few to fit probabilities to", labels.len()))?;
        let probabilities: Vec<f64> = scores.iter().map(|&score| choice.calibrator.probability(score)).collect();
        let (low, high) = probabilities.iter().fold((1.0f64, 0.0f64), |(low, high), &p| (low.min(p), high.max(p)));
        if high <= low {
            return Err(format!(
                "the scores do not tell duplicates from others: every pair would get probability {low:.3}"
            ));
        }
        let decided = match kind {
            ScoreKind::LogOdds => &probabilities,
            ScoreKind::Cosine => scores,
        };
        let operating =
            target.map(|target| operating_point(target, labels, decided, clusters, DRAWS, seed)).transpose()?;
        let best = expected_f1::threshold(decided, &probabilities).ok_or("no pairs")?;
        // a file keeps f32: the next lower one lets no pair of the labelled ones fall below its threshold
        let threshold = rounded_down(operating.map_or(best, |operating| operating.threshold));
        let confusion = Confusion::at(labels, decided, f64::from(threshold));
        Ok(Fitted { choice, threshold, operating, confusion })
    }
}

/// The highest candidate floor that keeps this share of the duplicates, of which these are the cosines, and that is not
/// above the threshold.
pub fn floor(mut duplicates: Vec<f64>, keep: f64, threshold: f32) -> f32 {
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
    fn scores_that_tell_the_opposite_are_no_calibration() {
        let labels: Vec<bool> = (0..100).map(|pair| pair % 2 == 0).collect();
        let clusters = Clusters::singletons(labels.len());
        let labelled = Labelled { labels: &labels, clusters: &clusters, target: None, seed: 1 };
        let score = |side: f64| {
            labels.iter().zip(0..).map(|(&l, n)| if l { side } else { -side } + f64::from(n) / 100.0).collect()
        };
        let (right, wrong): (Vec<f64>, Vec<f64>) = (score(2.0), score(-2.0));
        assert!(labelled.fit(&right, ScoreKind::LogOdds).is_ok());
        let error = labelled.fit(&wrong, ScoreKind::LogOdds).unwrap_err();
        assert!(error.contains("do not tell duplicates from others"), "{error}");
    }
}
