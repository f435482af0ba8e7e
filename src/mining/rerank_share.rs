//! Which pairs the cross-encoder is asked about, if not all: those whose verdict can change a cluster.
//!
//! In a large corpus most pairs lie between two groups of similar questions, and one answer settles them all: if the
//! cross-encoder rules one pair out, no other pair can join the two groups. So pairs are asked in rounds. Each round
//! clusters the texts with the answers so far; a pair without an answer has the mean probability of the pairs with its cosine.
//! Then a pair is worth the probability that its answer differs from what the clusters say: that it is a duplicate, if it
//! lies between two clusters, or that it is none, if it lies inside one. Between two clusters only the best pair is asked
//! in a round, and none once a pair between them is ruled out, unless the last round has calls to spare.
//!
//! The choice depends on candidates and scores alone, so a run that finds the same candidates again chooses the same pairs.
//! BENCHMARKS.md compares the clusters with those of all pairs.

use std::collections::HashSet;

use rayon::slice::ParallelSliceMut;

use crate::calibration::by_cosine::ByCosine;
use crate::clustering::{Algorithm, Edge, Graph, cluster};
use crate::hash::hash64;
use crate::mining::candidates::Candidate;
use crate::run::decision::{Rule, Scores};
use crate::text::key::TextKey;

/// Share of the pairs that is asked without `--rerank-share`.
const DEFAULT: f64 = 0.2;

/// So many pairs are asked anyway without it: they take a minute or two.
const ALWAYS: usize = 50_000;

/// Fewer answers say nothing of the other pairs.
const LEAST: usize = 500;

/// Rounds after the sample.
const ROUNDS: usize = 8;

/// One in so many of the asked pairs is drawn by chance, before the rounds: they show what a cosine means in this corpus.
const SAMPLED: usize = 10;

/// How many of `pairs` pairs are asked with this `--rerank-share`.
pub fn count(pairs: usize, share: Option<f64>) -> usize {
    let of = |share: f64| (share * pairs as f64).ceil() as usize;
    share.map_or(of(DEFAULT).max(ALWAYS), |share| of(share).max(LEAST)).min(pairs)
}

/// The pairs of a run, and which of them it asks about.
pub struct Selection<'a> {
    candidates: &'a [Candidate],
    rule: &'a Rule,
    algorithm: Algorithm,
    /// Of each text, for ties.
    keys: Vec<u64>,
    /// Numbers of the candidates that may be asked about.
    open: Vec<u32>,
    /// Candidates that are still to be asked about, and the rounds for them.
    left: usize,
    rounds: usize,
}

impl<'a> Selection<'a> {
    /// `open` are the numbers of the candidates to choose from, `count` how many are chosen.
    pub fn new(
        candidates: &'a [Candidate],
        open: Vec<u32>,
        count: usize,
        keys: &[TextKey],
        (rule, algorithm): (&'a Rule, Algorithm),
    ) -> Self {
        let keys = keys.iter().map(|key| hash64(key.bytes())).collect();
        Self { candidates, rule, algorithm, keys, open, left: count, rounds: ROUNDS + 1 }
    }

    /// The next candidates to ask about; `None` when the choice is complete. `scores` are those so far, by candidate.
    pub fn next(&mut self, scores: &[Scores]) -> Option<Vec<u32>> {
        while let Some(rounds) = self.rounds.checked_sub(1) {
            let is_sample = self.rounds > ROUNDS;
            self.rounds = rounds;
            let mut chosen = match is_sample {
                true => self.sample(self.left / SAMPLED),
                false => self.round(scores, self.left / (rounds + 1)),
            };
            if !chosen.is_empty() {
                // in the order of the candidates
                chosen.sort_unstable();
                self.left -= chosen.len();
                self.open.retain(|at| chosen.binary_search(at).is_err());
                return Some(chosen);
            }
        }
        None
    }

    /// What stands for the probability of a pair without a score.
    pub fn unasked(&self, scores: &[Scores]) -> Option<ByCosine> {
        let answered = self.answered(scores).map(|(candidate, probability)| (candidate.cosine, probability));
        ByCosine::fit(answered)
    }

    /// Candidates with a score, and their probability.
    fn answered(&self, scores: &[Scores]) -> impl Iterator<Item = (&Candidate, f32)> {
        let scored = self.candidates.iter().zip(scores).filter(|(_, scores)| scores.logit().is_some());
        scored.filter_map(|(candidate, scores)| {
            Some((candidate, self.rule.decide(candidate.cosine, *scores).probability?))
        })
    }

    /// A sample that depends on the texts alone, not on how many others there are.
    fn sample(&self, count: usize) -> Vec<u32> {
        let hash = |at: u32| {
            let Candidate { a, b, .. } = self.candidates[at as usize];
            hash64(&[self.keys[a as usize].to_le_bytes(), self.keys[b as usize].to_le_bytes()].concat())
        };
        let mut hashed: Vec<(u64, u32)> = self.open.iter().map(|&at| (hash(at), at)).collect();
        hashed.par_sort_unstable();
        hashed.into_iter().take(count).map(|(_, at)| at).collect()
    }

    /// The `count` pairs that are worth most, at most one between two clusters, and none between two that are ruled apart. The
    /// last round takes of all pairs what is left.
    fn round(&self, scores: &[Scores], count: usize) -> Vec<u32> {
        if count == 0 || self.open.is_empty() {
            return Vec::new();
        }
        let is_last = self.rounds == 0;
        let threshold = self.rule.threshold;
        let is_duplicate = |(candidate, p): (&Candidate, f32)| (candidate.cosine, f32::from(p >= threshold));
        let duplicates = ByCosine::fit(self.answered(scores).map(is_duplicate));
        let cluster_of = self.clusters(scores);
        let clusters = |at: u32| {
            let Candidate { a, b, .. } = self.candidates[at as usize];
            let (a, b) = (cluster_of[a as usize], cluster_of[b as usize]);
            (a.min(b), a.max(b))
        };
        let apart = self.ruled_out(scores, &cluster_of);
        let worth = |at: u32| {
            if apart.contains(&clusters(at)) {
                return 0.0;
            }
            let share = duplicates.as_ref().map_or(0.5, |line| line.at(self.candidates[at as usize].cosine));
            let (a, b) = clusters(at);
            if a == b { 1.0 - share } else { share }
        };
        let possible = self.open.iter().filter(|&&at| is_last || !apart.contains(&clusters(at)));
        let mut ranked: Vec<(f32, u32)> = possible.map(|&at| (worth(at), at)).collect();
        ranked.par_sort_unstable_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        let mut met = HashSet::new();
        let mut is_first = |at: u32| {
            let (a, b) = clusters(at);
            a == b || met.insert((a, b))
        };
        let numbers = ranked.into_iter().map(|(_, at)| at);
        numbers.filter(|&at| is_last || is_first(at)).take(count).collect()
    }

    /// Text → its cluster with the answers so far.
    fn clusters(&self, scores: &[Scores]) -> Vec<u32> {
        let rule = Rule { unasked: self.unasked(scores), ..self.rule.clone() };
        let edges = self.candidates.iter().zip(scores).filter_map(|(candidate, scores)| {
            let probability = rule.decide(candidate.cosine, *scores).probability?;
            Some(Edge { a: candidate.a, b: candidate.b, probability })
        });
        let edges: Vec<Edge> = edges.collect();
        let (threshold, ruled_out) = (rule.threshold, rule.ruled_out());
        let graph = Graph { nodes: self.keys.len(), edges: &edges, threshold, ruled_out, keys: &self.keys };
        cluster(&graph, self.algorithm).cluster_of
    }

    /// Pairs of clusters that an answer keeps apart.
    fn ruled_out(&self, scores: &[Scores], cluster_of: &[u32]) -> HashSet<(u32, u32)> {
        if !self.algorithm.rules_pairs_out() {
            return HashSet::new();
        }
        let low = self.answered(scores).filter(|(_, probability)| *probability < self.rule.ruled_out());
        let pairs = low.map(|(pair, _)| (cluster_of[pair.a as usize], cluster_of[pair.b as usize]));
        pairs.filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibrator;
    use crate::calibration::decision::Decision;
    use crate::text::normalise::normalise;

    fn rule() -> Rule {
        let calibrator = Calibrator::Platt { slope: 1.0, intercept: 0.0 };
        let decision =
            Decision { cosine_weight: 0.0, calibrator, threshold: 0.5, rerank_floor: None, rerank_ceiling: None };
        Rule { threshold: 0.5, swap_margin: 0.0, calibrated: Some(decision), unasked: None }
    }

    /// Texts in groups of `size`. Pairs within a group have a cosine of 0.9 and are duplicates, those between groups have 0.85 and
    /// are none.
    fn groups(groups: u32, size: u32) -> (Vec<Candidate>, Vec<TextKey>, impl Fn(&Candidate) -> Scores) {
        let texts = groups * size;
        let pairs = (0..texts).flat_map(|a| (a + 1..texts).map(move |b| (a, b)));
        let cosine = move |a: u32, b: u32| if a / size == b / size { 0.9 } else { 0.85 };
        let candidates = pairs.map(|(a, b)| Candidate { a, b, cosine: cosine(a, b) }).collect();
        let keys = (0..texts).map(|n| TextKey::of(&normalise(&format!("text {n}")))).collect();
        let answer = move |pair: &Candidate| Scores {
            logit_ab: Some(if pair.a / size == pair.b / size { 3.0 } else { -5.0 }),
            logit_ba: None,
        };
        (candidates, keys, answer)
    }

    /// Asks until the choice is complete.
    fn ask(count: usize, groups: &(Vec<Candidate>, Vec<TextKey>, impl Fn(&Candidate) -> Scores)) -> Vec<Scores> {
        ask_with(Algorithm::Cohesive, count, groups)
    }

    fn ask_with(
        algorithm: Algorithm,
        count: usize,
        groups: &(Vec<Candidate>, Vec<TextKey>, impl Fn(&Candidate) -> Scores),
    ) -> Vec<Scores> {
        let (candidates, keys, answer) = groups;
        let (rule, mut scores) = (rule(), vec![Scores::default(); candidates.len()]);
        let open = (0..candidates.len() as u32).collect();
        let mut selection = Selection::new(candidates, open, count, keys, (&rule, algorithm));
        while let Some(numbers) = selection.next(&scores) {
            for at in numbers {
                assert_eq!(scores[at as usize], Scores::default(), "asked twice");
                scores[at as usize] = answer(&candidates[at as usize]);
            }
        }
        scores
    }

    #[test]
    fn pairs_between_clusters_that_are_ruled_apart_are_not_asked() {
        let given = groups(8, 6);
        let scores = ask(200, &given);
        let asked = |is_inside: bool| {
            let pairs = given.0.iter().zip(&scores).filter(|(_, scores)| scores.logit().is_some());
            pairs.filter(|(pair, _)| (pair.a / 6 == pair.b / 6) == is_inside).count()
        };
        // of 1,008 pairs between the groups few settle that they are apart; so all 120 inside are asked
        assert_eq!((asked(true), asked(false)), (120, 80));
        let met: HashSet<(u32, u32)> = given
            .0
            .iter()
            .zip(&scores)
            .filter(|(_, scores)| scores.logit().is_some())
            .map(|(pair, _)| (pair.a / 6, pair.b / 6))
            .collect();
        assert_eq!(met.len(), 8 + 28, "every pair of groups is asked about");
        assert_eq!(ask(200, &given), scores, "the same choice again");
    }

    #[test]
    fn every_algorithm_gets_its_share() {
        for algorithm in [Algorithm::Star, Algorithm::Components] {
            let scores = ask_with(algorithm, 100, &groups(5, 5));
            assert_eq!(scores.iter().filter(|scores| scores.logit().is_some()).count(), 100, "{algorithm:?}");
        }
    }

    #[test]
    fn a_small_corpus_is_asked_about_whole_and_a_named_share_is_exact() {
        assert_eq!([count(500, None), count(60_000, None), count(1_000_000, None)], [500, 50_000, 200_000]);
        assert_eq!([count(9000, Some(0.3)), count(9000, Some(1.0)), count(9000, Some(0.01))], [2700, 9000, 500]);
        for asked in [1, 7, 30, 190] {
            let scores = ask(asked, &groups(4, 5));
            assert_eq!(scores.iter().filter(|scores| scores.logit().is_some()).count(), asked);
        }
    }

    #[test]
    fn a_pair_that_was_not_asked_has_the_mean_of_its_cosine() {
        let given = groups(4, 5);
        let scores = ask(100, &given);
        let rule = rule();
        let selection = Selection::new(&given.0, Vec::new(), 0, &given.1, (&rule, Algorithm::Cohesive));
        let unasked = selection.unasked(&scores).unwrap();
        assert!(unasked.at(0.9) > 0.9 && unasked.at(0.85) < 0.1, "{unasked:?}");
        let rule = Rule { unasked: Some(unasked), ..rule };
        assert_eq!(rule.decide(0.9, Scores::default()).is_duplicate, Some(true));
        assert_eq!(rule.decide(0.85, Scores::default()).is_duplicate, Some(false));
    }
}
