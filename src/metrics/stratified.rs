//! Precision and recall of a whole run from a small labelled sample of its pairs.
//!
//! Pairs were drawn within strata of score, so that rare and doubtful pairs are well represented. Each stratum counts
//! by the pairs that it stands for: an estimate Σ N_h p̂_h, unbiased whatever the sampling rates (Cochran 1977, ch. 5).
//! The share of duplicates p_h of a stratum with d duplicates among n labelled is taken as Beta(d + ½, n − d + ½)
//! (Jeffreys' prior), and intervals are percentiles over draws of all strata. They are sensible even if a stratum holds
//! no duplicate, or only duplicates. Recall is among the candidates: a pair that never became a candidate cannot be
//! sampled.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use crate::metrics::bootstrap::{Interval, interval};

/// A slice of the run's pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stratum {
    /// Pairs of the run in it.
    pub pairs: u64,
    /// Whether the run calls them duplicates (all or none: a stratum never straddles the threshold).
    pub predicted: bool,
    pub labelled: u64,
    pub duplicates: u64,
}

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Estimate {
    pub value: f64,
    /// `None` without draws.
    pub interval: Option<Interval>,
}

/// What a labelled sample says about a run.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct SampleFigures {
    /// `None` when the run calls no pair a duplicate.
    pub precision: Option<Estimate>,
    /// Among all candidate pairs; `None` when the sample holds no duplicate.
    pub recall: Option<Estimate>,
    /// Duplicates among all candidate pairs.
    pub duplicates: Option<Estimate>,
}

/// Estimates from `strata`; each must have a label.
pub fn estimate(strata: &[Stratum], draws: u64, seed: u64) -> SampleFigures {
    let observed: Vec<f64> = strata.iter().map(|s| s.duplicates as f64 / s.labelled as f64).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn: Vec<Totals> = (0..draws)
        .map(|_| {
            let shares: Vec<f64> = strata.iter().map(|stratum| draw_share(stratum, &mut random)).collect();
            Totals::new(strata, &shares)
        })
        .collect();
    let estimated = Totals::new(strata, &observed);
    let with_interval = |figure: fn(&Totals) -> Option<f64>| {
        // a draw never reaches a share of 0 or 1, but the observed share may be just that
        let holding = |i: Interval, value: f64| Interval { low: i.low.min(value), high: i.high.max(value) };
        let value = figure(&estimated)?;
        let interval = interval(drawn.iter().map(figure)).map(|interval| holding(interval, value));
        Some(Estimate { value, interval })
    };
    SampleFigures {
        precision: with_interval(Totals::precision),
        recall: with_interval(Totals::recall),
        duplicates: with_interval(|totals| Some(totals.hits + totals.missed)),
    }
}

fn draw_share(stratum: &Stratum, random: &mut ChaCha8Rng) -> f64 {
    if stratum.labelled == stratum.pairs {
        return stratum.duplicates as f64 / stratum.pairs as f64; // all pairs are labelled: the share is known
    }
    let (duplicates, others) = (stratum.duplicates as f64, (stratum.labelled - stratum.duplicates) as f64);
    // both parameters are at least one half, as Beta requires
    Beta::new(duplicates + 0.5, others + 0.5).map_or(f64::NAN, |beta| beta.sample(random))
}

/// Estimated counts of pairs.
struct Totals {
    predicted: f64,
    hits: f64,
    missed: f64,
}

impl Totals {
    fn new(strata: &[Stratum], shares: &[f64]) -> Self {
        let sum = |predicted: bool, value: &dyn Fn(f64) -> f64| -> f64 {
            let inside = strata.iter().zip(shares).filter(|(stratum, _)| stratum.predicted == predicted);
            inside.map(|(stratum, &share)| stratum.pairs as f64 * value(share)).sum()
        };
        Self { predicted: sum(true, &|_| 1.0), hits: sum(true, &|share| share), missed: sum(false, &|share| share) }
    }

    fn precision(&self) -> Option<f64> {
        (self.predicted > 0.0).then(|| self.hits / self.predicted)
    }

    fn recall(&self) -> Option<f64> {
        (self.hits + self.missed > 0.0).then(|| self.hits / (self.hits + self.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn strata_count_by_what_they_stand_for() {
        let strata = [
            Stratum { pairs: 100, predicted: true, labelled: 10, duplicates: 9 },
            Stratum { pairs: 900, predicted: false, labelled: 10, duplicates: 1 },
        ];
        let figures = estimate(&strata, 2000, 1);
        let (precision, recall) = (figures.precision.unwrap(), figures.recall.unwrap());
        assert_eq!((precision.value, recall.value), (0.9, 0.5));
        let within = |estimate: Estimate, low, high| {
            let interval = estimate.interval.unwrap();
            assert!(interval.low < low && interval.high > high, "{estimate:?}");
        };
        within(precision, 0.75, 0.95);
        within(recall, 0.35, 0.75);
        assert_eq!(estimate(&strata, 0, 1).precision, Some(Estimate { interval: None, ..precision }));
        let all_right = [Stratum { pairs: 100, predicted: true, labelled: 10, duplicates: 10 }];
        let sure = estimate(&all_right, 500, 1).precision.unwrap();
        assert_eq!((sure.value, sure.interval.unwrap().high), (1.0, 1.0));
    }

    #[test]
    fn a_run_labelled_throughout_is_known_exactly() {
        let all = |predicted, duplicates| Stratum { pairs: 8, predicted, labelled: 8, duplicates };
        let figures = estimate(&[all(true, 6), all(false, 2)], 100, 1);
        let exact = |value| Some(Estimate { value, interval: Some(Interval { low: value, high: value }) });
        assert_eq!((figures.precision, figures.recall, figures.duplicates), (exact(0.75), exact(0.75), exact(8.0)));
    }

    /// The estimate is right on average, and 95 % intervals hold the truth about 95 times in 100.
    #[test]
    fn estimates_are_unbiased_and_intervals_cover() {
        let truth = [(2000_u64, true, 0.95), (500, true, 0.6), (1500, false, 0.2), (20_000, false, 0.01)];
        let hits = 2000.0 * 0.95 + 500.0 * 0.6;
        let (precision, recall) = (hits / 2500.0, hits / (hits + 1500.0 * 0.2 + 20_000.0 * 0.01));
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (mut mean, mut covered, runs) = ([0.0; 2], [0; 2], 400);
        for run in 0..runs {
            let strata = truth.map(|(pairs, predicted, share)| {
                let duplicates = (0..50).filter(|_| random.random_bool(share)).count() as u64;
                Stratum { pairs, predicted, labelled: 50, duplicates }
            });
            let figures = estimate(&strata, 400, run);
            for (at, (found, true_value)) in
                [(figures.precision, precision), (figures.recall, recall)].into_iter().enumerate()
            {
                let found = found.unwrap();
                mean[at] += found.value / runs as f64;
                let interval = found.interval.unwrap();
                covered[at] += usize::from(interval.low <= true_value && true_value <= interval.high);
            }
        }
        assert!((mean[0] - precision).abs() < 0.005 && (mean[1] - recall).abs() < 0.02, "{mean:?}");
        assert!(covered.iter().all(|&n| n >= 360), "{covered:?} of 400");
    }
}
