//! The map from a score to a probability, and back.

use serde::{Deserialize, Serialize};

use crate::calibration::piecewise;

/// A map from scores to probabilities that never falls. [`Calibrator::default`] is the plain sigmoid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Calibrator {
    /// `σ(z / temperature)`, temperature > 0.
    Temperature { temperature: f64 },
    /// `σ(slope z + intercept)`, slope > 0.
    Platt { slope: f64, intercept: f64 },
    /// Lines between the points (`scores[i]`, `probabilities[i]`), both rising; flat outside them.
    Isotonic { scores: Vec<f64>, probabilities: Vec<f64> },
}

impl Default for Calibrator {
    fn default() -> Self {
        Self::Temperature { temperature: 1.0 }
    }
}

impl Calibrator {
    /// Name of the method, as in `dupmine.json`.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Temperature { .. } => "temperature",
            Self::Platt { .. } => "platt",
            Self::Isotonic { .. } => "isotonic",
        }
    }

    /// The probability of a score.
    pub fn probability(&self, score: f64) -> f64 {
        match self {
            Self::Temperature { temperature } => sigmoid(score / temperature),
            Self::Platt { slope, intercept } => sigmoid(slope * score + intercept),
            Self::Isotonic { scores, probabilities } => piecewise::interpolate(scores, probabilities, score),
        }
    }

    /// The lowest score whose probability reaches `probability`; infinite if none does.
    pub fn score(&self, probability: f64) -> f64 {
        let log_odds = (probability / (1.0 - probability)).ln();
        match self {
            Self::Temperature { temperature } => log_odds * temperature,
            Self::Platt { slope, intercept } => (log_odds - intercept) / slope,
            Self::Isotonic { scores, probabilities } => piecewise::inverse(scores, probabilities, probability),
        }
    }

    /// Says what is wrong with the parameters: someone may have written them by hand.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Temperature { temperature } if *temperature > 0.0 && temperature.is_finite() => Ok(()),
            Self::Temperature { temperature } => Err(format!("temperature is {temperature}, expected more than 0")),
            Self::Platt { slope, intercept } if *slope > 0.0 && slope.is_finite() && intercept.is_finite() => Ok(()),
            Self::Platt { slope, .. } => Err(format!("slope is {slope}, expected more than 0")),
            Self::Isotonic { scores, probabilities } => {
                let sound = !scores.is_empty()
                    && scores.len() == probabilities.len()
                    && scores.windows(2).all(|pair| pair[0] < pair[1])
                    && probabilities.windows(2).all(|pair| pair[0] <= pair[1])
                    && probabilities.iter().all(|p| (0.0..=1.0).contains(p));
                if sound { Ok(()) } else { Err("scores and probabilities of the isotonic map do not rise".into()) }
            }
        }
    }
}

/// `1 / (1 + e^−x)`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn calibrators() -> [Calibrator; 3] {
        [
            Calibrator::Temperature { temperature: 1.7 },
            Calibrator::Platt { slope: 2.0, intercept: -1.0 },
            Calibrator::Isotonic { scores: vec![-2.0, -1.0, 0.5, 3.0], probabilities: vec![0.05, 0.2, 0.2, 0.9] },
        ]
    }

    proptest! {
        #[test]
        fn maps_never_fall_and_their_inverse_is_the_lowest_score_that_reaches(a in -6.0..6.0_f64, b in -6.0..6.0_f64) {
            for map in calibrators() {
                let (low, high) = (map.probability(a.min(b)), map.probability(a.max(b)));
                prop_assert!(low <= high && (0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
                let lowest = map.score(high);
                prop_assert!(lowest <= a.max(b) + 1e-9, "{lowest} reaches {high}, so does {}", a.max(b));
                prop_assert!(map.probability(lowest) >= high - 1e-9);
            }
        }
    }

    #[test]
    fn a_probability_out_of_reach_has_no_score() {
        assert_eq!(calibrators()[2].score(0.95), f64::INFINITY);
        assert_eq!(calibrators()[2].score(0.01), f64::NEG_INFINITY);
    }

    #[test]
    fn invalid_parameters_are_refused() {
        assert!(calibrators().iter().all(|map| map.check().is_ok()));
        assert!(Calibrator::Temperature { temperature: 0.0 }.check().is_err());
        assert!(Calibrator::Platt { slope: -1.0, intercept: 0.0 }.check().is_err());
        let falling = Calibrator::Isotonic { scores: vec![0.0, 1.0], probabilities: vec![0.5, 0.4] };
        assert!(falling.check().is_err());
    }
}
