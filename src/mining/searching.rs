//! The embed and candidates stages together: vectors are only wanted where candidates are not known yet.

use std::time::Instant;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::device::Devices;
use crate::executor::tuning::Tuning;
use crate::mining::artifact::Workspace;
use crate::mining::candidates::{self, Candidate};
use crate::mining::embedding::{self, Embedded};
use crate::mining::log::Log;
use crate::mining::plan::Plan;
use crate::progress::Progress;
use crate::search::Vectors;
use crate::search::audit::Recall;
use crate::search::engine::Engine;
use crate::search::tiles::Tiles;
use crate::tables::questions::Texts;
use crate::tables::shards::{ShardColumn, ShardFolder};

/// Candidates, and the vectors where they were needed for them or for `embeddings.parquet`.
pub struct Searched {
    pub candidates: Vec<Candidate>,
    pub embedded: Option<Embedded>,
}

/// Runs, resumes or reads both stages, and warns of what they left out.
pub fn run(
    workspace: &Workspace,
    plan: &Plan,
    texts: &Texts,
    devices: &Devices,
    log: &mut Log,
    progress: &Progress,
) -> Result<Searched> {
    let started = Instant::now();
    let stored = if plan.options.write_embeddings { None } else { stored(workspace, plan, progress)? };
    let (embedding, embedded, found) = match stored {
        Some((embedding, found)) => (embedding, None, found),
        None => {
            let embedded = embedding::run(workspace, plan, texts, devices, progress)?;
            let found = find(workspace, plan, &embedded, devices, progress)?;
            (embedded.record.clone(), Some(embedded), found)
        }
    };
    let embed_seconds = embedded.as_ref().map_or(0.0, |embedded| embedded.seconds);
    let embed_cached = embedded.as_ref().is_none_or(|embedded| embedded.cached);
    let count = texts.len();
    let noted = [("truncated", embedding.truncated as u64), ("unknown", embedding.unknown as u64)];
    log.stage("embed", embed_seconds, embed_cached, [count, count], &noted);
    let seconds = started.elapsed().as_secs_f64() - embed_seconds;
    log_candidates(log, seconds, found.cached, [count, found.candidates.len()], &found.record);
    let broken = found.record.unusable_vectors.saturating_sub(embedding.unknown);
    if broken > 0 && broken + embedding.unknown == count {
        let name = plan.bi_encoder.name();
        bail!("{name}: the vectors of all {count} texts are zero or not finite: its weights are damaged");
    }
    embedding.warn(&plan.bi_encoder.name(), progress);
    warn(plan, &found.record, broken, count, progress);
    let embedded = embedded.filter(|_| plan.options.write_embeddings);
    Ok(Searched { candidates: found.candidates, embedded })
}

struct Found {
    candidates: Vec<Candidate>,
    record: Record,
    cached: bool,
}

/// What the candidates stage records beside its pairs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Record {
    unusable_vectors: usize,
    below_floor: Option<u64>,
    full_lists: Option<usize>,
    recall_at_k: f64,
    recall_above_floor: f64,
}

/// What is left of an earlier run whose embed and candidates stages are both fresh: its vectors are not needed.
fn stored(workspace: &Workspace, plan: &Plan, progress: &Progress) -> Result<Option<(embedding::Record, Found)>> {
    let stages = (workspace.done(&plan.stages.embed), workspace.done(&plan.stages.candidates));
    let (Some(embedding), Some(record)) = stages else { return Ok(None) };
    Ok(load(workspace, plan, progress)?.map(|candidates| (embedding, Found { candidates, record, cached: true })))
}

fn load(workspace: &Workspace, plan: &Plan, progress: &Progress) -> Result<Option<Vec<Candidate>>> {
    let mut shards = ShardFolder::open(workspace.folder(&plan.stages.candidates));
    let shard = shards.read(0, &|line| progress.warn(line))?;
    let Some([(_, ShardColumn::U32(a)), (_, ShardColumn::U32(b)), (_, ShardColumn::F32(cosine))]) = shard.as_deref()
    else {
        workspace.unfinish(&plan.stages.candidates)?;
        return Ok(None);
    };
    let rows = a.iter().zip(b).zip(cosine);
    Ok(Some(rows.map(|((&a, &b), &cosine)| Candidate { a, b, cosine }).collect()))
}

fn find(
    workspace: &Workspace,
    plan: &Plan,
    embedded: &Embedded,
    devices: &Devices,
    progress: &Progress,
) -> Result<Found> {
    let stage = &plan.stages.candidates;
    if let Some(record) = workspace.done(stage)
        && let Some(candidates) = load(workspace, plan, progress)?
    {
        return Ok(Found { candidates, record, cached: true });
    }
    let vectors = Vectors { values: &embedded.values, width: embedded.width };
    let tiles = Tiles::on(devices, Tuning::of(devices.kind).search_tile_rows);
    let found = candidates::find(vectors, &plan.candidates_config(), &tiles, progress)?;
    let Recall { at_k, above_floor } = found.recall;
    let record = Record {
        unusable_vectors: found.unusable_vectors,
        below_floor: found.below_floor,
        full_lists: found.full_lists,
        recall_at_k: at_k,
        recall_above_floor: above_floor,
    };
    let shard = vec![
        ("a", ShardColumn::U32(found.pairs.iter().map(|pair| pair.a).collect())),
        ("b", ShardColumn::U32(found.pairs.iter().map(|pair| pair.b).collect())),
        ("cosine", ShardColumn::F32(found.pairs.iter().map(|pair| pair.cosine).collect())),
    ];
    ShardFolder::open(workspace.folder(stage)).write(0, shard)?;
    workspace.finish(stage, &record)?;
    Ok(Found { candidates: found.pairs, record, cached: false })
}

fn log_candidates(log: &mut Log, seconds: f64, cached: bool, rows: [usize; 2], record: &Record) {
    let mut dropped = vec![("unusable_vectors", record.unusable_vectors as u64)];
    dropped.extend(record.below_floor.map(|below| ("neighbours_below_floor", below)));
    dropped.extend(record.full_lists.map(|full| ("texts_with_more_than_k_above_floor", full as u64)));
    log.stage("candidates", seconds, cached, rows, &dropped);
    log.figure("candidates", "recall_at_k", record.recall_at_k, "share");
    log.figure("candidates", "recall_above_floor", record.recall_above_floor, "share");
}

fn warn(plan: &Plan, record: &Record, broken: usize, texts: usize, progress: &Progress) {
    if broken > 0 {
        progress.warn(format!("{broken} texts have a zero or non-finite vector: they get no candidates"));
    }
    if let Some(full) = record.full_lists.filter(|&full| full > 0) {
        progress.warn(format!(
            "{full} texts have more than {} neighbours above the floor {}: only the nearest became candidates; a larger \
             --top-k keeps more",
            plan.options.top_k, plan.floor
        ));
    }
    if record.recall_above_floor < plan.options.min_recall {
        let advice = match plan.options.engine.resolve(texts) {
            Engine::Hnsw => "raise --hnsw-ef-search, or use --index exact",
            Engine::Exact | Engine::Auto => "this should not happen with exact search: please report it",
        };
        progress.warn(format!(
            "the index found {:.2} % of the audited pairs above the floor, less than --min-recall {:.2} %: {advice}",
            100.0 * record.recall_above_floor,
            100.0 * plan.options.min_recall
        ));
    }
}
