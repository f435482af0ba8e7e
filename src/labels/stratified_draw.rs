//! Draws a small sample of a run's pairs for a person to label, stratified by score.
//!
//! A plain random sample of 200 would hold almost only easy pairs. Here strata of equal width in score, cut at the
//! threshold, get equal shares of the sample. If a stratum has too few pairs, the others get the rest. Each drawn pair
//! stands for its stratum's pairs divided by its draws (see [`crate::metrics::stratified`]).

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::index;

/// Strata on each side of the threshold.
const SIDE: usize = 5;

/// One stratum: how many pairs are in it, and which were drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnStratum {
    pub predicted: bool,
    /// Pairs in the stratum.
    pub pairs: u64,
    /// Numbers of the drawn pairs, ascending.
    pub drawn: Vec<usize>,
}

/// Draws `n` of the pairs, or all if there are fewer. `scores[i]` and `predicted[i]` belong to pair i. If `n` suffices,
/// every stratum that is not empty gets at least one draw. The strata with the highest scores come first.
pub fn draw(scores: &[f32], predicted: &[bool], n: usize, seed: u64) -> Vec<DrawnStratum> {
    let mut strata: Vec<(bool, Vec<usize>)> = Vec::new();
    for side in [true, false] {
        let pairs: Vec<usize> = (0..scores.len()).filter(|&pair| predicted[pair] == side).collect();
        strata.extend(slices(scores, &pairs).into_iter().map(|slice| (side, slice)));
    }
    let sizes: Vec<usize> = strata.iter().map(|(_, pairs)| pairs.len()).collect();
    let shares = shares(&sizes, n);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    strata
        .into_iter()
        .zip(shares)
        .map(|((predicted, pairs), share)| {
            let mut drawn: Vec<usize> =
                index::sample(&mut random, pairs.len(), share).into_iter().map(|at| pairs[at]).collect();
            drawn.sort_unstable();
            DrawnStratum { predicted, pairs: pairs.len() as u64, drawn }
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
            let strata = draw(&scores, &predicted, n, seed);
            prop_assert_eq!(strata.iter().map(|s| s.pairs).sum::<u64>(), scores.len() as u64);
            let mut drawn: Vec<usize> = strata.iter().flat_map(|s| s.drawn.clone()).collect();
            drawn.sort_unstable();
            drawn.dedup();
            prop_assert_eq!(drawn.len(), n.min(scores.len()));
            prop_assert!(strata.iter().all(|s| s.drawn.iter().all(|&pair| predicted[pair] == s.predicted)));
            prop_assert_eq!(draw(&scores, &predicted, n, seed), strata);
        }
    }
}
