//! From a pair's scores to a decision. The scores are the cross-encoder's log-odds and, if both models were calibrated
//! together, the bi-encoder's cosine. The two models are wrong about different pairs, so the weighted sum of both
//! scores ranks better than either score.

use serde::{Deserialize, Serialize};

use crate::calibration::calibrator::Calibrator;
use crate::calibration::fitted::highest_floor;
use crate::calibration::platt;

/// The rerank floor keeps this share of the labelled pairs that are called duplicates.
const KEPT_BY_RERANK_FLOOR: f64 = 0.999;

/// Fewer labelled pairs that are called duplicates than this do not show where that share ends.
pub const ENOUGH_CALLED: usize = 1000;

/// Of the labelled pairs above the rerank ceiling, this share is called duplicates.
const CALLED_ABOVE_CEILING: f64 = 0.998;

/// Fewer labelled pairs than this above a cosine do not show that share.
const ENOUGH_ABOVE: usize = 200;

/// Weights of the cosine that are tried.
const SHARES: usize = 50;

/// How scores decide: `z = log-odds + cosine_weight · cosine`, `p = calibrator(z)`; a pair is a duplicate if p reaches
/// the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The log-odds that a cosine of 1 adds; 0 if the cross-encoder decides alone.
    pub cosine_weight: f64,
    pub calibrator: Calibrator,
    /// Lowest probability of a duplicate.
    pub threshold: f32,
    /// Below this cosine, labelled pairs were almost never duplicates: skip reranking and classify as not duplicate.
    /// `None` reranks every candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank_floor: Option<f32>,
    /// `None` reranks up to the highest cosine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank_ceiling: Option<Ceiling>,
}

/// Above this cosine, labelled pairs were almost always called duplicates: skip reranking, and let the cosine decide.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    pub cosine: f32,
    /// The mean log-odds of those pairs, which stand for the log-odds of a pair that is not reranked.
    pub log_odds: f64,
}

impl Decision {
    /// `z` of a pair.
    pub fn score(&self, log_odds: f64, cosine: f64) -> f64 {
        sum(log_odds, self.cosine_weight, cosine)
    }

    /// The probability that the pair is a duplicate.
    pub fn probability(&self, log_odds: f64, cosine: f64) -> f64 {
        self.calibrator.probability(self.score(log_odds, cosine))
    }

    /// Whether the log-odds of one order are within `margin` of the threshold: then the other order may change the
    /// decision.
    pub fn is_open(&self, log_odds: f64, cosine: f64, margin: f64) -> bool {
        (self.score(log_odds, cosine) - self.calibrator.score(f64::from(self.threshold))).abs() <= margin
    }

    /// Whether the cross-encoder scores a pair with this cosine.
    pub fn should_rerank(&self, cosine: f32) -> bool {
        !self.is_below_floor(cosine) && self.ceiling_below(cosine).is_none()
    }

    /// Whether a pair with this cosine is no duplicate, unasked.
    pub fn is_below_floor(&self, cosine: f32) -> bool {
        self.rerank_floor.is_some_and(|floor| cosine < floor)
    }

    /// The ceiling, if a pair with this cosine is above it.
    fn ceiling_below(&self, cosine: f32) -> Option<Ceiling> {
        self.rerank_ceiling.filter(|ceiling| cosine > ceiling.cosine)
    }

    /// The probability of a pair above the rerank ceiling, by its cosine alone.
    pub fn unasked_probability(&self, cosine: f32) -> Option<f64> {
        self.ceiling_below(cosine).map(|ceiling| self.probability(ceiling.log_odds, f64::from(cosine)))
    }

    /// The rerank floor for these labelled pairs: the cosine that keeps nearly all pairs that are called duplicates.
    /// `None` if too few are.
    pub fn fit_rerank_floor(&self, log_odds: &[f64], cosines: &[f64]) -> Option<f32> {
        let pairs = log_odds.iter().zip(cosines);
        let called = pairs.filter(|&(&z, &cosine)| self.probability(z, cosine) >= f64::from(self.threshold));
        let called: Vec<f64> = called.map(|(_, &cosine)| cosine).collect();
        (called.len() >= ENOUGH_CALLED).then(|| highest_floor(called, KEPT_BY_RERANK_FLOOR, 1.0))
    }

    /// The rerank ceiling for these labelled pairs: the lowest cosine above which nearly all are called duplicates. `None` if
    /// there are too few.
    pub fn fit_rerank_ceiling(&self, log_odds: &[f64], cosines: &[f64]) -> Option<Ceiling> {
        let mut pairs: Vec<(f32, f64)> =
            cosines.iter().map(|&cosine| cosine as f32).zip(log_odds.iter().copied()).collect();
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut called, mut above) = (0, 0);
        for (at, &(cosine, z)) in pairs.iter().enumerate() {
            called += usize::from(self.probability(z, f64::from(cosine)) >= f64::from(self.threshold));
            let is_last = pairs.get(at + 1).is_none_or(|next| next.0 < cosine);
            if is_last && called as f64 >= CALLED_ABOVE_CEILING * (at + 1) as f64 {
                above = at + 1;
            }
        }
        let (above, rest) = pairs.split_at(above);
        let cosine = rest.first()?.0;
        let log_odds = above.iter().map(|(_, z)| z).sum::<f64>() / above.len() as f64;
        let is_called = self.probability(log_odds, f64::from(cosine)) >= f64::from(self.threshold);
        (above.len() >= ENOUGH_ABOVE && is_called).then_some(Ceiling { cosine, log_odds })
    }

    /// Says what is wrong with the numbers: someone may have written them by hand.
    pub fn check(&self) -> Result<(), String> {
        self.calibrator.check()?;
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(format!("threshold is {}, expected 0 to 1", self.threshold));
        }
        if let Some(floor) = self.rerank_floor.filter(|floor| !(-1.0..=1.0).contains(floor)) {
            return Err(format!("rerank_floor is {floor}, expected -1 to 1"));
        }
        if let Some(ceiling) = self.rerank_ceiling
            && !((-1.0..=1.0).contains(&ceiling.cosine) && ceiling.log_odds.is_finite())
        {
            return Err(format!("rerank_ceiling is {ceiling:?}, expected a cosine of -1 to 1 and finite log-odds"));
        }
        match self.cosine_weight {
            weight if weight >= 0.0 && weight.is_finite() => Ok(()),
            weight => Err(format!("cosine_weight is {weight}, expected a number from 0")),
        }
    }
}

/// `z` of a pair: its log-odds plus its weighted cosine.
pub fn sum(log_odds: f64, cosine_weight: f64, cosine: f64) -> f64 {
    log_odds + cosine_weight * cosine
}

/// The cosine weight with which the sum of both scores explains the labels best: a logistic regression on the two
/// scores in units of their standard deviations. Only the ratio of the two is free, so a few ratios are tried. `None`
/// if no weight explains anything.
pub fn fit_weight(labels: &[bool], log_odds: &[f64], cosines: &[f64]) -> Option<f64> {
    let unit = deviation(log_odds) / deviation(cosines);
    if !unit.is_finite() {
        return None;
    }
    let weight = |share: usize| unit * share as f64 / (SHARES - share) as f64;
    let loss = |weight: f64| -> Option<f64> {
        let sums: Vec<f64> = log_odds.iter().zip(cosines).map(|(&z, &cosine)| sum(z, weight, cosine)).collect();
        let fitted = platt::fit(labels, &sums)?;
        let of = |(&label, &z): (&bool, &f64)| {
            let p = fitted.probability(z);
            -(if label { p } else { 1.0 - p }).max(f64::MIN_POSITIVE).ln()
        };
        Some(labels.iter().zip(&sums).map(of).sum())
    };
    let tried = (0..SHARES).filter_map(|share| Some((weight(share), loss(weight(share))?)));
    tried.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(weight, _)| weight)
}

fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::calibrator::sigmoid;
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    /// Pairs whose true log-odds are `2 z + 10 c - 8`.
    fn pairs() -> (Vec<bool>, Vec<f64>, Vec<f64>) {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let draw = |_| {
            let (z, c) = (random.random_range(-3.0..3.0), random.random_range(0.5..1.0));
            (random.random_bool(sigmoid(2.0 * z + 10.0 * c - 8.0)), (z, c))
        };
        let (labels, scores): (Vec<bool>, Vec<(f64, f64)>) = (0..20_000).map(draw).unzip();
        let (log_odds, cosines) = scores.into_iter().unzip();
        (labels, log_odds, cosines)
    }

    #[test]
    fn the_weight_is_the_ratio_that_the_labels_were_drawn_with() {
        let (labels, log_odds, cosines) = pairs();
        let weight = fit_weight(&labels, &log_odds, &cosines).unwrap();
        assert!((4.0..6.0).contains(&weight), "{weight}");
        let noise: Vec<f64> = cosines.iter().rev().copied().collect();
        assert!(fit_weight(&labels, &log_odds, &noise).unwrap() < 0.5);
        assert_eq!(fit_weight(&labels, &log_odds, &vec![0.5; labels.len()]), None);
    }

    #[test]
    fn a_pair_is_open_around_the_threshold_only() {
        let calibrator = Calibrator::Platt { slope: 1.0, intercept: -10.0 };
        let decision =
            Decision { cosine_weight: 10.0, calibrator, threshold: 0.5, rerank_floor: None, rerank_ceiling: None };
        assert!((decision.probability(1.0, 0.9) - 0.5).abs() < 1e-9);
        assert!(
            decision.is_open(1.9, 0.9, 1.0) && !decision.is_open(1.9, 1.0, 1.0) && !decision.is_open(-0.1, 0.9, 1.0)
        );
    }

    #[test]
    fn pairs_that_are_almost_never_called_duplicates_are_not_reranked() {
        let (_, log_odds, cosines) = pairs();
        let calibrator = Calibrator::Platt { slope: 2.0, intercept: -8.0 };
        let decision =
            Decision { cosine_weight: 5.0, calibrator, threshold: 0.5, rerank_floor: None, rerank_ceiling: None };
        let rerank_floor = decision.fit_rerank_floor(&log_odds, &cosines);
        let decision = Decision { rerank_floor, ..decision };
        assert!(decision.check().is_ok() && decision.should_rerank(rerank_floor.unwrap()));
        let pairs = || log_odds.iter().zip(&cosines);
        let called = pairs().filter(|&(&z, &cosine)| decision.probability(z, cosine) >= 0.5).collect::<Vec<_>>();
        let lost = called.iter().filter(|(_, cosine)| !decision.should_rerank(**cosine as f32)).count();
        assert!(lost > 0 && lost * 1000 <= called.len(), "{lost} of {}", called.len());
        // a few hundred pairs do not show where the lowest thousandth ends
        assert_eq!(decision.fit_rerank_floor(&log_odds[..900], &cosines[..900]), None);
        let wrong = Decision { rerank_floor: Some(1.5), ..decision };
        assert!(wrong.check().unwrap_err().contains("rerank_floor"));
    }

    #[test]
    fn pairs_that_are_almost_always_called_duplicates_are_not_reranked() {
        let (_, log_odds, cosines) = pairs();
        let calibrator = Calibrator::Platt { slope: 2.0, intercept: -18.0 };
        let decision =
            Decision { cosine_weight: 15.0, calibrator, threshold: 0.5, rerank_floor: None, rerank_ceiling: None };
        let ceiling = decision.fit_rerank_ceiling(&log_odds, &cosines).unwrap();
        let decision = Decision { rerank_ceiling: Some(ceiling), ..decision };
        assert!(decision.check().is_ok() && decision.should_rerank(ceiling.cosine));
        let above: Vec<_> =
            log_odds.iter().zip(&cosines).filter(|&(_, &c)| !decision.should_rerank(c as f32)).collect();
        let called = above.iter().filter(|&&(&z, &c)| decision.probability(z, c) >= 0.5).count();
        assert!(called < above.len() && called * 1000 >= above.len() * 998, "{called} of {}", above.len());
        assert!(above.iter().all(|&(_, &c)| decision.unasked_probability(c as f32).unwrap() >= 0.5));
        assert_eq!(decision.unasked_probability(ceiling.cosine), None);
        // a lower threshold calls more of them, so the ceiling falls; too few pairs show nothing
        let lower = Decision { threshold: 0.1, ..decision.clone() };
        assert!(lower.fit_rerank_ceiling(&log_odds, &cosines).unwrap().cosine < ceiling.cosine);
        assert_eq!(decision.fit_rerank_ceiling(&log_odds[..300], &cosines[..300]), None);
        let wrong = Decision { rerank_ceiling: Some(Ceiling { cosine: 2.0, log_odds: 0.0 }), ..decision };
        assert!(wrong.check().unwrap_err().contains("rerank_ceiling"));
    }
}
