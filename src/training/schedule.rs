//! The learning rate of every step: warm-up, then decay.

use serde::{Deserialize, Serialize};

/// How the rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// In a straight line to 0 at the last step
    Linear,
    /// Along half a cosine to 0 at the last step
    Cosine,
    /// Not at all
    Constant,
}

/// Rates as `transformers.get_{linear,cosine}_schedule_with_warmup` gives them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    pub peak: f64,
    pub warmup_steps: usize,
    pub total_steps: usize,
    pub decay: Decay,
}

impl Schedule {
    /// Rate of the step that follows `done` finished steps: 0 at the first one when there is a warm-up.
    pub fn rate(&self, done: usize) -> f64 {
        if done < self.warmup_steps {
            return self.peak * done as f64 / self.warmup_steps as f64;
        }
        let after = (done - self.warmup_steps) as f64;
        let length = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let share = (after / length).min(1.0);
        self.peak
            * match self.decay {
                Decay::Linear => 1.0 - share,
                Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * share).cos()),
                Decay::Constant => 1.0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_then_decays_to_zero() {
        let rates = |decay| {
            let schedule = Schedule { peak: 1.0, warmup_steps: 2, total_steps: 6, decay };
            (0..7).map(|done| (schedule.rate(done) * 1e4).round() / 1e4).collect::<Vec<_>>()
        };
        assert_eq!(rates(Decay::Linear), [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
        assert_eq!(rates(Decay::Cosine), [0.0, 0.5, 1.0, 0.8536, 0.5, 0.1464, 0.0]);
        assert_eq!(rates(Decay::Constant), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
