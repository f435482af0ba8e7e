//! What a cross-encoder adds to the cosine, measured: reranking costs many times the search, so it has to show.

use serde::{Deserialize, Serialize};

use crate::metrics::bootstrap::{Clusters, interval, resample};
use crate::metrics::ranking::Ranking;

/// Bootstrap draws.
const DRAWS: u64 = 400;

/// Average precision of both models together less that of the cosine alone, on the same labelled pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gain {
    pub average_precision: f64,
    /// The 95 % interval.
    pub low: f64,
    pub high: f64,
}

impl Gain {
    /// Measures it. `together` are the sums that decide. `None` if the labels leave average precision undefined.
    pub fn of(labels: &[bool], cosines: &[f64], together: &[f64], clusters: &Clusters, seed: u64) -> Option<Self> {
        let (alone, both) = (Ranking::new(labels, cosines), Ranking::new(labels, together));
        let difference = |weight: &dyn Fn(usize) -> u64| -> Option<f64> {
            let precision = |ranking: &Ranking| ranking.weighted_figures(weight, None).average_precision;
            Some(precision(&both)? - precision(&alone)?)
        };
        let drawn = resample(clusters.count, DRAWS, seed, |times| {
            difference(&|pair| u64::from(times[clusters.of_pair[pair] as usize]))
        });
        let interval = interval(drawn)?;
        Some(Self { average_precision: difference(&|_| 1)?, low: interval.low, high: interval.high })
    }

    /// Whether the pairs show that reranking helps.
    pub fn is_sure(&self) -> bool {
        self.low > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_that_knows_more_gains_and_noise_does_not() {
        let count = 400;
        let labels: Vec<bool> = (0..count).map(|n| n % 3 == 0).collect();
        let cosines: Vec<f64> = (0..count).map(|n| ((n * 37 % 101) as f64) / 100.0).collect();
        let clusters = Clusters::singletons(count);
        let gain = |together: &[f64]| Gain::of(&labels, &cosines, together, &clusters, 1).unwrap();
        let knows: Vec<f64> = cosines.iter().zip(&labels).map(|(c, &label)| c + f64::from(u8::from(label))).collect();
        let better = gain(&knows);
        assert!(better.is_sure() && better.average_precision > 0.4 && better.high >= better.low, "{better:?}");
        let same = gain(&cosines);
        assert_eq!((same.average_precision, same.is_sure()), (0.0, false));
        assert!(!gain(&(0..count).map(|n| (n * 53 % 97) as f64).collect::<Vec<_>>()).is_sure());
        assert_eq!(Gain::of(&[false, false], &[0.1, 0.2], &[0.1, 0.2], &Clusters::singletons(2), 1), None);
    }
}
