//! Whether a calibration fits a corpus: what the cross-encoder says of pairs with the same cosine, there and here.
//!
//! Labelled pairs are no measure for it, because they are easier than mined ones. So the calibration keeps the mean log-odds of the
//! pairs of a whole run, by their cosine, and a later run compares its own with them. On corpora of questions the two
//! were 0.02 to 0.5 apart, on headlines, captions and news 1.2 to 1.9 (BENCHMARKS.md).

use serde::{Deserialize, Serialize};

/// Parts of the cosine, in each unit of it.
const GRID: f32 = 50.0;

/// Fewer pairs of a part show nothing.
const LEAST_OF_PART: u64 = 20;

/// Fewer compared pairs show nothing.
const LEAST_COMPARED: u64 = 300;

/// Log-odds that a corpus may be apart.
const ACCEPTED: f64 = 0.8;

/// Pairs of neighbouring cosines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The lowest cosine of the part, which is 0.02 wide.
    pub cosine: f32,
    /// The mean of the cross-encoder's log-odds.
    pub log_odds: f32,
    pub pairs: u64,
}

/// The pairs of a corpus, in the order of their cosines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Profile(pub Vec<Part>);

impl Profile {
    /// Averages the log-odds of scored pairs, given as cosine and log-odds.
    pub fn of(pairs: impl Iterator<Item = (f32, f32)>) -> Self {
        // cosines of −1 to 1
        let mut sums = vec![(0.0f64, 0u64); 2 * GRID as usize + 1];
        for (cosine, log_odds) in pairs {
            let (sum, count) = &mut sums[((cosine + 1.0) * GRID).clamp(0.0, 2.0 * GRID) as usize];
            (*sum, *count) = (*sum + f64::from(log_odds), *count + 1);
        }
        let part = |(at, (sum, pairs)): (usize, (f64, u64))| {
            let cosine = ((at as f32 / GRID - 1.0) * 100.0).round() / 100.0;
            let log_odds = (sum / pairs as f64 * 1e3).round() as f32 / 1e3;
            Part { cosine, log_odds, pairs }
        };
        Self(sums.into_iter().enumerate().filter(|(_, (_, pairs))| *pairs > 0).map(part).collect())
    }

    /// How far the pairs of a corpus are from these. `None` if too few can be compared.
    pub fn fit(&self, corpus: &Self) -> Option<Fit> {
        let enough = |part: &&Part| part.pairs >= LEAST_OF_PART;
        let compared = |found: &Part| {
            let expected = self.0.iter().filter(enough).find(|expected| expected.cosine == found.cosine)?;
            Some(Compared {
                cosine: found.cosine,
                expected: expected.log_odds,
                found: found.log_odds,
                pairs: found.pairs,
            })
        };
        let parts: Vec<Compared> = corpus.0.iter().filter(enough).filter_map(compared).collect();
        let pairs: u64 = parts.iter().map(|part| part.pairs).sum();
        let apart = |part: &Compared| f64::from((part.found - part.expected).abs()) * part.pairs as f64;
        let apart = parts.iter().map(apart).sum::<f64>() / pairs as f64;
        (pairs >= LEAST_COMPARED).then_some(Fit { apart, parts })
    }
}

/// A part in both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    pub cosine: f32,
    pub expected: f32,
    pub found: f32,
    pub pairs: u64,
}

/// How far a corpus is from that of the calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The mean difference of the log-odds of pairs with the same cosine.
    pub apart: f64,
    pub parts: Vec<Compared>,
}

impl Fit {
    /// Whether the calibration can be trusted here.
    pub fn is_good(&self) -> bool {
        self.apart <= ACCEPTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs at cosines of 0.7 to 0.9, whose log-odds are `slope · (cosine − 0.8) + shift`.
    fn pairs(slope: f32, shift: f32) -> Profile {
        let cosine = |n: u32| 0.7 + n as f32 / 5000.0;
        Profile::of((0..1000).map(|n| (cosine(n), slope * (cosine(n) - 0.8) + shift)))
    }

    #[test]
    fn a_corpus_is_as_far_away_as_its_log_odds() {
        let known = pairs(30.0, 0.0);
        let same = known.fit(&pairs(30.0, 0.1)).unwrap();
        assert!((same.apart - 0.1).abs() < 2e-3 && same.is_good(), "{}", same.apart);
        let shifted = known.fit(&pairs(30.0, -2.0)).unwrap();
        assert!((shifted.apart - 2.0).abs() < 2e-3 && !shifted.is_good());
        // too high at low cosines and too low at high ones: the mean of both is no fit
        let flat = known.fit(&pairs(0.0, 0.0)).unwrap();
        assert!((flat.apart - 1.5).abs() < 0.02, "{}", flat.apart);
        assert_eq!(same.parts.iter().map(|part| part.pairs).sum::<u64>(), 1000);
    }

    #[test]
    fn few_pairs_show_nothing() {
        let known = pairs(30.0, 0.0);
        assert_eq!(known.fit(&Profile::of((0..299).map(|_| (0.8, 5.0)))), None);
        assert_eq!(known.fit(&Profile::of((0..1000).map(|_| (0.3, 5.0)))), None);
        let read: Profile = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
        assert_eq!(read, known);
    }
}
