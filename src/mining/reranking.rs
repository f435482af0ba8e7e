//! The rerank stage over its shards, within its budget.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::calibration::decision::Decision;
use crate::device::Devices;
use crate::executor::replicas::Replicas;
use crate::mining::artifact::Workspace;
use crate::mining::candidates::Candidate;
use crate::mining::log::Log;
use crate::mining::options::Budget;
use crate::mining::plan::Plan;
use crate::mining::rerank::{self, Order, SHARD_PAIRS, Scores};
use crate::models::cross_encoder::{self, CrossEncoder};
use crate::progress::{Progress, Task, readable};
use crate::tables::questions::Texts;
use crate::tables::shards::{ShardColumn, ShardFolder};

/// Scores in the order of the candidates, and what they cost.
pub struct Reranked {
    pub scores: Vec<Scores>,
    pub record: Record,
    pub cached: bool,
}

/// What the stage records beside its scores.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Record {
    /// Candidates scored in at least one order.
    pub reranked: usize,
    /// Of these, scored in both.
    pub both_orders: usize,
    /// Calls whose pair was longer than the model's limit and lost a tail.
    pub truncated: usize,
}

/// From here on the cross-encoder takes long enough on a processor to say how it can be bounded.
const MANY_PAIRS: usize = 100_000;

/// Runs or resumes the stage; without a cross-encoder every score is absent.
pub fn run(
    workspace: &Workspace,
    plan: &Plan,
    texts: &Texts,
    candidates: &[Candidate],
    devices: &Devices,
    progress: &Progress,
) -> Result<Reranked> {
    let mut scores = vec![Scores::default(); candidates.len()];
    let (Some((folder, _)), Some(decision)) = (&plan.cross_encoder, &plan.decision) else {
        return Ok(Reranked { scores, record: Record::default(), cached: false });
    };
    let order = rerank::promising_first(candidates);
    let done: Option<Record> = workspace.done(&plan.stages.rerank);
    let started = Instant::now();
    let most = match (done, plan.options.rerank_budget) {
        // a time budget ended where it ended: the same run again has the same pairs
        (Some(record), Some(Budget::Time(_))) => record.reranked,
        (_, Some(Budget::Pairs(pairs))) => pairs,
        (_, Some(Budget::Time(_)) | None) => usize::MAX,
    };
    let asked = asked(candidates, Some(decision));
    let pairs = most.min(asked);
    if plan.options.rerank_budget.is_none() && done.is_none() && pairs >= MANY_PAIRS {
        progress.say(&format!(
            "rerank     {} pairs, the most promising first; --rerank-budget 30m leaves the rest undecided, --cross-encoder \
             none lets the cosine decide",
            readable(pairs)
        ));
    }
    let task = progress.task("rerank", "pairs", pairs);
    let mut scorer = Scorer { plan, folder, devices, texts, task: &task, progress, models: None, truncated: 0 };
    let mut in_ab = ShardFolder::open(workspace.folder(&plan.stages.rerank_ab));
    let mut in_ba = ShardFolder::open(workspace.folder(&plan.stages.rerank_ba));
    let mut record = Record::default();
    for (index, shard) in order[..pairs].chunks(SHARD_PAIRS).enumerate() {
        if done.is_none()
            && let Some(Budget::Time(time)) = plan.options.rerank_budget
            && started.elapsed() >= time
        {
            break;
        }
        let of = |numbers: &[u32]| -> Vec<Candidate> { numbers.iter().map(|&at| candidates[at as usize]).collect() };
        let first = scorer.logits(&mut in_ab, index, &of(shard), Order::Ab)?;
        for (&at, &logit) in shard.iter().zip(&first) {
            scores[at as usize].logit_ab = Some(logit);
        }
        let open: Vec<u32> = shard
            .iter()
            .zip(&first)
            .filter(|&(&at, &logit)| {
                let cosine = f64::from(candidates[at as usize].cosine);
                decision.is_open(f64::from(logit), cosine, f64::from(plan.options.second_order_margin))
            })
            .map(|(&at, _)| at)
            .collect();
        let second = scorer.logits(&mut in_ba, index, &of(&open), Order::Ba)?;
        for (&at, &logit) in open.iter().zip(&second) {
            scores[at as usize].logit_ba = Some(logit);
        }
        record.reranked += shard.len();
        record.both_orders += open.len();
        task.advance(shard.len())?;
    }
    record.truncated = scorer.truncated;
    if done.is_none() {
        workspace.finish(&plan.stages.rerank, &record)?;
    }
    Ok(Reranked { scores, record, cached: done.is_some() })
}

/// Candidates that the cross-encoder is worth asking about.
fn asked(candidates: &[Candidate], decision: Option<&Decision>) -> usize {
    candidates.iter().filter(|pair| decision.is_none_or(|decision| decision.asks(pair.cosine))).count()
}

/// Reads or computes the logits of shards; the models are loaded when the first is missing.
struct Scorer<'a> {
    plan: &'a Plan,
    folder: &'a crate::models::checkpoint::folder::ModelFolder,
    devices: &'a Devices,
    texts: &'a Texts,
    task: &'a Task,
    progress: &'a Progress,
    models: Option<Replicas<CrossEncoder>>,
    truncated: usize,
}

impl Scorer<'_> {
    /// Logits of a shard's candidates: what an earlier run scored is read, what it did not is added.
    fn logits(
        &mut self,
        shards: &mut ShardFolder,
        index: usize,
        candidates: &[Candidate],
        order: Order,
    ) -> Result<Vec<f32>> {
        let shard = shards.read(index, &|line| self.progress.warn(line))?;
        let mut known = stored(shard.as_deref().unwrap_or_default());
        let of = |pair: &Candidate| (pair.a, pair.b);
        let missing: Vec<Candidate> =
            candidates.iter().filter(|pair| !known.contains_key(&of(pair))).copied().collect();
        if !missing.is_empty() {
            if self.models.is_none() {
                self.progress.say(&format!("loading {}", self.folder.name()));
                self.models = Some(cross_encoder::replicas(self.folder, self.devices, self.plan.options.precision)?);
            }
            let models = self.models.as_ref().context("the cross-encoder is loaded")?;
            let (logits, truncated) = rerank::score(models, self.texts, &missing, order, self.task)?;
            known.extend(missing.iter().map(of).zip(logits.into_iter().zip(truncated)));
            let columns = vec![
                ("a", ShardColumn::U32(known.keys().map(|&(a, _)| a).collect())),
                ("b", ShardColumn::U32(known.keys().map(|&(_, b)| b).collect())),
                ("logit", ShardColumn::F32(known.values().map(|&(logit, _)| logit).collect())),
                ("truncated", ShardColumn::U32(known.values().map(|&(_, cut)| cut.into()).collect())),
            ];
            shards.write(index, columns)?;
        }
        let scored: Vec<(f32, bool)> = candidates.iter().map(|pair| known[&of(pair)]).collect();
        self.truncated += scored.iter().filter(|&&(_, cut)| cut).count();
        Ok(scored.into_iter().map(|(logit, _)| logit).collect())
    }
}

/// Logit of every pair that a shard holds, and whether the pair was cut at the model's limit.
fn stored(shard: &[(&'static str, ShardColumn)]) -> BTreeMap<(u32, u32), (f32, bool)> {
    let [
        (_, ShardColumn::U32(a)),
        (_, ShardColumn::U32(b)),
        (_, ShardColumn::F32(logit)),
        (_, ShardColumn::U32(truncated)),
    ] = shard
    else {
        return BTreeMap::new();
    };
    let scored = logit.iter().zip(truncated).map(|(&logit, &cut)| (logit, cut > 0));
    a.iter().copied().zip(b.iter().copied()).zip(scored).collect()
}

/// Records the stage, and warns of what the budget left out.
pub fn log(
    log: &mut Log,
    since: Instant,
    candidates: &[Candidate],
    (plan, reranked): (&Plan, &Reranked),
    progress: &Progress,
) {
    let record = reranked.record;
    let (all, asked) = (candidates.len(), asked(candidates, plan.decision.as_ref()));
    let left = asked - record.reranked;
    let dropped = [
        ("below_rerank_floor", (all - asked) as u64),
        ("not_reranked", left as u64),
        ("truncated", record.truncated as u64),
    ];
    log.stage("rerank", since.elapsed().as_secs_f64(), reranked.cached, [all, record.reranked], &dropped);
    log.count("rerank", "both_orders", record.both_orders as f64);
    if left > 0 {
        progress.warn(format!(
            "the rerank budget ended before {left} of {asked} candidates: they have no probability, are neither \
             duplicates nor not, and are left out of the clusters"
        ));
    }
}
