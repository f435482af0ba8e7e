//! How uncertain a figure is: the bootstrap over clusters of questions.
//!
//! Pairs that share questions are not independent, so whole clusters of pairs are drawn, with replacement, as many as
//! there are (Efron and Tibshirani 1993; the cluster bootstrap of Field and Welsh 2007). An interval is the range
//! between the 2.5th and the 97.5th percentile of the figure over the draws.
//!
//! Two models are compared on the same draws, so that chance that affects both does not widen the interval of the
//! difference.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use crate::clustering::union_find::UnionFind;

/// The middle 95 % of a figure's distribution.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(into = "[f64; 2]")]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}

/// Which pairs are drawn together: pairs connected by shared questions have the same number, from 0.
#[derive(Debug)]
pub struct Clusters {
    pub of_pair: Vec<u32>,
    pub count: usize,
}

impl Clusters {
    /// `pairs[i]` holds the two question numbers of pair i, all below `questions`.
    pub fn new(questions: usize, pairs: &[(u32, u32)]) -> Self {
        let mut sets = UnionFind::new(questions);
        for &(a, b) in pairs {
            sets.join(a, b);
        }
        let mut number = vec![u32::MAX; questions];
        let mut count = 0;
        let of_pair = pairs
            .iter()
            .map(|&(a, _)| {
                let root = sets.find(a) as usize;
                if number[root] == u32::MAX {
                    number[root] = count;
                    count += 1;
                }
                number[root]
            })
            .collect();
        Self { of_pair, count: count as usize }
    }

    /// Every pair in its own cluster.
    pub fn singletons(pairs: usize) -> Self {
        Self { of_pair: (0..pairs as u32).collect(), count: pairs }
    }

    /// Share of the pairs that are in the largest cluster: near 1, an interval means nothing.
    pub fn largest_share(&self) -> f64 {
        let mut sizes = vec![0_u64; self.count];
        self.of_pair.iter().for_each(|&cluster| sizes[cluster as usize] += 1);
        sizes.iter().max().map_or(0.0, |&largest| largest as f64 / self.of_pair.len() as f64)
    }
}

/// Values of `figure` over `draws` resamples of the clusters, in the order of the draws. `figure` is given how often
/// each cluster was drawn. The same seed gives the same draws whatever the thread count.
pub fn resample<T: Send>(clusters: usize, draws: u64, seed: u64, figure: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
    (0..draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(draw);
            let mut times = vec![0; clusters];
            for _ in 0..clusters {
                times[random.random_range(0..clusters)] += 1;
            }
            figure(&times)
        })
        .collect()
}

/// The 95 % interval of values drawn by [`resample`]; `None` if a draw left the figure undefined.
pub fn interval(values: impl IntoIterator<Item = Option<f64>>) -> Option<Interval> {
    let mut values = values.into_iter().collect::<Option<Vec<f64>>>().filter(|values| !values.is_empty())?;
    values.sort_unstable_by(f64::total_cmp);
    Some(Interval { low: percentile(&values, 0.025), high: percentile(&values, 0.975) })
}

/// The 95 % interval moved so that the draws' mean lies on `value`, for figures that a draw makes larger or smaller on
/// average: a ratio of counts that were drawn is not the ratio of their means. Kept within −1 to 1.
pub fn centred_interval(value: f64, values: impl IntoIterator<Item = Option<f64>>) -> Option<Interval> {
    let values = values.into_iter().collect::<Option<Vec<f64>>>()?;
    let moved = value - values.iter().sum::<f64>() / values.len() as f64;
    let Interval { low, high } = interval(values.into_iter().map(Some))?;
    Some(Interval { low: (low + moved).max(-1.0), high: (high + moved).min(1.0) })
}

/// Linear interpolation between the two nearest of the sorted values, numpy's default.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_share_questions_stay_together() {
        let clusters = Clusters::new(7, &[(0, 1), (2, 3), (1, 4), (5, 6), (3, 5)]);
        assert_eq!((clusters.of_pair.as_slice(), clusters.count), ([0, 1, 0, 1, 1].as_slice(), 2));
        assert_eq!(clusters.largest_share(), 0.6);
    }

    #[test]
    fn draws_are_as_many_as_clusters_and_depend_on_the_seed_alone() {
        let draw = |seed| resample(50, 20, seed, |times| times.to_vec());
        assert!(draw(7).iter().all(|times| times.iter().sum::<u32>() == 50));
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(7)[0], draw(7)[1]);
    }

    #[test]
    fn the_interval_of_a_mean_has_the_width_that_theory_says() {
        // the mean of 400 fair coins has a standard error of 0.025: 95 % lie within ±0.049
        let mean = |times: &[u32]| times.iter().skip(1).step_by(2).sum::<u32>() as f64 / 400.0;
        let interval = interval(resample(400, 4000, 1, mean).into_iter().map(Some)).unwrap();
        assert!((interval.low - 0.451).abs() < 0.006 && (interval.high - 0.549).abs() < 0.006, "{interval:?}");
    }

    #[test]
    fn an_undefined_draw_has_no_interval() {
        assert_eq!(interval([Some(1.0), None]), None);
        assert_eq!(interval([]), None);
        assert_eq!(interval([Some(2.0)]), Some(Interval { low: 2.0, high: 2.0 }));
        assert_eq!(centred_interval(0.5, []), None);
        let moved = centred_interval(0.5, [Some(0.7), Some(0.8), Some(0.9)]).unwrap();
        assert!((moved.low - 0.405).abs() < 1e-9 && (moved.high - 0.595).abs() < 1e-9, "{moved:?}");
    }
}
