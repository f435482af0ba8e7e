//! Known duplicates of a corpus, and where mining lost them.

use std::collections::{HashMap, HashSet};

use crate::clustering::union_find::UnionFind;

/// Most pairs of a closure: they take a few gigabytes.
const MOST_PAIRS: usize = 100_000_000;

/// What is known of a corpus of questions, numbered from 0.
#[derive(Debug)]
pub struct Gold {
    /// Known duplicates, each pair once with the lower number first, sorted.
    pub duplicates: Vec<(u32, u32)>,
    /// Question numbers that the labels mention, sorted: only for these is it known what they duplicate.
    pub mentioned: Vec<u32>,
    /// Contradictions in the labels: pairs that are labelled as different, but that a chain of duplicates connects.
    pub contradictions: u64,
}

impl Gold {
    /// From labelled pairs; with `closure` also what follows from them: a ~ b and b ~ c give a ~ c.
    /// The error names the size of a group whose pairs are too many.
    pub fn new(questions: usize, labelled: &[(u32, u32, bool)], closure: bool) -> Result<Self, String> {
        let mut sets = UnionFind::new(questions);
        let mut duplicates = HashSet::new();
        let mut mentioned: Vec<u32> = labelled.iter().flat_map(|&(a, b, _)| [a, b]).collect();
        mentioned.sort_unstable();
        mentioned.dedup();
        for &(a, b, _) in labelled.iter().filter(|pair| pair.2 && pair.0 != pair.1) {
            sets.join(a, b);
            duplicates.insert((a.min(b), a.max(b)));
        }
        if closure {
            let groups = groups(&mut sets, &mentioned);
            let pairs: usize = groups.iter().map(|group| group.len() * (group.len() - 1) / 2).sum();
            if pairs > MOST_PAIRS {
                let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
                return Err(format!("the labels connect up to {largest} questions, which makes {pairs} pairs"));
            }
            duplicates.extend(within(&groups));
        }
        let contradicts = |&&(a, b, label): &&(u32, u32, bool)| !label && a != b && sets.find(a) == sets.find(b);
        let contradictions = labelled.iter().filter(contradicts).count() as u64;
        let mut duplicates: Vec<_> = duplicates.into_iter().collect();
        duplicates.sort_unstable();
        Ok(Self { duplicates, mentioned, contradictions })
    }

    /// Whether two questions are known duplicates.
    pub fn has(&self, a: u32, b: u32) -> bool {
        self.duplicates.binary_search(&(a.min(b), a.max(b))).is_ok()
    }

    /// The gold cluster of every mentioned question, as a label.
    pub fn labels(&self, questions: usize) -> Vec<u32> {
        let mut sets = UnionFind::new(questions);
        self.duplicates.iter().for_each(|&(a, b)| sets.join(a, b));
        self.mentioned.iter().map(|&question| sets.find(question)).collect()
    }
}

fn groups(sets: &mut UnionFind, mentioned: &[u32]) -> Vec<Vec<u32>> {
    let mut rooted: Vec<(u32, u32)> = mentioned.iter().map(|&question| (sets.find(question), question)).collect();
    rooted.sort_unstable();
    rooted.chunk_by(|a, b| a.0 == b.0).map(|group| group.iter().map(|&(_, question)| question).collect()).collect()
}

fn within(groups: &[Vec<u32>]) -> impl Iterator<Item = (u32, u32)> + '_ {
    groups.iter().flat_map(|group| {
        group.iter().enumerate().flat_map(move |(at, &a)| group[at + 1..].iter().map(move |&b| (a, b)))
    })
}

/// What the labels say about the pairs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Coverage {
    pub pairs: u64,
    pub known_duplicates: u64,
    /// Both questions are labelled, but not as duplicates: the run or the labels are wrong.
    pub not_known: u64,
    /// The labels do not mention one of the questions.
    pub unlabelled: u64,
}

impl Coverage {
    /// Of the given pairs.
    pub fn of_pairs(gold: &Gold, pairs: impl Iterator<Item = (u32, u32)>) -> Self {
        let is_mentioned = |question: u32| gold.mentioned.binary_search(&question).is_ok();
        let mut coverage = Self::default();
        for (a, b) in pairs {
            coverage.pairs += 1;
            *match gold.has(a, b) {
                true => &mut coverage.known_duplicates,
                false if is_mentioned(a) && is_mentioned(b) => &mut coverage.not_known,
                false => &mut coverage.unlabelled,
            } += 1;
        }
        coverage
    }

    /// Of all pairs within clusters: `labels` names the cluster of every question.
    pub fn of_clusters(gold: &Gold, labels: &[u32]) -> Self {
        let label = |&question: &u32| labels[question as usize];
        let (pairs, labelled) = (pairs_within(labels.iter().copied()), pairs_within(gold.mentioned.iter().map(label)));
        let together = |&&(a, b): &&(u32, u32)| label(&a) == label(&b);
        let known_duplicates = gold.duplicates.iter().filter(together).count() as u64;
        Self { pairs, known_duplicates, not_known: labelled - known_duplicates, unlabelled: pairs - labelled }
    }
}

/// Number of pairs of items with the same label.
fn pairs_within(labels: impl Iterator<Item = u32>) -> u64 {
    let mut sizes: HashMap<u32, u64> = HashMap::new();
    labels.for_each(|label| *sizes.entry(label).or_default() += 1);
    sizes.into_values().map(|size| size * (size - 1) / 2).sum()
}

/// What became of a known duplicate pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In one cluster.
    Found,
    /// Called a duplicate, but its questions are in different clusters.
    LostByClustering,
    /// Its probability is below the threshold.
    LostByScore,
    /// A candidate whose cosine is below the rerank floor.
    LostByRerankFloor,
    /// A candidate that the rerank budget did not reach.
    LostByBudget,
    /// Its cosine is below the minimum cosine.
    LostByMinCosine,
    /// Above the minimum cosine, but not a candidate: not among the k nearest, or missed by the index.
    LostByIndex,
}

/// Counts of fates, in the order in which a run can lose a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Funnel {
    pub duplicates: u64,
    #[serde(rename = "lost_by_floor")]
    pub lost_by_min_cosine: u64,
    pub lost_by_index: u64,
    pub lost_by_rerank_floor: u64,
    pub lost_by_budget: u64,
    pub lost_by_score: u64,
    pub lost_by_clustering: u64,
    pub found: u64,
    /// Pairs among those found that only the clustering joined: they were lost before it.
    pub mended_by_clustering: u64,
}

impl Funnel {
    /// Counts a pair `times` times. It is `mended` if no stage before the clustering called it a duplicate.
    pub fn count(&mut self, fate: Fate, mended: bool, times: u64) {
        self.duplicates += times;
        *match fate {
            Fate::Found => &mut self.found,
            Fate::LostByClustering => &mut self.lost_by_clustering,
            Fate::LostByScore => &mut self.lost_by_score,
            Fate::LostByRerankFloor => &mut self.lost_by_rerank_floor,
            Fate::LostByBudget => &mut self.lost_by_budget,
            Fate::LostByMinCosine => &mut self.lost_by_min_cosine,
            Fate::LostByIndex => &mut self.lost_by_index,
        } += times;
        if mended && fate == Fate::Found {
            self.mended_by_clustering += times;
        }
    }

    /// The counts in their order, over all duplicates; `None` without any.
    pub fn shares(&self) -> [Option<f64>; 8] {
        [
            self.lost_by_min_cosine,
            self.lost_by_index,
            self.lost_by_rerank_floor,
            self.lost_by_budget,
            self.lost_by_score,
            self.lost_by_clustering,
            self.found,
            self.mended_by_clustering,
        ]
        .map(|pairs| (self.duplicates > 0).then(|| pairs as f64 / self.duplicates as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn closure_adds_what_follows_and_counts_what_contradicts() {
        let labelled = [(3, 1, true), (1, 5, true), (5, 3, false), (2, 4, false), (4, 4, true)];
        let plain = Gold::new(6, &labelled, false).unwrap();
        assert_eq!((plain.duplicates.as_slice(), plain.contradictions), ([(1, 3), (1, 5)].as_slice(), 1));
        let closed = Gold::new(6, &labelled, true).unwrap();
        assert_eq!(closed.duplicates, [(1, 3), (1, 5), (3, 5)]);
        assert_eq!(closed.mentioned, [1, 2, 3, 4, 5]);
        assert!(closed.has(5, 3) && !closed.has(2, 4));
        let labels = closed.labels(6);
        assert!(labels[0] == labels[2] && labels[2] == labels[4] && labels[1] != labels[3]);
    }

    proptest! {
        #[test]
        fn clusters_are_covered_as_their_pairs_are(
            labelled in prop::collection::vec((0_u32..12, 0_u32..12, any::<bool>()), 0..15),
            labels in prop::collection::vec(0_u32..5, 12),
        ) {
            let gold = Gold::new(12, &labelled, true).unwrap();
            let pairs = (0..12).flat_map(|b| (0..b).map(move |a| (a, b)));
            let together = pairs.filter(|&(a, b)| labels[a as usize] == labels[b as usize]);
            prop_assert_eq!(Coverage::of_clusters(&gold, &labels), Coverage::of_pairs(&gold, together));
        }

        #[test]
        fn closure_is_an_equivalence(pairs in prop::collection::vec((0_u32..12, 0_u32..12), 0..15)) {
            let labelled: Vec<_> = pairs.iter().map(|&(a, b)| (a, b, true)).collect();
            let gold = Gold::new(12, &labelled, true).unwrap();
            for &(a, b) in &gold.duplicates {
                for c in 0..12 {
                    prop_assert!(c == a || c == b || gold.has(a, c) == gold.has(b, c));
                }
            }
        }
    }
}
