//! One run from questions to files: read this first.
//!
//! [`mine`] is the loop. Each stage looks up what is stored for the keys of its texts and computes what is missing; result
//! files get their names only when all of them are complete.

use std::time::Instant;

use anyhow::Result;

use crate::device::Devices;
use crate::mining::collapse::UniqueTexts;
use crate::mining::log::Log;
use crate::mining::plan::Plan;
use crate::mining::rerank::Reranked;
use crate::mining::{candidates, cluster, collapse, embed, rerank, rows, summary, write};
use crate::progress::Progress;
use crate::run::input::InputFile;
use crate::run::manifest::{FORMAT, Manifest};
use crate::store::root::Store;
use crate::store::versions::{Version, Versions};
use crate::tables::question_rows::{Columns, SkipReason};
use crate::tables::questions::{self, Questions};

/// Runs the pipeline and writes the results. `force` lets it replace a run with other options.
pub fn mine(plan: &Plan, force: bool, progress: &Progress) -> Result<()> {
    let started = jiff::Timestamp::now();
    progress.keeps_finished_work();
    write::check_folder(plan, force)?;
    warn_of_useless_flags(plan, progress);
    let devices = open_devices(plan, progress)?;
    let output = &plan.options.output;
    let holder = format!("process {} since {started:.0}, --output {}", std::process::id(), output.display());
    let store = Store::open(output, plan.shared_store(), &holder, plan.options.wait, progress)?;
    // again under the lock: another run may have ended in between
    write::check_folder(plan, force)?;
    let mut log = Log::default();

    let questions = read(plan, progress, &mut log)?;
    let since = Instant::now();
    let unique = collapse::collapse(&questions.texts);
    let copies = collapse::copies(&questions.texts, &unique);
    let noted = [("copies", copies.len() as u64)];
    log.stage("collapse", since.elapsed().as_secs_f64(), false, [questions.texts.len(), unique.keys.len()], &noted);
    progress.check()?;

    let live = store.live_keys(&unique.keys, &|line| progress.warn(line))?;
    let mut embedded = embed::run(&store, plan, &unique, &live, &devices, progress)?;
    log.embed(&embedded, unique.keys.len());
    let found = candidates::run(&store, plan, &unique, &embedded, &devices, progress)?;
    log.candidates(&found, unique.keys.len());
    embedded.warn(plan, progress)?;
    candidates::warn(plan, &found.counts, embedded.unknown(), unique.keys.len(), progress)?;
    if !plan.options.write_embeddings {
        embedded.release();
    }

    let run_id = plan.run_id(&questions.content)?;
    let earlier = Versions::of(output).current().filter(|version| version.run_id == run_id);
    let pairs = (found.pairs.as_slice(), earlier.map(|version| version.reranked));
    let mut reranked = rerank::run(&store, plan, &unique, &live, pairs, &devices, progress)?;
    if plan.cross_encoder.is_some() {
        log.rerank(&reranked, &found.pairs, &plan.rule, progress);
    }

    let since = Instant::now();
    let scores = std::mem::take(&mut reranked.scores);
    let decided = rows::decide(found.pairs, scores, &plan.rule);
    let (edges, clustering) = cluster::run(&unique.texts, &decided, plan);
    let clusters = (edges.as_slice(), &clustering);
    let tables = rows::assemble(&questions, &unique, &copies, &decided, clusters, plan.rule.threshold);
    log.stage("cluster", since.elapsed().as_secs_f64(), false, [edges.len(), tables.stats.len()], &[]);
    rows::log(&mut log, &tables);
    drop(decided);
    progress.check()?;

    let since = Instant::now();
    let metrics = log.metrics(&run_id);
    let staging = write::stage(plan, &questions, &unique, &tables, &embedded, &metrics)?;
    log.stage("write", since.elapsed().as_secs_f64(), false, [tables.pairs.len(), tables.pairs.len()], &[]);
    let manifest = Manifest {
        format: FORMAT,
        run_id,
        version: env!("CARGO_PKG_VERSION").into(),
        started: started.to_string(),
        seconds: started.duration_until(jiff::Timestamp::now()).as_secs_f64(),
        inputs: plan.inputs.iter().map(|path| InputFile::of(path)).collect(),
        content: questions.content.clone(),
        options: plan.options.clone(),
        models: plan.models.clone(),
        device: devices.name.clone(),
        threads: rayon::current_num_threads(),
        stages: log.records,
        warnings: progress.warnings(),
    };
    write::stage_report(&staging, &questions, &tables, &metrics, &manifest)?;
    write::publish(&staging, plan, &manifest)?;
    commit(&store, plan, &unique, &manifest, &reranked)?;
    embedded.merge(&live)?;
    reranked.merge(&live)?;
    summary::print(plan, &questions, &tables, &manifest, progress);
    Ok(())
}

fn warn_of_useless_flags(plan: &Plan, progress: &Progress) {
    let given = [
        ("--rerank-budget", plan.options.rerank_budget.is_some()),
        ("--rerank-floor", plan.options.rerank_floor.is_some()),
    ];
    for (flag, _) in given.into_iter().filter(|(_, given)| *given && plan.cross_encoder.is_none()) {
        progress.warn(format!("{flag} has no effect without a cross-encoder"));
    }
}

fn open_devices(plan: &Plan, progress: &Progress) -> Result<Devices> {
    let mut devices = plan.options.device.open(progress)?;
    devices.batch_tokens = plan.options.batch_tokens;
    plan.options.precision.check(&devices)?;
    Ok(devices)
}

/// Makes the run the current version of its output, and removes what no version needs any more.
fn commit(store: &Store, plan: &Plan, unique: &UniqueTexts, manifest: &Manifest, reranked: &Reranked) -> Result<()> {
    let identities = [plan.vectors.clone(), plan.neighbours(&unique.corpus())?].into_iter().chain(plan.scores.clone());
    let version = Version {
        number: 0,
        run_id: manifest.run_id.clone(),
        started: manifest.started.clone(),
        content: manifest.content.clone(),
        questions: unique.text_of.len(),
        texts: store.write_texts(&unique.keys)?,
        identities: identities.collect(),
        reranked: reranked.pairs,
    };
    Versions::of(&plan.options.output).commit(version)?;
    store.prune()
}

/// Reads the questions, and says what was left out.
pub fn read(plan: &Plan, progress: &Progress, log: &mut Log) -> Result<Questions> {
    let since = Instant::now();
    let columns = Columns { text: plan.options.text_column.clone(), id: plan.options.id_column.clone() };
    let questions = questions::read(&plan.inputs, &columns)?;
    let skipped = |reason| questions.skipped.iter().filter(|row| row.reason == reason).count() as u64;
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
