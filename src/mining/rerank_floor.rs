//! Whether the rerank floor fits the corpus at hand.
//!
//! The floor was measured on labelled pairs: hardly any pair below it is called a duplicate. On another corpus more may be. So
//! a sample of the candidates below the floor is reranked too, and if the duplicates among them are more than is accepted,
//! beyond chance, the floor moves down to where they end. The sample depends on the texts alone, so a run that finds the same
//! texts again has its scores.

use crate::hash::hash64;
use crate::mining::candidates::Candidate;
use crate::run::decision::{Rule, Scores};
use crate::text::key::TextKey;

/// The candidates below the floor are sampled in this many strata by cosine, each twice as large as the one above it: near the
/// floor duplicates are more likely.
const STRATA: u32 = 5;

/// Most pairs sampled from a stratum.
const MOST_SAMPLED: usize = 100;

/// Fewer show nothing.
const LEAST_SAMPLED: usize = 10;

/// The sample is at most this share of the pairs that are reranked anyway.
const MOST_COST: f64 = 0.05;

/// Share of a corpus' duplicates that may lie below the floor.
const ACCEPTED: f64 = 0.01;

/// A floor moves to a multiple of one hundredth.
const GRID: f32 = 100.0;

/// Standard deviations below the estimate: a lower bound that holds in 19 of 20 samples.
const CAUTION: f64 = 1.645;

/// Candidates of neighbouring cosines below the floor.
#[derive(Debug, PartialEq)]
pub struct Stratum {
    /// The lowest cosine among them.
    lowest: f32,
    /// How many they are.
    pairs: usize,
    /// Numbers of the sampled candidates.
    pub sample: Vec<u32>,
}

/// Draws the sample. `below` are the numbers of the candidates below the floor, the highest cosine first, and `reranked` is how
/// many pairs lie above it. Empty if the sample would say nothing or cost too much.
pub fn strata(candidates: &[Candidate], keys: &[TextKey], below: &[u32], reranked: usize) -> Vec<Stratum> {
    let each = ((reranked as f64 * MOST_COST) as usize / STRATA as usize).min(MOST_SAMPLED);
    if each < LEAST_SAMPLED || below.len() < each * STRATA as usize {
        return Vec::new();
    }
    let parts = (1 << STRATA) - 1;
    let end = |stratum: u32| below.len() * ((1 << stratum) - 1) / parts;
    let drawn = |pairs: &[u32]| {
        let hash = |at: u32| {
            let Candidate { a, b, .. } = candidates[at as usize];
            hash64(&[*keys[a as usize].bytes(), *keys[b as usize].bytes()].concat())
        };
        let mut hashed: Vec<(u64, u32)> = pairs.iter().map(|&at| (hash(at), at)).collect();
        hashed.sort_unstable();
        hashed.into_iter().take(each).map(|(_, at)| at).collect()
    };
    let stratum = |number: u32| {
        let pairs = &below[end(number)..end(number + 1)];
        let lowest = pairs.last().map_or(1.0, |&at| candidates[at as usize].cosine);
        Stratum { lowest, pairs: pairs.len(), sample: drawn(pairs) }
    };
    (0..STRATA).map(stratum).collect()
}

/// What the sample says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Audit {
    /// Pairs reranked for it.
    pub sampled: usize,
    /// Estimated duplicates below the floor.
    pub lost: f64,
    /// Their share of all duplicates.
    pub share: f64,
    /// A lower floor that keeps nearly all of them; `None` if the floor fits.
    pub lower: Option<f32>,
}

/// Judges the floor by the scores of the sample, stratum by stratum, and by how many pairs above it are called duplicates.
pub fn audit(
    rule: &Rule,
    candidates: &[Candidate],
    strata: &[Stratum],
    scores: &[Scores],
    called_above: usize,
) -> Audit {
    let mut no_floor = rule.clone();
    no_floor.calibrated.iter_mut().for_each(|decision| decision.rerank_floor = None);
    let mut scores = scores.iter();
    let called = |stratum: &Stratum| {
        let is_called = |(&at, &scores): (&u32, &Scores)| {
            no_floor.decide(candidates[at as usize].cosine, scores).is_duplicate == Some(true)
        };
        stratum.sample.iter().zip(scores.by_ref()).filter(|&scored| is_called(scored)).count()
    };
    let called: Vec<usize> = strata.iter().map(called).collect();
    judge(strata, &called, called_above)
}

/// Judges the floor by how many of each stratum's sample are called duplicates, and by how many pairs above it are.
fn judge(strata: &[Stratum], called: &[usize], called_above: usize) -> Audit {
    let per_pair = |stratum: &Stratum| stratum.pairs as f64 / stratum.sample.len().max(1) as f64;
    let estimates = strata.iter().zip(called).map(|(stratum, &called)| per_pair(stratum) * called as f64);
    let lost: f64 = estimates.sum();
    let bound = |(stratum, &called): (&Stratum, &usize)| {
        let called = called as f64;
        per_pair(stratum) * (called - CAUTION * called.sqrt()).max(0.0)
    };
    let bounds: Vec<f64> = strata.iter().zip(called).map(bound).collect();
    let sure: f64 = bounds.iter().sum();
    let accepted = ACCEPTED * (called_above as f64 + sure);
    let mut left = sure;
    let mut lower = None;
    for (stratum, bound) in strata.iter().zip(bounds) {
        if left <= accepted {
            break;
        }
        left -= bound;
        // on a grid, so that a few new questions do not move it
        lower = Some((stratum.lowest * GRID).floor() / GRID);
    }
    Audit {
        sampled: strata.iter().map(|stratum| stratum.sample.len()).sum(),
        lost,
        share: lost / (lost + called_above as f64).max(1.0),
        lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::normalise::normalise;

    fn stratum(lowest: f32, pairs: usize) -> Stratum {
        Stratum { lowest, pairs, sample: vec![0; 100] }
    }

    #[test]
    fn strata_double_and_the_sample_does_not_depend_on_the_order() {
        let keys: Vec<TextKey> = (0..500).map(|n| TextKey::of(&normalise(&format!("text {n}")))).collect();
        let pair = |n: u32| Candidate { a: n % 499, b: 499, cosine: 0.8 - n as f32 / 10_000.0 };
        let candidates: Vec<Candidate> = (0..3100).map(pair).collect();
        let below: Vec<u32> = (0..3100).collect();
        let strata_of = |reranked| strata(&candidates, &keys, &below, reranked);
        let all = strata_of(2000);
        assert_eq!(all.iter().map(|s| s.pairs).collect::<Vec<_>>(), [100, 200, 400, 800, 1600]);
        assert!(all.iter().all(|stratum| stratum.sample.len() == 20));
        assert!((all[0].lowest - 0.7901).abs() < 1e-6 && (all[4].lowest - 0.4901).abs() < 1e-6);
        assert_eq!(all, strata_of(2000));
        assert_eq!(strata_of(500), [], "five pairs a stratum show nothing");
        assert_eq!(strata(&candidates, &keys, &below[..99], 2000), []);
    }

    #[test]
    fn the_floor_moves_to_where_the_duplicates_end() {
        let strata = [stratum(0.82, 1000), stratum(0.8, 2000), stratum(0.76, 4000), stratum(0.7, 8000)];
        // 300 + 200 of 10,500: what chance allows is not enough in the third
        let audit = judge(&strata, &[30, 10, 1, 0], 10_000);
        assert_eq!((audit.sampled, audit.lost, audit.lower), (400, 540.0, Some(0.82)));
        assert!((audit.share - 540.0 / 10_540.0).abs() < 1e-9);
        assert_eq!(judge(&strata, &[30, 20, 1, 0], 10_000).lower, Some(0.8));
        assert_eq!(judge(&strata, &[3, 1, 0, 0], 10_000).lower, None);
        assert_eq!(judge(&strata, &[0, 0, 0, 2], 1000).lower, None, "two of a hundred may be chance");
        assert_eq!(judge(&[], &[], 0).lower, None);
    }
}
