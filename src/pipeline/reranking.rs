//! The rerank stage over its shards, within its budget.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::models::cross_encoder::CrossEncoder;
use crate::pipeline::artifact::{Stage, Workspace};
use crate::pipeline::config::Budget;
use crate::pipeline::log::Log;
use crate::pipeline::plan::Plan;
use crate::progress::{Progress, Task};
use crate::stages::candidates::Candidate;
use crate::stages::rerank::{self, Order, SHARD_PAIRS, Scores};
use crate::tables::questions::Texts;
use crate::tables::shards::{self, ShardColumn};

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

/// Runs or resumes the stage; without a cross-encoder every score is absent.
pub fn run(
    workspace: &Workspace,
    plan: &Plan,
    texts: &Texts,
    candidates: &[Candidate],
    device: &Device,
    progress: &Progress,
) -> Result<Reranked> {
    let mut scores = vec![Scores::default(); candidates.len()];
    let Some((folder, _)) = &plan.cross_encoder else {
        return Ok(Reranked { scores, record: Record::default(), cached: false });
    };
    let order = rerank::promising_first(candidates);
    let done: Option<Record> = workspace.done(&plan.stages.rerank);
    let started = Instant::now();
    let pairs = match (done, plan.options.rerank_budget) {
        // a time budget ended where it ended: the same run again has the same pairs
        (Some(record), _) => record.reranked,
        (None, Some(Budget::Pairs(pairs))) => pairs.min(order.len()),
        (None, _) => order.len(),
    };
    let task = progress.task("rerank", "pairs", pairs);
    let mut scorer = Scorer { workspace, folder, device, texts, task: &task, progress, model: None, truncated: 0 };
    let mut record = Record::default();
    for (index, shard) in order[..pairs].chunks(SHARD_PAIRS).enumerate() {
        if done.is_none()
            && let Some(Budget::Time(time)) = plan.options.rerank_budget
            && started.elapsed() >= time
        {
            break;
        }
        let of = |numbers: &[u32]| -> Vec<Candidate> { numbers.iter().map(|&at| candidates[at as usize]).collect() };
        let first = scorer.logits(&plan.stages.rerank_ab, index, &of(shard), Order::Ab)?;
        for (&at, &logit) in shard.iter().zip(&first) {
            scores[at as usize].logit_ab = Some(logit);
        }
        let open: Vec<u32> = shard
            .iter()
            .zip(&first)
            .filter(|&(_, &logit)| rerank::is_open(logit, plan.threshold, plan.options.second_order_margin))
            .map(|(&at, _)| at)
            .collect();
        let second = scorer.logits(&plan.stages.rerank_ba, index, &of(&open), Order::Ba)?;
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

/// Reads or computes the logits of shards; the model is loaded when the first is missing.
struct Scorer<'a> {
    workspace: &'a Workspace,
    folder: &'a crate::models::folder::ModelFolder,
    device: &'a Device,
    texts: &'a Texts,
    task: &'a Task,
    progress: &'a Progress,
    model: Option<CrossEncoder>,
    truncated: usize,
}

impl Scorer<'_> {
    fn logits(&mut self, stage: &Stage, index: usize, candidates: &[Candidate], order: Order) -> Result<Vec<f32>> {
        let folder = self.workspace.folder(stage);
        let shard = shards::read(&folder, index, &|line| self.progress.warn(line))?;
        if let Some((logits, truncated)) = shard.as_deref().and_then(|shard| stored(shard, candidates)) {
            self.truncated += truncated;
            return Ok(logits);
        }
        if self.model.is_none() {
            self.progress.say(&format!("loading {}", self.folder.name()));
            self.model = Some(CrossEncoder::load(self.folder, self.device)?);
        }
        let model = self.model.as_ref().context("the cross-encoder is loaded")?;
        let (logits, truncated) = rerank::score(model, self.texts, candidates, order, self.task)?;
        self.truncated += truncated.iter().filter(|&&cut| cut).count();
        let columns = vec![
            ("a", ShardColumn::U32(candidates.iter().map(|pair| pair.a).collect())),
            ("b", ShardColumn::U32(candidates.iter().map(|pair| pair.b).collect())),
            ("logit", ShardColumn::F32(logits.clone())),
            ("truncated", ShardColumn::U32(truncated.into_iter().map(u32::from).collect())),
        ];
        shards::write(&folder, index, &columns)?;
        Ok(logits)
    }
}

/// Logits of a stored shard for `candidates` and how many were cut, when it has them all. A shard of another budget
/// may hold more.
fn stored(shard: &[(&'static str, ShardColumn)], candidates: &[Candidate]) -> Option<(Vec<f32>, usize)> {
    let [
        (_, ShardColumn::U32(a)),
        (_, ShardColumn::U32(b)),
        (_, ShardColumn::F32(logit)),
        (_, ShardColumn::U32(truncated)),
    ] = shard
    else {
        return None;
    };
    let row_of: HashMap<(u32, u32), usize> = a.iter().copied().zip(b.iter().copied()).zip(0..).collect();
    let rows: Vec<usize> =
        candidates.iter().map(|pair| row_of.get(&(pair.a, pair.b)).copied()).collect::<Option<_>>()?;
    let cut = rows.iter().filter(|&&row| truncated[row] > 0).count();
    Some((rows.into_iter().map(|row| logit[row]).collect(), cut))
}

/// Records the stage, and warns of what the budget left out.
pub fn log(log: &mut Log, since: Instant, candidates: usize, reranked: &Reranked, progress: &Progress) {
    let record = reranked.record;
    let left = candidates - record.reranked;
    let dropped = [("not_reranked", left as u64), ("truncated", record.truncated as u64)];
    log.stage("rerank", since.elapsed().as_secs_f64(), reranked.cached, [candidates, record.reranked], &dropped);
    log.count("rerank", "both_orders", record.both_orders as f64);
    if left > 0 {
        progress.warn(format!(
            "the rerank budget ended before {left} of {candidates} candidates: they have no probability, are neither \
             duplicates nor not, and are left out of the clusters"
        ));
    }
}
