//! `mine show`: a finished run in the terminal.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::commands::print_lines;
use crate::commands::terminal::{CHARACTERS, table};
use crate::commands::{show_cluster, show_question};
use crate::error::hint;
use crate::progress::{Progress, readable};
use crate::run::reader::FinishedRun;
use crate::run::schema::{ClusterStatsRow, PairRow};
use crate::text::visible::visible;

/// Biggest clusters of the overview.
const BIGGEST: usize = 10;

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Output folder of a finished run
    run: PathBuf,
    /// Show one cluster: its questions and the scores between them
    #[arg(long, value_name = "ID", conflicts_with = "question", allow_hyphen_values = true)]
    cluster: Option<String>,
    /// Show one question: its cluster, its candidate pairs, and why it is in a cluster or in none
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    question: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints what was asked for.
pub fn run(args: &ShowArgs, progress: &Progress) -> Result<()> {
    let run = FinishedRun::open(&args.run)?;
    if let Err(why) = &run.questions {
        progress.warn(format!("{why}: ids are shown without texts"));
    }
    let (lines, object) = match (&args.cluster, &args.question) {
        (Some(id), _) => show_cluster::show(&run, id, progress)?,
        (None, Some(id)) => show_question::show(&run, id, progress)?,
        (None, None) => overview(&run)?,
    };
    print_lines(if args.json { vec![serde_json::to_string_pretty(&object)?] } else { lines })
}

/// Row of an id that was typed; an unknown one is an error that names the nearest.
pub fn row_of(run: &FinishedRun, id: &str, what: &str) -> Result<u32> {
    let index = run.results.index();
    index.find(id).ok_or_else(|| {
        let nearest =
            index.nearest(id).map_or("the run has no ids".into(), |id| format!("the id most like it is {id}"));
        hint(format!("no {what} {id:?} in this run"), nearest)
    })
}

/// A question's id, as text.
pub fn id(run: &FinishedRun, row: u32) -> String {
    visible(&run.results.index().ids().display(row as usize), CHARACTERS)
}

/// A question's text for the terminal.
pub fn text(run: &FinishedRun, row: u32) -> String {
    run.text(row).map_or("(text not available)".into(), |text| visible(text, CHARACTERS))
}

/// A question for JSON.
pub fn question_json(run: &FinishedRun, row: u32) -> Value {
    json!({ "id": run.results.index().ids().json(row as usize), "text": run.text(row) })
}

/// A pair for JSON.
pub fn pair_json(run: &FinishedRun, pair: &PairRow) -> Value {
    let id = |row: u32| run.results.index().ids().json(row as usize);
    json!({
        "id_a": id(pair.a),
        "id_b": id(pair.b),
        "cosine": pair.cosine,
        "score_ab": pair.logit_ab,
        "score_ba": pair.logit_ba,
        "probability": pair.probability,
        "is_duplicate": pair.is_duplicate,
        "kind": pair.kind.name(),
    })
}

/// A probability or a cosine for a table.
pub fn score(value: Option<f32>) -> String {
    value.map_or("–".into(), |value| format!("{value:.4}"))
}

/// All pairs that `keep` wants, in the order of the file.
pub fn pairs(run: &FinishedRun, progress: &Progress, keep: impl Fn(&PairRow) -> bool) -> Result<Vec<PairRow>> {
    let mut kept = Vec::new();
    for batch in run.results.pairs()? {
        progress.check()?;
        kept.extend(batch?.into_iter().filter(|pair| keep(pair)));
    }
    Ok(kept)
}

fn overview(run: &FinishedRun) -> Result<(Vec<String>, Value)> {
    let metrics = run.results.metrics()?;
    let metric = |name: &str| metrics.get(name).copied().unwrap_or(0.0) as usize;
    let count = |name: &str| readable(metric(name));
    let mut stats = run.results.cluster_stats()?;
    stats.sort_by_key(|stats| (std::cmp::Reverse(stats.size), stats.cluster));
    stats.truncate(BIGGEST);
    let manifest = &run.manifest;
    let pairs = ["pairs.semantic", "pairs.exact", "pairs.normalised"].map(metric).iter().sum();
    let mut lines = vec![
        format!("run        {} ({}, mine {})", manifest.run_id, manifest.started, manifest.version),
        format!("questions  {} ({} rows)", count("read.rows_out"), count("read.rows_in")),
        format!(
            "pairs      {}: {} duplicates, {} undecided",
            readable(pairs),
            count("pairs.duplicates"),
            count("pairs.undecided")
        ),
        format!(
            "clusters   {} holding {} questions, {} to review",
            count("cluster.clusters"),
            count("cluster.questions_in_clusters"),
            count("cluster.needs_review")
        ),
        String::new(),
    ];
    let row = |stats: &ClusterStatsRow| {
        vec![
            id(run, stats.cluster),
            readable(stats.size as usize),
            format!("{:.0} %", 100.0 * stats.density),
            format!("{:.3}", stats.min_probability),
            if stats.needs_review { "review".into() } else { String::new() },
            text(run, stats.representative),
        ]
    };
    let header = ["cluster", "size", "pairs that match", "lowest", "", "representative"];
    lines.extend(table(&header, &[1, 2, 3], stats.iter().map(row).collect()));
    let object = json!({
        "run_id": manifest.run_id,
        "version": manifest.version,
        "started": manifest.started,
        "seconds": manifest.seconds,
        "metrics": metrics,
        "warnings": manifest.warnings,
        "biggest_clusters": stats.iter().map(|stats| show_cluster::stats_json(run, stats)).collect::<Vec<_>>(),
    });
    Ok((lines, object))
}
