//! Draws a small sample of a run's pairs for a person to label, stratified by score.
//!
//! A plain random sample of 200 would hold almost only easy pairs. Here strata of equal width in score, cut at the
//! threshold, get equal shares of the sample. If a stratum has too few pairs, the others get the rest. Each drawn pair
//! stands for its stratum's pairs divided by its draws (see [`crate::metrics::stratified`]). Pairs that an earlier sample
//! has are not drawn again, but count as pairs of their stratum: both samples together are one larger sample.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::index;

/// Strata on each side of the threshold.
const SIDE: usize = 5;

/// One stratum: how many pairs are in it, and which were drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnStratum {
    pub predicted: bool,
    /// Pairs in the stratum, those of an earlier sample included.
    pub pairs: u64,
    /// Pairs that could be drawn: those that are not taken.
    pub free: u64,
    /// Numbers of the drawn pairs, ascending.
    pub drawn: Vec<usize>,
}

/// The pairs of a run. Element i of each slice belongs to pair i.
pub struct Pairs<'a> {
    pub scores: &'a [f32],
    pub predicted: &'a [bool],
    /// Whether an earlier sample has the pair.
    pub is_taken: &'a [bool],
}

/// Draws `n` of the pairs that are not taken, or all if there are fewer. If `n` suffices, every stratum that has such a
/// pair gets at least one draw. The strata with the highest scores come first.
pub fn draw(pairs: &Pairs, n: usize, seed: u64) -> Vec<DrawnStratum> {
    let Pairs { scores, predicted, is_taken } = pairs;
    let mut strata: Vec<(bool, Vec<usize>)> = Vec::new();
    for side in [true, false] {
        let pairs: Vec<usize> = (0..scores.len()).filter(|&pair| predicted[pair] == side).collect();
        strata.extend(slices(scores, &pairs).into_iter().map(|slice| (side, slice)));
    }
    let free: Vec<Vec<usize>> =
        strata.iter().map(|(_, pairs)| pairs.iter().copied().filter(|&pair| !is_taken[pair]).collect()).collect();
    let shares = shares(&free.iter().map(Vec::len).collect::<Vec<_>>(), n);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    strata
        .into_iter()
        .zip(free.iter().zip(shares))
        .map(|((predicted, pairs), (free, share))| {
            let mut drawn: Vec<usize> =
                index::sample(&mut random, free.len(), share).into_iter().map(|at| free[at]).collect();
            drawn.sort_unstable();
            DrawnStratum { predicted, pairs: pairs.len() as u64, free: free.len() as u64, drawn }
        })
        .collect()
}

/// Slices of equal width between the lowest and the highest score, the highest first, empty ones left out.
fn slices(scores: &[f32], pairs: &[usize]) -> Vec<Vec<usize>> {
    let low = pairs.iter().map(|&pair| scores[pair]).fold(f32::INFINITY, f32::min);
    let high = pairs.iter().map(|&pair| scores[pair]).fold(f32::NEG_INFINITY, f32::max);
    let mut slices = vec![Vec::new(); SIDE];
    for &pair in pairs {
        let share = if high > low { (scores[pair] - low) / (high - low) } else { 0.0 };
        slices[SIDE - 1 - ((share * SIDE as f32) as usize).min(SIDE - 1)].push(pair);
    }
    slices.retain(|slice| !slice.is_empty());
    slices
}

/// Deals `n` out one at a time, round after round, to the strata that still have pairs.
fn shares(sizes: &[usize], n: usize) -> Vec<usize> {
    let mut shares = vec![0; sizes.len()];
    let mut left = n.min(sizes.iter().sum());
    while left > 0 {
        for (share, &size) in shares.iter_mut().zip(sizes) {
            if left > 0 && *share < size {
                *share += 1;
                left -= 1;
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_strata_give_what_they_have_and_the_others_fill_up() {
        assert_eq!(shares(&[2, 100, 1], 20), [2, 17, 1]);
        assert_eq!(shares(&[2, 3], 20), [2, 3]);
        assert_eq!(shares(&[5, 5, 5], 2), [1, 1, 0]);
    }

    proptest! {
        #[test]
        fn strata_partition_the_pairs_and_never_straddle_the_threshold(
            scores in prop::collection::vec(0.0..1.0_f32, 1..200), n in 1_usize..100, seed: u64,
        ) {
            let predicted: Vec<bool> = scores.iter().map(|&score| score >= 0.6).collect();
            let none = vec![false; scores.len()];
            let pairs = Pairs { scores: &scores, predicted: &predicted, is_taken: &none };
            let strata = draw(&pairs, n, seed);
            prop_assert_eq!(strata.iter().map(|s| s.pairs).sum::<u64>(), scores.len() as u64);
            let mut drawn: Vec<usize> = strata.iter().flat_map(|s| s.drawn.clone()).collect();
            drawn.sort_unstable();
            drawn.dedup();
            prop_assert_eq!(drawn.len(), n.min(scores.len()));
            prop_assert!(strata.iter().all(|s| s.drawn.iter().all(|&pair| predicted[pair] == s.predicted)));
            prop_assert_eq!(&draw(&pairs, n, seed), &strata);
            // a second sample has the same strata and other pairs
            let is_taken: Vec<bool> = (0..scores.len()).map(|pair| drawn.contains(&pair)).collect();
            let again = draw(&Pairs { is_taken: &is_taken, ..pairs }, n, seed);
            prop_assert!(again.iter().all(|s| s.drawn.iter().all(|&pair| !is_taken[pair])));
            let sizes = |strata: &[DrawnStratum]| strata.iter().map(|s| s.pairs).collect::<Vec<_>>();
            prop_assert_eq!(sizes(&again), sizes(&strata));
        }
    }
}
