//! Which pairs are duplicates. Runs, `mine show`, `mine explain` and evaluation all decide here.

use crate::calibration::by_cosine::ByCosine;
use crate::calibration::decision::Decision;

/// A pair below this share of the threshold contradicts every merge. Best pairwise F1 on the dev questions, cosines:
/// 0.774 with 0.25, 0.774 with 0.85, 0.770 with 0.9, 0.746 with 1; cosines as probabilities lose 0.01 with 0.5 already,
/// because they spread over the whole range.
const RULED_OUT_COSINE: f32 = 0.85;
const RULED_OUT_PROBABILITY: f32 = 0.25;

/// Logits of one pair (a, b); `None` for an order that was not scored.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scores {
    pub logit_ab: Option<f32>,
    pub logit_ba: Option<f32>,
}

impl Scores {
    /// Mean of the logits there are.
    pub fn logit(self) -> Option<f32> {
        match (self.logit_ab, self.logit_ba) {
            (Some(ab), Some(ba)) => Some((ab + ba) / 2.0),
            (one, other) => one.or(other),
        }
    }

    /// The scores of the pair (b, a).
    pub fn swapped(self) -> Self {
        Self { logit_ab: self.logit_ba, logit_ba: self.logit_ab }
    }
}

/// What is said of one pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// `None` if the cross-encoder was not asked and the cosine does not decide instead: below the rerank floor, and after the
    /// end of a budget. Without a cross-encoder, the cosine.
    pub probability: Option<f32>,
    /// `None` if the rerank budget ended before the pair.
    pub is_duplicate: Option<bool>,
}

/// How a run decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Lowest probability of a duplicate; without a cross-encoder, lowest cosine.
    pub threshold: f32,
    /// A second order is scored if the first is within this many logits of the threshold.
    pub swap_margin: f32,
    /// How logit and cosine become a probability; `None` without a cross-encoder.
    pub calibrated: Option<Decision>,
    /// The probability of a pair that the cross-encoder was not asked about, if a run asked about some alone.
    pub unasked: Option<ByCosine>,
}

impl Rule {
    /// Whether the cross-encoder is asked about a pair with this cosine.
    pub fn should_rerank(&self, cosine: f32) -> bool {
        self.calibrated.as_ref().is_some_and(|decision| decision.should_rerank(cosine))
    }

    /// Whether a pair with this cosine can be a duplicate.
    pub fn can_be_duplicate(&self, cosine: f32) -> bool {
        !self.calibrated.as_ref().is_some_and(|decision| decision.is_below_floor(cosine))
    }

    /// Whether the logit of one order leaves the decision open, so that the other order is scored too.
    pub fn is_open(&self, logit: f32, cosine: f32) -> bool {
        let margin = f64::from(self.swap_margin);
        let open = |decision: &Decision| decision.is_open(f64::from(logit), f64::from(cosine), margin);
        self.calibrated.as_ref().is_some_and(open)
    }

    /// Two questions whose pair has a lower probability are in no cluster together, with the default clustering.
    pub fn ruled_out(&self) -> f32 {
        self.threshold * if self.calibrated.is_some() { RULED_OUT_PROBABILITY } else { RULED_OUT_COSINE }
    }

    /// Probability and decision of a pair.
    pub fn decide(&self, cosine: f32, scores: Scores) -> Verdict {
        let Some(decision) = &self.calibrated else {
            let probability = cosine.clamp(0.0, 1.0);
            return Verdict { probability: Some(probability), is_duplicate: Some(probability >= self.threshold) };
        };
        let probability = |logit: f32| decision.probability(f64::from(logit), f64::from(cosine)) as f32;
        let is_below = decision.is_below_floor(cosine);
        let above = || decision.unasked_probability(cosine).map(|p| p as f32);
        let between = || self.unasked.as_ref().filter(|_| !is_below).map(|line| line.at(cosine));
        let probability = scores.logit().map(probability).or_else(above).or_else(between);
        let is_duplicate = match is_below {
            true => Some(false),
            false => probability.map(|p| p >= self.threshold),
        };
        Verdict { probability, is_duplicate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibrator;

    #[test]
    fn without_a_cross_encoder_the_cosine_decides() {
        let rule = Rule { threshold: 0.7, swap_margin: 2.0, calibrated: None, unasked: None };
        let verdict = |cosine| rule.decide(cosine, Scores::default());
        assert_eq!(verdict(0.7), Verdict { probability: Some(0.7), is_duplicate: Some(true) });
        assert_eq!(verdict(-0.2), Verdict { probability: Some(0.0), is_duplicate: Some(false) });
        assert!(!rule.should_rerank(0.9) && !rule.is_open(0.0, 0.9));
    }

    #[test]
    fn a_pair_below_the_rerank_floor_is_different_and_one_without_a_score_is_undecided() {
        let calibrator = Calibrator::Platt { slope: 1.0, intercept: 0.0 };
        let decision =
            Decision { cosine_weight: 0.0, calibrator, threshold: 0.5, rerank_floor: Some(0.6), rerank_ceiling: None };
        let rule = Rule { threshold: 0.5, swap_margin: 1.0, calibrated: Some(decision), unasked: None };
        let decided = |cosine, scores| rule.decide(cosine, scores).is_duplicate;
        assert_eq!(decided(0.5, Scores::default()), Some(false));
        assert_eq!(decided(0.7, Scores::default()), None);
        let both = Scores { logit_ab: Some(1.0), logit_ba: Some(-3.0) };
        assert_eq!(decided(0.7, both), Some(false));
        assert_eq!(decided(0.7, Scores { logit_ba: None, ..both }), Some(true));
        assert_eq!(rule.decide(0.7, both), rule.decide(0.7, both.swapped()));
        assert!(rule.is_open(0.9, 0.7) && !rule.is_open(1.1, 0.7));
    }
}
