//! Candidates to logits with a cross-encoder, which reads both texts at once.
//!
//! A cross-encoder is not symmetric: one order alone can be 0.3 away from the other, so the mean logit of both decides.
//! But each call is expensive: the second order runs only if the first leaves the decision open, and pairs go from the most
//! promising down, so that a budget is spent where the duplicates are.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use crate::executor::replicas::Replicas;
use crate::executor::tuning::Tuning;
use crate::mining::candidates::Candidate;
use crate::mining::collapse::UniqueTexts;
use crate::mining::logits;
use crate::mining::plan::Plan;
use crate::mining::rerank_floor::{self, Audit};
use crate::mining::stored_scores::{Score, Stored, columns_of};
use crate::mining::workers::{Remote, Workers};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder::{self, CrossEncoder};
use crate::progress::{Progress, Task, readable};
use crate::run::decision::{Rule, Scores};
use crate::run::flags::Budget;
use crate::store::identity::Identity;
use crate::store::root::{Store, folder_of};
use crate::store::segments::Segments;
use crate::store::versions::Versions;
use crate::tables::segment_file::Column;
use crate::text::key::TextKey;
use crate::text::pairs::PairTokens;

/// Rows of a segment that is never merged again: 10 MB.
const FULL_SEGMENT: usize = 262_144;

/// From here on the cross-encoder takes long enough on a processor to say how it can be bounded.
const MANY_PAIRS: usize = 100_000;

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
    let is_scored = |at: u32| {
        let Candidate { a, b, cosine } = candidates[at as usize];
        let first = stored.find((a, b));
        first.is_some_and(|score| !plan.rule.is_open(score.logit, cosine) || stored.find((b, a)).is_some())
    };
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

/// Reads the scores that are stored, computes and stores the others within the budget. `run` names this run: one of the
/// same name that was killed had the same budget.
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
    let chosen = choose(candidates, plan, &stored, pending.as_ref());
    if let (Some(Budget::Pairs(_)), None) = (budget, &pending) {
        let last = chosen.unscored.last().map(|&at| candidates[at as usize].texts());
        versions.write_pending(&Pending { run: run.into(), last })?;
    }
    let pairs = chosen.scored.len() + chosen.unscored.len();
    if budget.is_none() && stored.scores.is_empty() && pairs >= MANY_PAIRS {
        progress.say(&format!(
            "rerank     {} pairs, the most promising first; --rerank-budget 30m leaves the rest for the next run, \
             --cross-encoder none lets the cosine decide",
            readable(pairs)
        ));
    }
    let task = progress.task("rerank", "pairs", pairs);
    task.resume(chosen.scored.len());
    let remote = workers.remote(store, plan, progress)?;
    let partition_pairs = match (&remote, budget) {
        (None, _) => Tuning::of_devices(&workers.devices).rerank_partition_pairs,
        (Some(remote), Some(Budget::Time(_))) => remote.pairs_of_a_wave(),
        (Some(_), _) => pairs.max(1),
    };
    let mut scorer = Scorer { plan, folder, workers, remote, unique, task: &task, progress, models: None };
    for (numbers, is_new) in [(&chosen.scored, false), (&chosen.unscored, true)] {
        for partition in numbers.chunks(partition_pairs) {
            if let (true, Some(Budget::Time(time))) = (is_new, budget)
                && started.elapsed() >= time
            {
                break;
            }
            let scored = scorer.partition(&mut stored, candidates, (partition, is_new))?;
            reranked.keep(partition, scored);
        }
    }
    if budget.is_none() && plan.options.rerank_floor.is_none() {
        scorer.check_floor(&mut stored, &mut reranked, candidates)?;
    }
    reranked.computed = stored.computed;
    reranked.segments = Some(stored.segments);
    reranked.seconds = started.elapsed().as_secs_f64();
    Ok(reranked)
}

/// Scores of some candidates, in their order, and what they cost.
struct Partition {
    scores: Vec<Scores>,
    /// Orders that were cut at the model's limit.
    truncated: usize,
}

/// Looks up or computes scores; the models are loaded when the first is missing.
struct Scorer<'a> {
    plan: &'a Plan,
    folder: &'a ModelFolder,
    workers: &'a Workers<'a>,
    remote: Option<Remote<'a>>,
    unique: &'a UniqueTexts,
    task: &'a Task,
    progress: &'a Progress,
    models: Option<(Replicas<CrossEncoder>, PairTokens)>,
}

impl Scorer<'_> {
    /// Scores the candidates of these numbers: in one order, and in the other if that leaves the decision open. Each counts
    /// in the task when it has its last score, unless it counts already.
    fn partition(
        &mut self,
        stored: &mut Stored,
        candidates: &[Candidate],
        (numbers, is_new): (&[u32], bool),
    ) -> Result<Partition> {
        let of = |numbers: &[u32]| -> Vec<(u32, u32)> {
            numbers.iter().map(|&at| candidates[at as usize].texts()).collect()
        };
        let rule = &self.plan.rule;
        let is_open = |at: u32, logit: f32| rule.is_open(logit, candidates[at as usize].cosine);
        let first = self.scores(stored, &of(numbers), &|at, logit| is_new && !is_open(numbers[at], logit))?;
        let mut scores: Vec<Scores> =
            first.iter().map(|score| Scores { logit_ab: Some(score.logit), logit_ba: None }).collect();
        let open: Vec<usize> = (0..numbers.len()).filter(|&at| is_open(numbers[at], first[at].logit)).collect();
        let numbers_of_open: Vec<u32> = open.iter().map(|&at| numbers[at]).collect();
        let swapped: Vec<(u32, u32)> = of(&numbers_of_open).into_iter().map(|(a, b)| (b, a)).collect();
        let second = self.scores(stored, &swapped, &|_, _| is_new)?;
        for (&at, score) in open.iter().zip(&second) {
            scores[at].logit_ba = Some(score.logit);
        }
        let truncated = first.iter().chain(&second).filter(|score| score.truncated).count();
        Ok(Partition { scores, truncated })
    }

    /// Checks the rerank floor on a sample; where it loses too many duplicates, reranks down to a lower one and says so.
    fn check_floor(&mut self, stored: &mut Stored, reranked: &mut Reranked, candidates: &[Candidate]) -> Result<()> {
        let rule = &self.plan.rule;
        let cosine = |at: u32| candidates[at as usize].cosine;
        let mut below = promising_first(candidates);
        below.retain(|&at| !rule.can_be_duplicate(cosine(at)));
        let strata = rerank_floor::strata(candidates, &self.unique.keys, &below, reranked.pairs);
        let sample: Vec<u32> = strata.iter().flat_map(|stratum| stratum.sample.iter().copied()).collect();
        if sample.is_empty() {
            return Ok(());
        }
        let verdicts = candidates.iter().zip(&reranked.scores).map(|(pair, scores)| rule.decide(pair.cosine, *scores));
        let called = verdicts.filter(|verdict| verdict.is_duplicate == Some(true)).count();
        let scored = self.partition(stored, candidates, (&sample, false))?.scores;
        let audit = rerank_floor::audit(rule, candidates, &strata, &scored, called);
        reranked.audit = Some(audit);
        let Some(lower) = audit.lower else { return Ok(()) };
        // what the sample has is not scored again
        let known: HashMap<u32, Scores> =
            sample.into_iter().zip(scored).filter(|(at, _)| cosine(*at) >= lower).collect();
        below.retain(|&at| cosine(at) >= lower);
        let floor = rule.calibrated.as_ref().and_then(|decision| decision.rerank_floor).unwrap_or_default();
        self.progress.warn(format!(
            "the rerank floor moves from {floor} to {lower}: a sample shows about {:.1} % of this corpus' duplicates below it; \
             {} more pairs are reranked; --rerank-floor {floor} keeps it",
            100.0 * audit.share,
            readable(below.len())
        ));
        below.retain(|at| !known.contains_key(at));
        let (numbers, scores): (Vec<u32>, Vec<Scores>) = known.into_iter().unzip();
        reranked.keep(&numbers, Partition { scores, truncated: 0 });
        let task = self.progress.task("rerank", "pairs", below.len());
        let size = match self.remote {
            Some(_) => below.len().max(1),
            None => Tuning::of_devices(&self.workers.devices).rerank_partition_pairs,
        };
        // the same models, with a bar of their own
        let mut scorer = Scorer { task: &task, remote: self.remote.take(), models: self.models.take(), ..*self };
        for partition in below.chunks(size) {
            let scored = scorer.partition(stored, candidates, (partition, true))?;
            reranked.keep(partition, scored);
        }
        Ok(())
    }

    /// One score a pair, in their order; `is_done` as in [`logits::score`].
    fn scores(
        &mut self,
        stored: &mut Stored,
        pairs: &[(u32, u32)],
        is_done: &dyn Fn(usize, f32) -> bool,
    ) -> Result<Vec<Score>> {
        let mut scores: Vec<Option<Score>> = pairs.iter().map(|&pair| stored.find(pair)).collect();
        let found = scores.iter().enumerate();
        self.task.advance(found.filter(|(at, score)| score.is_some_and(|score| is_done(*at, score.logit))).count())?;
        let missing: Vec<usize> = (0..pairs.len()).filter(|&at| scores[at].is_none()).collect();
        if !missing.is_empty() {
            let unique = self.unique;
            let text = |number: u32| unique.texts.get(number as usize);
            stored.computed += missing.len();
            if let (Some(remote), Some(identity)) = (&self.remote, &self.plan.scores) {
                let texts: Vec<(&str, &str)> =
                    missing.iter().map(|&at| (text(pairs[at].0), text(pairs[at].1))).collect();
                remote.score(&texts, self.task, (&mut stored.segments, &folder_of(identity)), |first, columns| {
                    let [_, _, logits, truncated] = columns_of(columns)?;
                    let (Column::Floats(logits), Column::Flags(truncated)) = (logits, truncated) else {
                        bail!("no scores")
                    };
                    let mut done = 0;
                    for (&at, (logit, truncated)) in missing[first..].iter().zip(logits.into_iter().zip(truncated)) {
                        scores[at] = Some(Score { pair: pairs[at], logit, truncated });
                        done += usize::from(is_done(at, logit));
                    }
                    self.task.advance(done)
                })?;
                return Ok(scores.into_iter().flatten().collect());
            }
            if self.models.is_none() {
                self.progress.say(&self.plan.loading(self.folder));
                let models =
                    cross_encoder::replicas(self.folder, &self.workers.devices, self.plan.precision, self.progress)?;
                let tokens = PairTokens::new(&models.first().tokenizer);
                self.models = Some((models, tokens));
            }
            let (models, tokens) = self.models.as_mut().context("the cross-encoder is loaded")?;
            let wanted: Vec<(u32, u32)> = missing.iter().map(|&at| pairs[at]).collect();
            let is_done = |at: usize, logit: f32| is_done(missing[at], logit);
            let computed = logits::score(models, tokens, (&wanted, &text), &is_done, self.task)?;
            for ((&at, &logit), &truncated) in missing.iter().zip(&computed.logits).zip(&computed.truncated) {
                scores[at] = Some(Score { pair: pairs[at], logit, truncated });
            }
            let key = |number: u32| self.unique.keys[number as usize];
            let keys: Vec<(TextKey, TextKey)> =
                missing.iter().map(|&at| (key(pairs[at].0), key(pairs[at].1))).collect();
            stored.segments.append(computed.into_columns(&keys))?;
        }
        Ok(scores.into_iter().flatten().collect())
    }
}

/// How many pairs a run would score, for `--plan`; a time budget may leave some of them.
pub fn missing(
    store: &Store,
    plan: &Plan,
    identity: &Identity,
    keys: &[TextKey],
    candidates: &[Candidate],
    progress: &Progress,
) -> Result<usize> {
    let stored = Stored::read(store.segments(identity)?, keys, keys, progress)?;
    Ok(choose(candidates, plan, &stored, None).unscored.len())
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
