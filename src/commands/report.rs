//! `mine report`: a finished run as one HTML page.

use crate::atomic_file::write_bytes;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::mining;
use crate::progress::{Progress, readable};
use crate::report::source::{Night, Source};
use crate::report::{self, label_file, page, thresholds};
use crate::run::manifest::Manifest;
use crate::run::reader::FinishedRun;
use crate::store::versions::Versions;
use crate::tables::labelled_pairs::PairColumns;

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Output folder of a finished run
    run: PathBuf,
    /// File to write [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Labels of the run's questions: a file of `mine sample`, or any that `mine evaluate --gold` takes (pairs by text or by
    /// id, optionally with a column weight, or groups)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    columns: PairColumns,
}

/// Reads the run and writes its page.
pub fn run(args: &ReportArgs, progress: &Progress) -> Result<()> {
    let run = FinishedRun::open(&args.run)?;
    if let Err(why) = &run.questions {
        progress.warn(format!("{why}: the report shows ids without texts"));
    }
    let index = run.results.index();
    let labels = args.labels.as_ref().map(|path| label_file::read(path, &args.columns, &run)).transpose()?;
    let labels = labels.map(|(labels, note)| {
        note.into_iter().for_each(|note| progress.warn(note));
        labels
    });
    let metrics = run.results.metrics()?;
    let outcomes = match labels {
        Some(_) => {
            let pairs = metrics.get("pairs.semantic").map_or(0, |pairs| *pairs as usize);
            mining::thresholds::outcomes(&run, &thresholds::grid(&run.manifest, pairs), progress)?
        }
        None => Vec::new(),
    };
    let history = Versions::of(&args.run).kept();
    let night = Some(Night::new(run.results.events()?, &history, run.manifest.number));
    let source = Source {
        manifest: &run.manifest,
        defaults: &Manifest::default_options()?,
        metrics: &metrics,
        ids: index.ids(),
        questions: run.questions.as_ref().map_err(String::as_str),
        clusters: &run.results.clusters()?,
        stats: &run.results.cluster_stats()?,
        labels: labels.as_ref(),
        outcomes: &outcomes,
        night: night.as_ref(),
    };
    let kinds = ["pairs.exact", "pairs.normalised", "pairs.semantic"];
    let task = progress.task("report", "pairs", kinds.map(|kind| source.metric(kind)).iter().sum::<f64>() as usize);
    let counted = run.results.pairs()?.map(|batch| {
        let batch = batch?;
        task.advance(batch.len())?;
        Ok(batch)
    });
    let page = page::render(&source, counted)?;
    drop(task);
    let output = args.output.clone().unwrap_or_else(|| args.run.join(report::FILE));
    write_bytes(&output, page.as_bytes())?;
    progress.say(&format!("{} ({} bytes)", output.display(), readable(page.len())));
    Ok(())
}
