//! One run from questions to files: read this first.
//!
//! [`mine`] is the loop. Stages compute, this folder knows files: it reads the input, keeps each stage's artifact
//! under its fingerprint ([`artifact`]), resumes what was stopped halfway ([`embedding`], [`reranking`]) and gives the
//! result files their names only when all of them are complete ([`outputs`]).

pub mod artifact;
pub mod config;
mod embedding;
mod input;
mod manifest;
mod outputs;
pub mod plan;
mod reranking;
mod summary;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::error::hint;
use crate::pipeline::artifact::Workspace;
use crate::pipeline::manifest::{Manifest, StageRecord};
use crate::pipeline::outputs::Scored;
use crate::pipeline::plan::Plan;
use crate::progress::Progress;
use crate::search::Vectors;
use crate::search::audit::Recall;
use crate::stages::candidates::{Candidate, Engine};
use crate::stages::{candidates, cluster, collapse};
use crate::tables::questions::{self, Columns, Questions, SkipReason};
use crate::tables::results::Metric;
use crate::tables::shards::{self, ShardColumn};

/// What the stages of a run leave behind besides their tables.
#[derive(Default)]
struct Log {
    records: Vec<StageRecord>,
    metrics: Vec<Metric>,
}

impl Log {
    /// Closes a stage: its record for the manifest, and its counts as metrics.
    fn stage(
        &mut self,
        stage: &'static str,
        seconds: f64,
        cached: bool,
        rows: [usize; 2],
        dropped: &[(&'static str, u64)],
    ) {
        self.count(stage, "rows_in", rows[0] as f64);
        self.count(stage, "rows_out", rows[1] as f64);
        for &(name, count) in dropped {
            self.count(stage, name, count as f64);
        }
        self.records.push(StageRecord {
            stage: stage.into(),
            seconds,
            cached,
            rows_in: rows[0] as u64,
            rows_out: rows[1] as u64,
            dropped: dropped.iter().map(|&(name, count)| (name.to_string(), count)).collect::<BTreeMap<_, _>>(),
        });
    }

    fn count(&mut self, stage: &'static str, metric: &'static str, value: f64) {
        self.metrics.push(Metric { stage, metric, value, unit: "rows" });
    }

    fn figure(&mut self, stage: &'static str, metric: &'static str, value: f64, unit: &'static str) {
        self.metrics.push(Metric { stage, metric, value, unit });
    }
}

/// Runs the pipeline and writes the results. `force` lets it replace a run with other options.
pub fn mine(plan: &Plan, force: bool, progress: &Progress) -> Result<()> {
    let started = jiff::Timestamp::now();
    outputs::check_folder(plan, force)?;
    let workspace = Workspace::open(&plan.options.output)?;
    let (device, device_name) = plan.options.device.open();
    let mut log = Log::default();

    let questions = read(plan, progress, &mut log)?;
    let since = Instant::now();
    let unique = collapse::collapse(&questions.texts);
    let copies = collapse::copies(&questions.texts, &unique);
    log.stage(
        "collapse",
        since.elapsed().as_secs_f64(),
        false,
        [questions.texts.len(), unique.texts.len()],
        &[("copies", copies.len() as u64)],
    );
    progress.check()?;

    let mut vectors = None;
    let since = Instant::now();
    let stored = if plan.options.write_embeddings { None } else { stored_candidates(&workspace, plan, progress)? };
    let (embedding, pairs, record, cached) = match stored {
        Some((embedding, pairs, record)) => (embedding, pairs, record, true),
        None => {
            let embedded = embedding::run(&workspace, plan, &unique.texts, &device, progress)?;
            let (pairs, record, cached) = find_candidates(&workspace, plan, &embedded, &device, progress)?;
            let embedding = embedded.record;
            vectors = Some(embedded);
            (embedding, pairs, record, cached)
        }
    };
    let embed_seconds = vectors.as_ref().map_or(0.0, |embedded| embedded.seconds);
    let texts = unique.texts.len();
    log.stage(
        "embed",
        embed_seconds,
        vectors.as_ref().is_none_or(|e| e.cached),
        [texts, texts],
        &[("truncated", embedding.truncated as u64)],
    );
    log_candidates(&mut log, since.elapsed().as_secs_f64() - embed_seconds, cached, [texts, pairs.len()], &record);
    warn_of_recall(plan, &record, unique.texts.len(), progress);

    let since = Instant::now();
    let scores = reranking::run(&workspace, plan, &unique.texts, &pairs, &device, progress)?;
    if plan.cross_encoder.is_some() {
        reranking::log(&mut log, since, pairs.len(), &scores, progress);
    }
    let since = Instant::now();
    let scored: Vec<Scored> = outputs::decide(&pairs, &scores.scores, plan.cross_encoder.is_some(), plan.threshold);
    let decided = scored.iter().map(|pair| (pair.candidate.a, pair.candidate.b, pair.probability));
    let (edges, clustering) = cluster::run(unique.texts.iter(), decided, plan.threshold, plan.options.clustering);
    let tables = outputs::assemble(&questions, &unique, &copies, &scored, &edges, &clustering, plan.threshold);
    log.stage("cluster", since.elapsed().as_secs_f64(), false, [edges.len(), tables.stats.len()], &[]);
    outputs::log(&mut log, &tables);
    progress.check()?;

    let since = Instant::now();
    let staging = outputs::write(&workspace, plan, &questions, &unique, &tables, vectors.as_ref(), &log.metrics)?;
    log.stage("write", since.elapsed().as_secs_f64(), false, [tables.pairs.len(), tables.pairs.len()], &[]);
    let manifest = Manifest::new(plan, log.records, started, device_name, progress.warnings());
    outputs::publish(&staging, &workspace, plan, &manifest)?;
    workspace.finish(&plan.stages.cluster, &manifest.run_id)?;
    let stages = &plan.stages;
    workspace.prune(&[
        &stages.embed,
        &stages.candidates,
        &stages.rerank_ab,
        &stages.rerank_ba,
        &stages.rerank,
        &stages.cluster,
    ])?;
    summary::print(plan, &questions, &tables, &manifest, progress);
    Ok(())
}

fn read(plan: &Plan, progress: &Progress, log: &mut Log) -> Result<Questions> {
    let since = Instant::now();
    let files: Vec<PathBuf> = plan.inputs.iter().map(|file| file.path.clone()).collect();
    let columns = Columns { text: plan.options.text_column.clone(), id: plan.options.id_column.clone() };
    let questions = questions::read(&files, &columns)?;
    let skipped = |reason| questions.skipped.iter().filter(|(_, r)| *r == reason).count() as u64;
    let dropped = [("null_text", skipped(SkipReason::Null)), ("blank_text", skipped(SkipReason::Blank))];
    log.stage("read", since.elapsed().as_secs_f64(), false, [questions.ids.len(), questions.texts.len()], &dropped);
    if !questions.skipped.is_empty() {
        let [(_, null), (_, blank)] = dropped;
        progress.warn(format!(
            "{} rows skipped ({null} with null text, {blank} with blank text): they are listed in skipped.parquet",
            questions.skipped.len()
        ));
    }
    progress.check()?;
    Ok(questions)
}

/// What the candidates stage records beside its pairs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct CandidatesRecord {
    unusable_vectors: usize,
    below_floor: u64,
    full_lists: Option<usize>,
    recall_at_k: f64,
    recall_above_floor: f64,
}

/// What is left of an earlier run whose embed and candidates stages are both fresh: its vectors are not needed.
fn stored_candidates(
    workspace: &Workspace,
    plan: &Plan,
    progress: &Progress,
) -> Result<Option<(embedding::Record, Vec<Candidate>, CandidatesRecord)>> {
    let stages = (workspace.done(&plan.stages.embed), workspace.done(&plan.stages.candidates));
    let (Some(embedding), Some(record)) = stages else { return Ok(None) };
    Ok(load_candidates(workspace, plan, progress)?.map(|pairs| (embedding, pairs, record)))
}

fn load_candidates(workspace: &Workspace, plan: &Plan, progress: &Progress) -> Result<Option<Vec<Candidate>>> {
    let shard = shards::read(&workspace.folder(&plan.stages.candidates), 0, &|line| progress.warn(line))?;
    let Some([(_, ShardColumn::U32(a)), (_, ShardColumn::U32(b)), (_, ShardColumn::F32(cosine))]) = shard.as_deref()
    else {
        workspace.unfinish(&plan.stages.candidates)?;
        return Ok(None);
    };
    let rows = a.iter().zip(b).zip(cosine);
    Ok(Some(rows.map(|((&a, &b), &cosine)| Candidate { a, b, cosine }).collect()))
}

fn find_candidates(
    workspace: &Workspace,
    plan: &Plan,
    embedded: &embedding::Embedded,
    device: &burn::tensor::Device,
    progress: &Progress,
) -> Result<(Vec<Candidate>, CandidatesRecord, bool)> {
    let stage = &plan.stages.candidates;
    if let Some(record) = workspace.done(stage)
        && let Some(pairs) = load_candidates(workspace, plan, progress)?
    {
        return Ok((pairs, record, true));
    }
    let vectors = Vectors { values: &embedded.values, width: embedded.width };
    let found = candidates::find(vectors, &plan.candidates_config(), device, progress)?;
    let Recall { at_k, above_floor } = found.recall;
    let record = CandidatesRecord {
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
    shards::write(&workspace.folder(stage), 0, &shard)?;
    workspace.finish(stage, &record)?;
    Ok((found.pairs, record, false))
}

fn log_candidates(log: &mut Log, seconds: f64, cached: bool, rows: [usize; 2], record: &CandidatesRecord) {
    let mut dropped =
        vec![("neighbours_below_floor", record.below_floor), ("unusable_vectors", record.unusable_vectors as u64)];
    dropped.extend(record.full_lists.map(|full| ("texts_with_more_than_k_above_floor", full as u64)));
    log.stage("candidates", seconds, cached, rows, &dropped);
    log.figure("candidates", "recall_at_k", record.recall_at_k, "share");
    log.figure("candidates", "recall_above_floor", record.recall_above_floor, "share");
}

fn warn_of_recall(plan: &Plan, record: &CandidatesRecord, texts: usize, progress: &Progress) {
    if record.unusable_vectors > 0 {
        progress.warn(format!(
            "{} texts have a zero or non-finite vector: they get no candidates",
            record.unusable_vectors
        ));
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

/// Refuses an output folder that cannot be written before hours are spent on what goes there.
fn ensure_writable(folder: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Err(hint(format!("cannot write into {}: {error}", folder.display()), "choose another --output"));
    }
    Ok(())
}
