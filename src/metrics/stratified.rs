//! Precision and recall of a whole run from a small labelled sample of its pairs.
//!
//! Pairs were drawn within strata of score, so that rare and doubtful pairs are well represented. Each stratum counts
//! by the pairs that it stands for: an estimate Σ N_h p̂_h, unbiased whatever the sampling rates (Cochran 1977, ch. 5).
//! The share of duplicates p_h of a stratum with d duplicates among n labelled is taken as Beta(d + ½, n − d + ½)
//! (Jeffreys' prior), and intervals are percentiles over draws of all strata. They are sensible even if a stratum holds
//! no duplicate, or only duplicates. If a threshold lies inside a stratum, the share of its pairs above the threshold is
//! estimated in the same way. Recall is among the candidates: a pair that never became a candidate cannot be
//! sampled.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use crate::metrics::bootstrap::{Interval, interval};

/// Labelled pairs: how many are duplicates, and how many are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub duplicates: u64,
    pub others: u64,
}

impl Counts {
    pub fn all(self) -> u64 {
        self.duplicates + self.others
    }

    /// Counts one more pair.
    pub fn add(&mut self, is_duplicate: bool) {
        *(if is_duplicate { &mut self.duplicates } else { &mut self.others }) += 1;
    }
}

/// A slice of the run's pairs, and the labels of some of them by what is decided about the pair. At the threshold that
/// cut the strata, a stratum holds pairs of one decision only; at another threshold it can hold both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stratum {
    /// Pairs of the run in it.
    pub pairs: u64,
    pub called: Counts,
    pub not_called: Counts,
}

impl Stratum {
    pub fn labelled(&self) -> u64 {
        self.called.all() + self.not_called.all()
    }
}

/// How many pairs of the run each labelled pair stands for: the pairs of its stratum, divided by the labels there. A pair
/// is given by the number of its stratum and the pairs in it. Pairs that nobody labelled count for nothing, so a partly
/// filled sample has the weights of a smaller sample.
pub fn weights(labelled: &[(u32, u64)]) -> Vec<f64> {
    let mut labels: BTreeMap<u32, u64> = BTreeMap::new();
    labelled.iter().for_each(|(stratum, _)| *labels.entry(*stratum).or_default() += 1);
    labelled.iter().map(|(stratum, pairs)| *pairs as f64 / labels[stratum] as f64).collect()
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
    /// `None` when no pair is called a duplicate.
    pub precision: Option<Estimate>,
    /// Among all candidate pairs; `None` when the sample holds no duplicate.
    pub recall: Option<Estimate>,
    /// Duplicates among all candidate pairs.
    pub duplicates: Option<Estimate>,
}

/// Estimates from `strata`; each must have a label.
pub fn estimate(strata: &[Stratum], draws: u64, seed: u64) -> SampleFigures {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn: Vec<Totals> =
        (0..draws).map(|_| Totals::sum(strata.iter().map(|stratum| drawn(stratum, &mut random)))).collect();
    let estimated = Totals::sum(strata.iter().map(observed));
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

/// The counts of a stratum as its labels have them.
fn observed(stratum: &Stratum) -> Totals {
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let of = |counts: Counts| share(counts.duplicates, counts.all());
    Totals::new(stratum, share(stratum.called.all(), stratum.labelled()), of(stratum.called), of(stratum.not_called))
}

/// The counts of a stratum as they may be, given its labels.
fn drawn(stratum: &Stratum, random: &mut ChaCha8Rng) -> Totals {
    let (called, not_called) = (stratum.called, stratum.not_called);
    if stratum.labelled() == stratum.pairs {
        return observed(stratum); // all pairs are labelled: the shares are known
    }
    let mut share = |part: u64, rest: u64| {
        // both parameters are at least one half, as Beta requires
        Beta::new(part as f64 + 0.5, rest as f64 + 0.5).map_or(f64::NAN, |beta| beta.sample(random))
    };
    // labels of one decision only: so is the stratum, as far as anyone knows
    let called_share = match (called.all(), not_called.all()) {
        (_, 0) => 1.0,
        (0, _) => 0.0,
        (part, rest) => share(part, rest),
    };
    let mut duplicates = |counts: Counts| if counts.all() == 0 { 0.0 } else { share(counts.duplicates, counts.others) };
    Totals::new(stratum, called_share, duplicates(called), duplicates(not_called))
}

/// Estimated counts of pairs.
struct Totals {
    called: f64,
    hits: f64,
    missed: f64,
}

impl Totals {
    /// From the share of a stratum's pairs that are called duplicates, and the shares of duplicates among these and among
    /// the others.
    fn new(stratum: &Stratum, called: f64, duplicates_called: f64, duplicates_not_called: f64) -> Self {
        let (called, others) = (stratum.pairs as f64 * called, stratum.pairs as f64 * (1.0 - called));
        Self { called, hits: called * duplicates_called, missed: others * duplicates_not_called }
    }

    fn sum(strata: impl Iterator<Item = Self>) -> Self {
        strata.fold(Self { called: 0.0, hits: 0.0, missed: 0.0 }, |sum, next| Self {
            called: sum.called + next.called,
            hits: sum.hits + next.hits,
            missed: sum.missed + next.missed,
        })
    }

    fn precision(&self) -> Option<f64> {
        (self.called > 0.0).then(|| self.hits / self.called)
    }

    fn recall(&self) -> Option<f64> {
        (self.hits + self.missed > 0.0).then(|| self.hits / (self.hits + self.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// A stratum of one decision.
    fn stratum(pairs: u64, is_called: bool, labelled: u64, duplicates: u64) -> Stratum {
        let counts = Counts { duplicates, others: labelled - duplicates };
        match is_called {
            true => Stratum { pairs, called: counts, not_called: Counts::default() },
            false => Stratum { pairs, called: Counts::default(), not_called: counts },
        }
    }

    #[test]
    fn strata_count_by_what_they_stand_for() {
        let strata = [stratum(100, true, 10, 9), stratum(900, false, 10, 1)];
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
        let all_right = [stratum(100, true, 10, 10)];
        let sure = estimate(&all_right, 500, 1).precision.unwrap();
        assert_eq!((sure.value, sure.interval.unwrap().high), (1.0, 1.0));
    }

    #[test]
    fn a_run_labelled_throughout_is_known_exactly() {
        let all = |called, duplicates| stratum(8, called, 8, duplicates);
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
            let strata = truth.map(|(pairs, called, share)| {
                let duplicates = (0..50).filter(|_| random.random_bool(share)).count() as u64;
                stratum(pairs, called, 50, duplicates)
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

    /// A threshold inside a stratum: its estimate is that of weighted pairs, and its intervals cover too.
    #[test]
    fn a_stratum_can_hold_both_decisions() {
        // the upper half of the first stratum is called
        let truth = [(3000_u64, 0.5, 0.9, 0.4), (9000, 0.0, 0.0, 0.05)];
        let hits = 1500.0 * 0.9;
        let (precision, recall) = (0.9, hits / (hits + 1500.0 * 0.4 + 9000.0 * 0.05));
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let (mut covered, runs) = ([0; 2], 400);
        for run in 0..runs {
            let mut pairs = Vec::new();
            let strata = truth.map(|(size, share, called, not_called)| {
                let mut stratum = Stratum { pairs: size, ..Stratum::default() };
                for _ in 0..60 {
                    let is_called = random.random_bool(share);
                    let is_duplicate = random.random_bool(if is_called { called } else { not_called });
                    (if is_called { &mut stratum.called } else { &mut stratum.not_called }).add(is_duplicate);
                    pairs.push((size as u32, size, is_called, is_duplicate));
                }
                stratum
            });
            let figures = estimate(&strata, 400, run);
            let weights = weights(&pairs.iter().map(|pair| (pair.0, pair.1)).collect::<Vec<_>>());
            let sum = |keep: &dyn Fn(bool, bool) -> bool| -> f64 {
                pairs.iter().zip(&weights).filter(|(pair, _)| keep(pair.2, pair.3)).map(|(_, weight)| weight).sum()
            };
            let weighted = sum(&|called, duplicate| called && duplicate) / sum(&|called, _| called);
            assert!((figures.precision.unwrap().value - weighted).abs() < 1e-12);
            for (at, (found, true_value)) in
                [(figures.precision, precision), (figures.recall, recall)].into_iter().enumerate()
            {
                let interval = found.unwrap().interval.unwrap();
                covered[at] += usize::from(interval.low <= true_value && true_value <= interval.high);
            }
        }
        assert!(covered.iter().all(|&n| n >= 360), "{covered:?} of 400");
    }

    #[test]
    fn only_labels_have_weight() {
        assert_eq!(weights(&[(0, 10), (1, 6), (0, 10)]), [5.0, 6.0, 5.0]);
    }
}
