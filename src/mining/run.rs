//! One run from questions to files: read this first.
//!
//! [`mine`] is the loop. Stages compute, this folder knows files: it reads the input, keeps each stage's artifact
//! under its fingerprint ([`artifact`]), resumes what was stopped halfway (`embedding`, `reranking`) and gives the
//! result files their names only when all of them are complete (`outputs`).

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::mining::artifact::Workspace;
use crate::mining::cluster;
use crate::mining::collapse;
use crate::mining::log::Log;
use crate::mining::plan::Plan;
use crate::mining::searching::Searched;
use crate::mining::write::Scored;
use crate::mining::{reporting, reranking, searching, summary, write};
use crate::progress::Progress;
use crate::run::manifest::Manifest;
use crate::tables::questions::{self, Columns, Questions, SkipReason};

/// What `--plan` shows: each stage, and whether the run would be refused.
pub fn describe(plan: &Plan, force: bool) -> Vec<String> {
    let mut lines = plan.describe();
    if let (false, Err(refused)) = (force, write::check_replaceable(plan)) {
        lines.push(format!("refused      {refused:#}; --force replaces it"));
    }
    lines
}

/// Runs the pipeline and writes the results. `force` lets it replace a run with other options.
pub fn mine(plan: &Plan, force: bool, progress: &Progress) -> Result<()> {
    let started = jiff::Timestamp::now();
    progress.keeps_finished_work();
    write::check_folder(plan, force)?;
    let given = [
        ("--rerank-budget", plan.options.rerank_budget.is_some()),
        ("--rerank-floor", plan.options.rerank_floor.is_some()),
    ];
    for (flag, _) in given.into_iter().filter(|(_, given)| *given && plan.cross_encoder.is_none()) {
        progress.warn(format!("{flag} has no effect without a cross-encoder"));
    }
    let mut devices = plan.options.device.open(progress)?;
    devices.batch_tokens = plan.options.batch_tokens;
    plan.options.precision.check(&devices)?;
    let workspace = Workspace::open(&plan.options.output)?;
    // again under the lock: another run may have ended in between
    write::check_folder(plan, force)?;
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

    let Searched { candidates, embedded } =
        searching::run(&workspace, plan, &unique.texts, &devices, &mut log, progress)?;

    let since = Instant::now();
    let scores = reranking::run(&workspace, plan, &unique.texts, &candidates, &devices, progress)?;
    if plan.cross_encoder.is_some() {
        reranking::log(&mut log, since, &candidates, (plan, &scores), progress);
    }
    let since = Instant::now();
    let reranked = plan.cross_encoder.is_some();
    let scored: Vec<Scored> = write::decide(candidates, scores.scores, plan.decision.as_ref(), plan.threshold);
    let decided = scored.iter().map(|pair| (pair.candidate.a, pair.candidate.b, pair.probability));
    let (edges, clustering) =
        cluster::run(unique.texts.iter(), decided, plan.threshold, reranked, plan.options.clustering);
    let tables = write::assemble(&questions, &unique, &copies, &scored, &edges, &clustering, plan.threshold);
    log.stage("cluster", since.elapsed().as_secs_f64(), false, [edges.len(), tables.stats.len()], &[]);
    write::log(&mut log, &tables);
    progress.check()?;

    let since = Instant::now();
    let staging = write::write(&workspace, plan, &questions, &unique, &tables, embedded.as_ref(), &log.metrics)?;
    log.stage("write", since.elapsed().as_secs_f64(), false, [tables.pairs.len(), tables.pairs.len()], &[]);
    let manifest = Manifest::new(plan, log.records, started, &devices.name, progress.warnings());
    reporting::write(&staging, &questions, &tables, &log.metrics, &manifest)?;
    write::publish(&staging, &workspace, plan, &manifest)?;
    workspace.finish(&plan.stages.cluster, &manifest.run_id)?;
    let stages = &plan.stages;
    workspace.prune(&[&stages.embed, &stages.candidates, &stages.cluster])?;
    if reranked {
        // dear scores survive a run without a cross-encoder in between
        workspace.prune(&[&stages.rerank_ab, &stages.rerank_ba, &stages.rerank])?;
    }
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
    if questions.ids.is_empty() {
        progress.warn(format!("{} holds no questions: the results are empty", plan.options.input));
    }
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
