//! One run from questions to files: read this first.
//!
//! [`mine`] is the loop. Each stage looks up what is stored for the keys of its texts and computes what is missing; result
//! files get their names only when all of them are complete.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::device::Devices;
use crate::error::hint;
use crate::mining::log::Log;
use crate::mining::night::{Night, Ran};
use crate::mining::plan::Plan;
use crate::mining::reference::Reference;
use crate::mining::representatives::Choice;
use crate::mining::units::Cluster;
use crate::mining::workers::Workers;
use crate::mining::{candidates, cluster, collapse, embed, rerank, rows, summary, write};
use crate::progress::{Progress, readable};
use crate::run::input::InputFile;
use crate::run::keep::Keep;
use crate::run::manifest::{FORMAT, Manifest};
use crate::run::reader::stored_questions;
use crate::search::engine::Engine;
use crate::store::root::Store;
use crate::store::versions::{Version, Versions};
use crate::tables::delta;
use crate::tables::encoding::Encoding;
use crate::tables::format::Format;
use crate::tables::question_rows::SkipReason;
use crate::tables::questions::{self, IdsFrom, Questions};

/// Runs the pipeline and writes the results as the next version. The executors of a `cluster` do the heavy stages. `force`
/// lets it replace what no run wrote, and accepts what a guard would refuse.
pub fn mine(plan: &Plan, cluster: Option<&dyn Cluster>, force: bool, progress: &Progress) -> Result<()> {
    let started = jiff::Timestamp::now();
    progress.keeps_finished_work();
    write::check_folder(plan, force)?;
    let workers = Workers::new(open_devices(plan, cluster, progress)?, cluster);
    let output = &plan.options.output;
    let holder = format!("process {} since {started:.0}, --output {}", std::process::id(), output.display());
    let store = Store::open(output, plan.shared_store(), &holder, plan.options.wait, progress)?;
    let mut mirror = store.mirror(output);
    if let Some(mirror) = &mut mirror {
        write::fetch(mirror, output, progress)?;
    }
    // again under the lock: another run may have ended in between
    write::check_folder(plan, force)?;
    let mut night = Night::after_current(plan, started, progress)?;
    write::differences(plan)?.iter().for_each(|difference| progress.say(&format!("changed    {difference}")));
    let mut log = Log::default();

    let mut reference = plan.options.reference.as_deref().map(|path| Reference::open(path, plan)).transpose()?;
    warn_of_useless_flags(plan, progress);
    let questions = read(plan, reference.as_mut(), progress, &mut log)?;
    let since = Instant::now();
    let unique = collapse::collapse(&questions.texts, &questions.is_reference);
    let copies = collapse::copies(&questions.texts, &unique, &questions.is_reference);
    let noted = [("copies", copies.len() as u64)];
    log.stage("collapse", since.elapsed().as_secs_f64(), false, [questions.texts.len(), unique.keys.len()], &noted);
    warn_of_useless_index_flags(plan, unique.keys.len(), progress)?;
    progress.check()?;
    night.fit_ids(&questions, progress);
    if !force {
        night.check_input(plan, &questions, &unique)?;
    }

    let live = store.live_keys(&unique.keys, &|line| progress.warn(line))?;
    let known_vectors = reference.as_ref().and_then(Reference::store);
    let mut embedded = embed::run((&store, known_vectors.as_ref()), plan, &unique, &live, &workers, progress)?;
    log.embed(&embedded, unique.keys.len());
    log.note_executors(workers.take_records());
    let found = candidates::run(&store, plan, &unique, &embedded, &workers, progress)?;
    log.candidates(&found, unique.keys.len());
    log.note_executors(workers.take_records());
    embedded.warn(plan, progress)?;
    candidates::warn(plan, &found.counts, embedded.unknown(), unique.keys.len(), progress)?;
    if !plan.options.write_embeddings {
        embedded.release();
    }

    let run = plan.run_id(&questions.content, None)?;
    let mut reranked = rerank::run(&store, plan, &unique, &live, (&found.pairs, &run), &workers, progress)?;
    let lowered_rerank_floor = reranked.audit.and_then(|audit| audit.lower);
    let unasked = reranked.unasked.take();
    let plan = &plan.settled(lowered_rerank_floor, unasked.clone());
    let fit = plan.profile.as_ref().and_then(|known| known.fit(&reranked.profile(&found.pairs)));
    if plan.cross_encoder.is_some() {
        log.rerank(&reranked, &found.pairs, plan, progress);
        fit.iter().for_each(|fit| log.fit(fit, progress));
        log.note_executors(workers.take_records());
    }
    let backlog = match plan.options.rerank_budget {
        Some(_) => rerank::to_rerank(&found.pairs, &plan.rule) - reranked.pairs,
        None => 0,
    };
    let scored = plan.options.rerank_budget.map(|_| reranked.scored(&found.pairs, &unique.keys));
    let run_id = plan.run_id(&questions.content, scored.as_deref())?;
    night.settle(plan, &run_id, &questions, progress)?;

    let since = Instant::now();
    let scores = std::mem::take(&mut reranked.scores);
    let decided = rows::decide(found.pairs, scores, &plan.rule);
    let known = reference.as_ref().map(|reference| reference.known(&questions, &unique));
    let (edges, clustering) = cluster::run(&unique.texts, &decided, known.as_ref(), plan);
    let keep = &plan.options.keep;
    let choice = Choice { keep, questions: &questions, unique: &unique, known: known.as_ref() };
    let groups = choice.represent(rows::groups(&questions, &unique, &clustering));
    let ids = night.name(&groups, &unique, known.as_ref(), progress)?;
    let clusters = (edges.as_slice(), &clustering);
    let (named, threshold) = ((groups.as_slice(), ids.named.as_slice()), plan.rule.threshold);
    let mut tables = rows::assemble(&questions, &unique, &copies, &decided, clusters, named, threshold);
    let (changes, changed) = night.compare(plan, &questions, &unique, &mut tables, &ids)?;
    log.stage("cluster", since.elapsed().as_secs_f64(), false, [edges.len(), tables.stats.len()], &[]);
    rows::log(&mut log, &tables);
    drop(decided);
    progress.check()?;

    let since = Instant::now();
    let metrics = log.metrics(&run_id);
    let results = write::Results {
        run_id: &run_id,
        questions: &questions,
        unique: &unique,
        tables: &tables,
        changes: &changes,
        embedded: &embedded,
        metrics: &metrics,
    };
    // what was computed now, for results that were there, may differ from what was lost or damaged
    let is_written = embedded.computed + found.searched + reranked.computed == 0 && night.is_written();
    if !is_written {
        write::stage(&night.staging(), plan, &results)?;
    }
    log.stage("write", since.elapsed().as_secs_f64(), is_written, [tables.pairs.len(), tables.pairs.len()], &[]);
    let manifest = Manifest {
        format: FORMAT,
        run_id: run_id.clone(),
        number: night.now.version,
        version: env!("CARGO_PKG_VERSION").into(),
        started: night.time.clone(),
        seconds: started.duration_until(jiff::Timestamp::now()).as_secs_f64(),
        inputs: plan.inputs.iter().map(|path| InputFile::of(path)).collect(),
        content: questions.content.clone(),
        options: plan.options.clone(),
        models: plan.models.clone(),
        lowered_rerank_floor,
        unasked,
        fit,
        device: workers.devices.name.clone(),
        threads: rayon::current_num_threads(),
        stages: log.records,
        warnings: progress.warnings(),
    };
    let version = match &night.same {
        Some(same) if is_written => same.clone(),
        _ => {
            let counts = changed.with(&tables, backlog);
            let ran = Ran { groups: &groups, ids: &ids, counts, seconds: manifest.seconds };
            let mut version = night.version(&store, plan, &results, ran)?;
            let history: Vec<Version> = night.history().into_iter().chain([version.clone()]).collect();
            version.files = write::stage_report(&night.staging(), &results, &manifest, &history)?;
            version
        }
    };
    if !force && let Some(tripped) = night.check_clusters(plan, &questions, &unique, &tables) {
        let refused = write::refuse(output, Some(&night.staging()), None, &tripped)?;
        prune(&store, plan)?;
        return Err(refused);
    }
    if !is_written {
        night.place()?;
    }
    let versions = Versions::of(output);
    match &mut mirror {
        Some(mirror) => mirror.commit(&version)?,
        None => versions.commit(&version)?,
    }
    write::publish(output, &version)?;
    versions.clear_pending()?;
    // the results are there: what is left to do can be done by the next run too
    let tidied = write::forget_refused(output)
        .and_then(|()| write::drop_embeddings(output))
        .and_then(|()| prune(&store, plan))
        .and_then(|()| mirror.map_or(Ok(()), |mirror| mirror.prune()))
        .and_then(|()| if store.can_be_tidied() { embedded.merge(&live) } else { Ok(()) })
        .and_then(|()| if store.can_be_tidied() { reranked.merge(&live) } else { Ok(()) });
    if let Err(error) = tidied {
        progress.warn(format!("the store could not be tidied up: {error:#}"));
    }
    summary::print(plan, &questions, &tables, &manifest, &version, is_written, progress);
    Ok(())
}

/// Removes what no kept version needs.
fn prune(store: &Store, plan: &Plan) -> Result<()> {
    Versions::of(&plan.options.output).prune(plan.options.keep_versions)?;
    store.prune(plan.options.keep_versions)
}

fn warn_of_useless_flags(plan: &Plan, progress: &Progress) {
    let options = &plan.options;
    let given = [
        ("--rerank-budget", options.rerank_budget.is_some()),
        ("--rerank-share", options.rerank_share.is_some()),
        ("--rerank-floor", options.rerank_floor.is_some()),
        ("--rerank-ceiling", options.rerank_ceiling.is_some()),
    ];
    for (flag, _) in given.into_iter().filter(|(_, given)| *given && plan.cross_encoder.is_none()) {
        progress.warn(format!("{flag} has no effect without a cross-encoder"));
    }
    let is_parquet =
        |file: &PathBuf| Format::of_input(file, options.format).is_ok_and(|format| format == Format::Parquet);
    if options.encoding != Encoding::Utf8 && plan.inputs.iter().all(is_parquet) {
        progress.warn("--encoding has no effect on Parquet files, whose texts are in UTF-8");
    }
}

/// Says which options of HNSW were changed for a search that is exact.
fn warn_of_useless_index_flags(plan: &Plan, texts: usize, progress: &Progress) -> Result<()> {
    let (options, default) = (&plan.options, Manifest::default_options()?);
    if options.index.resolve(texts) == Engine::Hnsw {
        return Ok(());
    }
    let changed = [
        ("--hnsw-links", options.hnsw_links != default.hnsw_links),
        ("--hnsw-ef-construction", options.hnsw_ef_construction != default.hnsw_ef_construction),
        ("--hnsw-ef-search", options.hnsw_ef_search != default.hnsw_ef_search),
    ];
    for (flag, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        progress.warn(format!("{flag} has no effect: the search is exact; --index hnsw makes an HNSW index"));
    }
    Ok(())
}

fn open_devices(plan: &Plan, cluster: Option<&dyn Cluster>, progress: &Progress) -> Result<Devices> {
    // a format that was named decides where auto computes; one that was not is that of the device that auto takes
    let choice = plan.options.device;
    let choice = if plan.is_precision_named { plan.precision.device(choice) } else { choice };
    let mut devices = choice.open(progress)?;
    devices.batch_tokens = plan.options.batch_tokens;
    if cluster.is_none() {
        plan.precision.check(&devices)?;
    }
    Ok(devices)
}

/// Reads the questions, with those of the reference, and says what was left out.
pub fn read(plan: &Plan, reference: Option<&mut Reference>, progress: &Progress, log: &mut Log) -> Result<Questions> {
    let since = Instant::now();
    let (questions, ids) = match plan.options.delta {
        true => read_delta(plan, progress)?,
        false => questions::read(&plan.inputs, &plan.options.read_options())?,
    };
    progress.say(&format!("ids        {ids}"));
    say_ranking(plan, &questions, progress);
    let questions = match reference {
        Some(reference) => reference.join(questions, progress)?,
        None => questions,
    };
    let skipped = |reason| questions.skipped.iter().filter(|row| row.reason == reason).count() as u64;
    let dropped = [("null_text", skipped(SkipReason::Null)), ("blank_text", skipped(SkipReason::Blank))];
    log.stage("read", since.elapsed().as_secs_f64(), false, [questions.ids.len(), questions.texts.len()], &dropped);
    if questions.ids.is_empty() {
        progress.warn(format!("{} holds no questions", plan.options.input.join(", ")));
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

/// Says what the column of `--keep` was taken for: a date that is read as text would sort wrongly.
fn say_ranking(plan: &Plan, questions: &Questions, progress: &Progress) {
    let (Keep::Column { lowest, .. }, Some(ranking)) = (&plan.options.keep, &questions.ranking) else { return };
    let end = if *lowest { "lowest" } else { "highest" };
    let counts = ranking.counts().into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(kind, count)| format!("{} {kind}", readable(count))).collect();
    progress.say(&format!("keep       {end} value of column {}: {}", ranking.column, counts.join(", ")));
    if let Some(text) = ranking.stray_text() {
        progress.warn(format!(
            "column {} holds texts such as {text:?} among numbers or times: they lose against them",
            ranking.column
        ));
    }
}

/// The questions of the current version with the changes of the input.
fn read_delta(plan: &Plan, progress: &Progress) -> Result<(Questions, IdsFrom)> {
    let output = &plan.options.output;
    let Some(current) = Versions::of(output).current() else {
        return Err(hint(
            format!("--delta: {} holds no version that the changes could be applied to", output.display()),
            "the first run needs all questions: leave --delta out",
        ));
    };
    let before = stored_questions(output, &current.content).context("--delta needs the questions of the last run")?;
    let before = before.without_reference()?;
    let options = plan.options.read_options();
    let (questions, applied) = delta::apply(&before, &plan.inputs, &options)?;
    progress.say(&format!(
        "changes    {} rows added or replaced, {} deleted, in {} questions",
        readable(applied.upserted),
        readable(applied.deleted),
        readable(before.texts.len())
    ));
    if applied.unknown > 0 {
        progress.warn(format!("{} deletions name ids that are not there: they change nothing", applied.unknown));
    }
    Ok((questions, IdsFrom::Column(options.id().into())))
}
