//! `mine show`: a finished run in the terminal.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::commands::output::{print_json, print_lines};
use crate::commands::terminal::fit;
use crate::progress::Progress;
use crate::run::reader::FinishedRun;
use crate::run::schema::PairRow;
use crate::view::block::Block;
use crate::view::cluster::{self, ClusterRows};
use crate::view::overview::{self, OverviewRows};
use crate::view::question::{self, QuestionRows};

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

/// Prints the run, the cluster or the question.
pub fn run(args: &ShowArgs, progress: &Progress) -> Result<()> {
    let run = FinishedRun::open(&args.run)?;
    if let Err(why) = &run.questions {
        progress.warn(format!("{why}: ids are shown without texts"));
    }
    match (&args.cluster, &args.question) {
        (Some(id), _) => show_cluster(args, &run, id, progress),
        (None, Some(id)) => show_question(args, &run, id, progress),
        (None, None) => {
            let rows = OverviewRows::new(run.results.metrics()?, run.results.cluster_stats()?);
            print(args, overview::view(&run, &rows), overview::lines(&run, &rows))
        }
    }
}

fn show_cluster(args: &ShowArgs, run: &FinishedRun, id: &str, progress: &Progress) -> Result<()> {
    let rows = ClusterRows::find(run, id, &run.results.clusters()?, &run.results.cluster_stats()?)?;
    let questions = rows.questions();
    let is_inside = |pair: &PairRow| questions.contains(&pair.a) && questions.contains(&pair.b);
    let rows = rows.add_pairs(pairs(run, is_inside, progress)?);
    print(args, cluster::view(run, &rows), cluster::lines(run, &rows))
}

fn show_question(args: &ShowArgs, run: &FinishedRun, id: &str, progress: &Progress) -> Result<()> {
    if let Some(skipped) = question::find_skipped(run, id, &run.results.skipped()?) {
        return print(args, question::skipped_view(id, skipped), question::skipped_lines(id, skipped));
    }
    let rows = QuestionRows::find(run, id, &run.results.clusters()?)?;
    let own = pairs(run, |pair| rows.is_in(pair), progress)?;
    let mut rows = rows.add_pairs(own);
    if rows.has_apart() {
        let between = pairs(run, |pair| rows.is_between(pair), progress)?;
        rows = rows.explain_apart(between);
    }
    print(args, question::view(run, &rows), question::lines(run, &rows))
}

/// The pairs of the run for which `keep` holds, in the order of the file.
fn pairs(run: &FinishedRun, keep: impl Fn(&PairRow) -> bool, progress: &Progress) -> Result<Vec<PairRow>> {
    let mut kept = Vec::new();
    for batch in run.results.pairs()? {
        progress.check()?;
        kept.extend(batch?.into_iter().filter(|pair| keep(pair)));
    }
    Ok(kept)
}

fn print(args: &ShowArgs, view: impl Serialize, lines: Vec<Block>) -> Result<()> {
    if args.json { print_json(&view) } else { print_lines(fit(lines)) }
}
