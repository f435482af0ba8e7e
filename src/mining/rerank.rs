//! Candidates to logits with a cross-encoder, which reads both texts at once.
//!
//! A cross-encoder is not symmetric: one order alone can be 0.3 away from the other, so the mean logit of both decides.
//! But each call is expensive: the second order runs only if the first leaves the decision open, and pairs go from the most
//! promising down, so that a budget is spent where the duplicates are. Without a budget a large corpus asks about some pairs
//! alone (`rerank_share.rs`).

use std::collections::HashSet;
use std::time::Instant;

use anyhow::Result;
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use crate::calibration::by_cosine::ByCosine;
use crate::calibration::profile::Profile;
use crate::mining::candidates::Candidate;
use crate::mining::collapse::UniqueTexts;
use crate::mining::plan::Plan;
use crate::mining::rerank_floor::{self, Audit};
use crate::mining::rerank_share::{self, Selection};
use crate::mining::scorer::{Partition, Scorer};
use crate::mining::stored_scores::Stored;
use crate::mining::workers::Workers;
use crate::progress::{Progress, readable};
use crate::run::decision::{Rule, Scores};
use crate::run::flags::Budget;
use crate::store::identity::Identity;
use crate::store::root::Store;
use crate::store::segments::Segments;
use crate::store::versions::Versions;
use crate::text::key::TextKey;

/// Rows of a segment that is never merged again: 10 MB.
const FULL_SEGMENT: usize = 262_144;

/// Candidate numbers from the most promising (highest cosine) down, ties in order of the pair.
pub fn promising_first(candidates: &[Candidate]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..candidates.len() as u32).collect();
    order.par_sort_unstable_by(|&x, &y| {
        candidates[y as usize].cosine.total_cmp(&candidates[x as usize].cosine).then(x.cmp(&y))
    });
    order
}

/// Candidates that the cross-encoder is asked about, if the budget suffices.
pub fn to_rerank(candidates: &[Candidate], rule: &Rule) -> usize {
    candidates.iter().filter(|pair| rule.should_rerank(pair.cosine)).count()
}

/// Candidates that a run scores, by number, the most promising first.
#[derive(Debug, Default, PartialEq)]
struct Chosen {
    /// Those with all scores that they need from earlier runs: they cost nothing.
    scored: Vec<u32>,
    /// Those that lack one, within a budget of pairs; a time budget ends among them.
    unscored: Vec<u32>,
}

/// How far the budget of a run reaches, as long as the run has not ended: one that continues it after a kill has no second
/// budget.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    run: String,
    /// The last pair, by the numbers of its texts.
    last: Option<(u32, u32)>,
}

/// Chooses what to score. `pending` says how far the budget reaches if this run continues one that was killed.
fn choose(candidates: &[Candidate], plan: &Plan, stored: &Stored, pending: Option<&Pending>) -> Chosen {
    let order = promising_first(candidates);
    let is_scored = |at: u32| stored_scores(stored, candidates[at as usize], &plan.rule).is_some();
    let asked = order.iter().filter(|&&at| plan.rule.should_rerank(candidates[at as usize].cosine));
    let (scored, mut unscored): (Vec<u32>, Vec<u32>) = asked.partition(|&&at| is_scored(at));
    if let Some(Budget::Pairs(pairs)) = plan.options.rerank_budget {
        match pending {
            Some(Pending { last: None, .. }) => unscored.clear(),
            Some(Pending { last: Some(last), .. }) => {
                let place = order.iter().position(|&at| candidates[at as usize].texts() == *last).unwrap_or(0);
                let reached: HashSet<u32> =
                    order[..=place.min(order.len().saturating_sub(1))].iter().copied().collect();
                unscored.retain(|at| reached.contains(at));
            }
            None => unscored.truncate(pairs),
        }
    }
    Chosen { scored, unscored }
}

/// The stored scores of a candidate, if it has all that it needs.
fn stored_scores(stored: &Stored, Candidate { a, b, cosine }: Candidate, rule: &Rule) -> Option<Scores> {
    let logit_ab = stored.find((a, b))?.logit;
    let logit_ba = if rule.is_open(logit_ab, cosine) { Some(stored.find((b, a))?.logit) } else { None };
    Some(Scores { logit_ab: Some(logit_ab), logit_ba })
}

/// Scores in the order of the candidates, and what they cost.
#[derive(Default)]
pub struct Reranked {
    /// `logit_ab` is that of (a, b): the text with the smaller key first.
    pub scores: Vec<Scores>,
    /// Candidates scored in at least one order.
    pub pairs: usize,
    /// Of these, scored in both.
    pub both_orders: usize,
    /// Scored orders whose texts were longer than the model's limit.
    pub truncated: usize,
    /// Calls that had no stored score.
    pub computed: usize,
    pub seconds: f64,
    /// What a sample of the pairs below the rerank floor said; `None` if none was drawn.
    pub audit: Option<Audit>,
    /// What stands for the probability of pairs that were not asked about; `None` if all were.
    pub unasked: Option<ByCosine>,
    segments: Option<Segments>,
}

impl Reranked {
    /// Takes the scores of these candidates.
    fn keep(&mut self, numbers: &[u32], scored: Partition) {
        for (&at, scores) in numbers.iter().zip(scored.scores) {
            self.both_orders += usize::from(scores.logit_ba.is_some());
            self.scores[at as usize] = scores;
        }
        self.pairs += numbers.len();
        self.truncated += scored.truncated;
    }

    /// What the cross-encoder says of the candidates.
    pub fn profile(&self, candidates: &[Candidate]) -> Profile {
        let scored = candidates.iter().zip(&self.scores);
        Profile::of(scored.filter_map(|(candidate, scores)| Some((candidate.cosine, scores.logit()?))))
    }

    /// Hash of which candidates have a score.
    pub fn scored(&self, candidates: &[Candidate], keys: &[TextKey]) -> String {
        let mut hasher = blake3::Hasher::new();
        for (candidate, _) in candidates.iter().zip(&self.scores).filter(|(_, scores)| scores.logit().is_some()) {
            hasher.update(keys[candidate.a as usize].bytes());
            hasher.update(keys[candidate.b as usize].bytes());
        }
        hasher.finalize().to_hex()[..32].to_string()
    }

    /// Merges segments that have become many. `live` are the keys that some kept version needs.
    pub fn merge(&mut self, live: &[TextKey]) -> Result<()> {
        let Some(segments) = &mut self.segments else { return Ok(()) };
        segments.merge(FULL_SEGMENT, &|key| live.binary_search(key).is_ok())
    }
}

/// Reads the scores that are stored, computes and stores the others: of all pairs, within the budget, or of those that can
/// change clusters. `run` names this run: one of the same name that was killed had the same budget.
pub fn run(
    store: &Store,
    plan: &Plan,
    unique: &UniqueTexts,
    live: &[TextKey],
    (candidates, run): (&[Candidate], &str),
    workers: &Workers,
    progress: &Progress,
) -> Result<Reranked> {
    let started = Instant::now();
    let mut reranked = Reranked { scores: vec![Scores::default(); candidates.len()], ..Reranked::default() };
    let (Some(folder), Some(identity)) = (&plan.cross_encoder, &plan.scores) else { return Ok(reranked) };
    let budget = plan.options.rerank_budget;
    let versions = Versions::of(&plan.options.output);
    let mut stored = Stored::read(store.use_segments(identity)?, &unique.keys, live, progress)?;
    let pending = versions.pending::<Pending>().filter(|pending| pending.run == run);
    let all = to_rerank(candidates, &plan.rule);
    let count = asked_count(plan, all);
    // a share is chosen as its answers come
    let chosen = match count < all {
        true => Chosen::default(),
        false => choose(candidates, plan, &stored, pending.as_ref()),
    };
    if let (Some(Budget::Pairs(_)), None) = (budget, &pending) {
        let last = chosen.unscored.last().map(|&at| candidates[at as usize].texts());
        versions.write_pending(&Pending { run: run.into(), last })?;
    }
    if count < all {
        progress.say(&format!(
            "rerank     {} of {} pairs, those that can change a cluster; the cosine decides the others, \
             --rerank-share 100% reranks all",
            readable(count),
            readable(all)
        ));
    }
    let pairs = if count < all { count } else { chosen.scored.len() + chosen.unscored.len() };
    let task = progress.task("rerank", "pairs", pairs);
    let remote = workers.remote(store, plan, progress)?;
    let mut scorer = Scorer { plan, folder, workers, remote, unique, task: &task, progress, models: None };
    if count < all {
        ask_some(&mut scorer, &mut stored, &mut reranked, candidates, count)?;
    } else {
        task.resume(chosen.scored.len());
        let size = scorer.partition_pairs(pairs);
        for (numbers, is_new) in [(&chosen.scored, false), (&chosen.unscored, true)] {
            for partition in numbers.chunks(size) {
                if let (true, Some(Budget::Time(time))) = (is_new, budget)
                    && started.elapsed() >= time
                {
                    break;
                }
                let scored = scorer.partition(&mut stored, candidates, (partition, is_new))?;
                reranked.keep(partition, scored);
            }
        }
    }
    if budget.is_none() && plan.options.rerank_floor.is_none() {
        check_floor(scorer, &mut stored, &mut reranked, candidates)?;
    }
    reranked.computed = stored.computed;
    reranked.segments = Some(stored.segments);
    reranked.seconds = started.elapsed().as_secs_f64();
    Ok(reranked)
}

/// How many of so many pairs are asked about: all with a budget, which ends among them, and with a reference, whose clusters are
/// joined pair by pair; otherwise a share.
fn asked_count(plan: &Plan, pairs: usize) -> usize {
    match (plan.options.rerank_budget, &plan.options.reference) {
        (None, None) => rerank_share::count(pairs, plan.options.rerank_share.map(|share| share.0)),
        _ => pairs,
    }
}

/// Numbers of the candidates between rerank floor and ceiling that have no score.
fn unscored<'a>(candidates: &'a [Candidate], scores: &'a [Scores], rule: &'a Rule) -> impl Iterator<Item = u32> {
    let open = |at: &u32| rule.should_rerank(candidates[*at as usize].cosine) && scores[*at as usize].logit().is_none();
    (0..candidates.len() as u32).filter(open)
}

/// Asks about the `count` pairs that can change clusters.
fn ask_some(
    scorer: &mut Scorer,
    stored: &mut Stored,
    reranked: &mut Reranked,
    candidates: &[Candidate],
    count: usize,
) -> Result<()> {
    let (rule, algorithm) = (&scorer.plan.rule, scorer.plan.options.clustering);
    let open = unscored(candidates, &reranked.scores, rule).collect();
    let mut selection = Selection::new(candidates, open, count, &scorer.unique.keys, (rule, algorithm));
    let size = scorer.partition_pairs(count);
    while let Some(numbers) = selection.next(&reranked.scores) {
        for partition in numbers.chunks(size) {
            let scored = scorer.partition(stored, candidates, (partition, true))?;
            reranked.keep(partition, scored);
        }
    }
    reranked.unasked = selection.unasked(&reranked.scores);
    Ok(())
}

/// Checks the rerank floor on a sample; where it loses too many duplicates, reranks down to a lower one and says so.
fn check_floor(
    mut scorer: Scorer,
    stored: &mut Stored,
    reranked: &mut Reranked,
    candidates: &[Candidate],
) -> Result<()> {
    let (plan, progress) = (scorer.plan, scorer.progress);
    let cosine = |at: u32| candidates[at as usize].cosine;
    let mut below = promising_first(candidates);
    below.retain(|&at| !plan.rule.can_be_duplicate(cosine(at)));
    let strata = rerank_floor::strata(candidates, &scorer.unique.keys, &below, reranked.pairs);
    let sample: Vec<u32> = strata.iter().flat_map(|stratum| stratum.sample.iter().copied()).collect();
    if sample.is_empty() {
        return Ok(());
    }
    let rule = Rule { unasked: reranked.unasked.clone(), ..plan.rule.clone() };
    let verdicts = candidates.iter().zip(&reranked.scores).map(|(pair, scores)| rule.decide(pair.cosine, *scores));
    let called = verdicts.filter(|verdict| verdict.is_duplicate == Some(true)).count();
    let scored = scorer.partition(stored, candidates, (&sample, false))?.scores;
    let audit = rerank_floor::audit(&rule, candidates, &strata, &scored, called);
    reranked.audit = Some(audit);
    let Some(lower) = audit.lower else { return Ok(()) };
    // what the sample has is not scored again
    let known = sample.into_iter().zip(scored).filter(|(at, _)| cosine(*at) >= lower);
    let (numbers, scores): (Vec<u32>, Vec<Scores>) = known.unzip();
    reranked.keep(&numbers, Partition { scores, truncated: 0 });
    let floor = rule.calibrated.as_ref().and_then(|decision| decision.rerank_floor).unwrap_or_default();
    let lowered = plan.settled(Some(lower), None);
    let left = unscored(candidates, &reranked.scores, &lowered.rule).count();
    let all = reranked.pairs + left;
    let count = asked_count(plan, all).saturating_sub(reranked.pairs);
    progress.warn(format!(
        "the rerank floor moves from {floor} to {lower}: a sample shows about {:.1} % of this corpus' duplicates below it; \
         {} more pairs are reranked; --rerank-floor {floor} keeps it",
        100.0 * audit.share,
        readable(numbers.len() + count)
    ));
    let task = progress.task("rerank", "pairs", count);
    // the same models, with a bar of their own
    let mut scorer = Scorer { plan: &lowered, task: &task, ..scorer };
    if count < left {
        return ask_some(&mut scorer, stored, reranked, candidates, count);
    }
    below.retain(|&at| cosine(at) >= lower && reranked.scores[at as usize].logit().is_none());
    for partition in below.chunks(scorer.partition_pairs(count)) {
        let scored = scorer.partition(stored, candidates, (partition, true))?;
        reranked.keep(partition, scored);
    }
    Ok(())
}

/// How many pairs a run would score, for `--plan`; a time budget may leave some of them. Which pairs a share has depends on
/// the scores, so where some are missing the number is not exact.
pub fn missing(
    store: &Store,
    plan: &Plan,
    identity: &Identity,
    keys: &[TextKey],
    candidates: &[Candidate],
    progress: &Progress,
) -> Result<usize> {
    let stored = Stored::read(store.segments(identity)?, keys, keys, progress)?;
    let all = to_rerank(candidates, &plan.rule);
    let count = asked_count(plan, all);
    if count == all {
        return Ok(choose(candidates, plan, &stored, None).unscored.len());
    }
    let mut scores = vec![Scores::default(); candidates.len()];
    let open = unscored(candidates, &scores, &plan.rule).collect();
    let mut selection = Selection::new(candidates, open, count, keys, (&plan.rule, plan.options.clustering));
    let mut missing = 0;
    while let Some(numbers) = selection.next(&scores) {
        for at in numbers {
            match stored_scores(&stored, candidates[at as usize], &plan.rule) {
                Some(known) => scores[at as usize] = known,
                None => missing += 1,
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_promising_come_first_and_ties_keep_their_order() {
        let pair = |a, b, cosine| Candidate { a, b, cosine };
        let candidates = [pair(0, 1, 0.7), pair(0, 2, 0.9), pair(1, 2, 0.7)];
        assert_eq!(promising_first(&candidates), [1, 0, 2]);
    }
}
