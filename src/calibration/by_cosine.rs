//! What stands for the probability of a pair that the cross-encoder was not asked about: the mean of those with its cosine.

use serde::{Deserialize, Serialize};

use crate::calibration::piecewise;

/// Parts of the cosine that are averaged, in each unit of it.
const GRID: f64 = 200.0;

/// Mean probabilities of pairs by their cosine: points of a line that never falls, and is flat outside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ByCosine {
    cosines: Vec<f64>,
    probabilities: Vec<f64>,
}

/// Pairs of neighbouring cosines.
#[derive(Default, Clone, Copy)]
struct Pool {
    pairs: f64,
    cosine: f64,
    probability: f64,
}

impl Pool {
    fn add(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.cosine += other.cosine;
        self.probability += other.probability;
    }

    fn mean(&self) -> f64 {
        self.probability / self.pairs
    }
}

impl ByCosine {
    /// Averages the probabilities (or verdicts, as 0 and 1) of pairs, and pools parts where they would fall (see `isotonic.rs`).
    /// `None` without pairs.
    pub fn fit(pairs: impl Iterator<Item = (f32, f32)>) -> Option<Self> {
        // cosines of −1 to 1
        let mut parts = vec![Pool::default(); 2 * GRID as usize + 1];
        for (cosine, probability) in pairs {
            let (cosine, probability) = (f64::from(cosine), f64::from(probability));
            let part = ((cosine + 1.0) * GRID) as usize;
            parts[part.min(2 * GRID as usize)].add(Pool { pairs: 1.0, cosine, probability });
        }
        let mut pools: Vec<Pool> = Vec::new();
        for mut pool in parts.into_iter().filter(|part| part.pairs > 0.0) {
            while let Some(lower) = pools.pop_if(|lower| lower.mean() >= pool.mean()) {
                pool.add(lower);
            }
            pools.push(pool);
        }
        // few digits: they are read from a manifest as they were written
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        let points = pools.iter().map(|pool| (rounded(pool.cosine / pool.pairs), rounded(pool.mean())));
        let (cosines, probabilities): (Vec<f64>, Vec<f64>) = points.unzip();
        (!cosines.is_empty()).then_some(Self { cosines, probabilities })
    }

    /// The probability of a pair with this cosine.
    pub fn at(&self, cosine: f32) -> f32 {
        piecewise::interpolate(&self.cosines, &self.probabilities, f64::from(cosine)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_through_the_means_that_never_falls() {
        let pairs = [(0.8, 0.1), (0.801, 0.3), (0.851, 0.1), (0.9, 0.8), (0.9, 0.6)];
        let line = ByCosine::fit(pairs.into_iter()).unwrap();
        // 0.8 and 0.801 lie in one part, whose mean is above that of the next
        assert!((line.at(0.5) - 0.5 / 3.0).abs() < 1e-6 && (line.at(0.95) - 0.7).abs() < 1e-6);
        let middle = (0.8173333 + 0.9) / 2.0;
        assert!((line.at(middle) - (0.5 / 3.0 + 0.7) / 2.0).abs() < 1e-3, "{}", line.at(middle));
        let read: ByCosine = serde_json::from_str(&serde_json::to_string(&line).unwrap()).unwrap();
        assert_eq!(read, line);
        assert_eq!(ByCosine::fit(std::iter::empty()), None);
    }
}
