//! The command line: what can be typed, and one function a command.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::cluster;
use crate::cluster::args::ClusterCommand;
use crate::commands::calibrate::{self, CalibrateArgs};
use crate::commands::devices::{self, DevicesArgs};
use crate::commands::evaluate;
use crate::commands::evaluate::args::EvaluateArgs;
use crate::commands::models::{self, ModelsCommand};
use crate::commands::output::print_lines;
use crate::commands::perturb::{self, PerturbArgs};
use crate::commands::sample::{self, SampleArgs};
use crate::commands::split::{self, SplitArgs};
use crate::commands::train::{self, TrainArgs};
use crate::commands::{self, explain, history, report, result, rollback, show, verify};
use crate::error::{self, usage, usage_with_hint};
use crate::mining;
use crate::mining::plan::Plan;
use crate::mistyped;
use crate::progress::{Cancellation, Progress};
use crate::run::flags::{self, RawOptions};
use crate::run::options;

/// Finds duplicate questions in a corpus and writes pairs, clusters and metrics to Parquet.
#[derive(Debug, Parser)]
#[command(name = "mine", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Example: mine --input questions.parquet --top-k 100")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    options: RawOptions,
    /// Replace files in --output that no run wrote, and accept what a guard (--max-deleted …) would refuse
    #[arg(long)]
    force: bool,
    /// Print which stages are fresh and which would run, and why; do not run them
    #[arg(long)]
    plan: bool,
    /// Show no progress and no summary; still show warnings and errors
    #[arg(long)]
    quiet: bool,
    /// Print one JSON object about the results when they are written
    #[arg(long, conflicts_with = "plan")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline file; flags override its keys
    Run {
        /// For example pipelines/mine.toml
        pipeline: PathBuf,
        /// Override one key of the file; can be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Split labelled pairs into train, dev and test
    Split(SplitArgs),
    /// Train a model on labelled pairs
    Train(Box<TrainArgs>),
    /// Measure models, thresholds and finished runs against labels
    Evaluate(Box<EvaluateArgs>),
    /// Fit a model's probabilities and threshold to labelled pairs; later runs use them
    Calibrate(CalibrateArgs),
    /// Edit questions by rules, to test whether a model reads or only compares words
    Perturb(PerturbArgs),
    /// Draw pairs of a finished run for a person to label
    Sample(SampleArgs),
    /// Download, list, describe, export and compress models
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// Write a finished run as one HTML page
    Report(report::ReportArgs),
    /// Show a finished run: an overview, one cluster or one question
    Show(show::ShowArgs),
    /// List the versions of an output that are kept
    History(history::HistoryArgs),
    /// Go back to the results of an earlier version, as the next version
    Rollback(rollback::RollbackArgs),
    /// Compute a sample of a finished run again and compare; fail if something differs
    Verify(verify::VerifyArgs),
    /// Explain whether a run would call two texts duplicates
    Explain(explain::ExplainArgs),
    /// List the devices of this machine, or prepare the kernels of a GPU
    Devices(DevicesArgs),
    /// Work on several machines: start a scheduler and executors for runs with --cluster
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Describe all commands and their options
    Options(commands::options::OptionsArgs),
}

/// Parses the command line. Ends the process for `--help`, and for errors that the parser explains well itself.
pub fn parse() -> Result<Cli> {
    let typed: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    Cli::try_parse().map_err(|error| mistyped::explain(&error, &typed).unwrap_or_else(|| error.exit()))
}

/// Runs the command. `cancellation` is set if the user wants to stop.
pub fn run(cli: Cli, cancellation: Arc<Cancellation>) -> Result<()> {
    match cli.command {
        None => {
            let base = flags::defaults()?;
            mine(base, cli.run, cancellation)
        }
        Some(Command::Run { pipeline, sets, run }) => {
            let text = std::fs::read_to_string(&pipeline).map_err(|e| usage(error::cannot_read(&pipeline, &e)))?;
            if train::is_pipeline(&text) {
                if run.plan || run.options != RawOptions::default() {
                    return Err(usage(format!(
                        "{} describes trainings: --plan and the flags of a mining run do not apply; --set key=value \
                         overrides a key of every table",
                        pipeline.display()
                    )));
                }
                let progress = Progress::new(run.quiet, cancellation);
                return train::run_file(&text, &pipeline, &sets, run.force, &progress);
            }
            let mut base = flags::parse(&text, &pipeline)?;
            for set in &sets {
                base = flags::overlay(&base, &flags::parse_set(set)?)?;
            }
            mine(base, *run, cancellation)
        }
        Some(Command::Split(args)) => split::run(&args, &Progress::new(args.quiet, cancellation)),
        Some(Command::Train(args)) => train::run(&args, &Progress::new(args.quiet, cancellation)),
        Some(Command::Evaluate(args)) => {
            print_lines(evaluate::command::run(&args, &Progress::new(args.quiet, cancellation))?)
        }
        Some(Command::Calibrate(args)) => print_lines(calibrate::run(&args, &Progress::new(args.quiet, cancellation))?),
        Some(Command::Perturb(args)) => perturb::run(&args, &Progress::new(args.quiet, cancellation)),
        Some(Command::Sample(args)) => sample::run(&args, &Progress::new(args.quiet, cancellation)),
        Some(Command::Models { command }) => models::run(&command, &Progress::new(false, cancellation)),
        Some(Command::Report(args)) => report::run(&args, &Progress::new(false, cancellation)),
        Some(Command::Show(args)) => show::run(&args, &Progress::new(false, cancellation)),
        Some(Command::History(args)) => history::run(&args),
        Some(Command::Rollback(args)) => rollback::run(&args, &Progress::new(false, cancellation)),
        Some(Command::Verify(args)) => verify::run(&args, &Progress::new(args.quiet, cancellation)),
        Some(Command::Devices(args)) => devices::run(&args, &Progress::new(args.is_quiet(), cancellation)),
        Some(Command::Explain(args)) => explain::run(args, &Progress::new(false, cancellation)),
        Some(Command::Cluster { command: ClusterCommand::Scheduler(args) }) => {
            cluster::run_scheduler(&args, &Progress::new(false, cancellation))
        }
        Some(Command::Cluster { command: ClusterCommand::Executor(args) }) => {
            start_threads(args.threads)?;
            cluster::run_executor(&args, &Progress::new(false, cancellation))
        }
        Some(Command::Options(args)) => commands::options::run(&args, Cli::command()),
    }
}

/// Starts as many worker threads as were asked for; 0 is one a core.
fn start_threads(threads: usize) -> Result<()> {
    if threads > 0 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().context("cannot start the worker threads")?;
    }
    Ok(())
}

fn mine(base: RawOptions, run: RunArgs, cancellation: Arc<Cancellation>) -> Result<()> {
    let options = options::check(&flags::overlay(&base, &run.options)?)?;
    start_threads(options.threads)?;
    let progress = Progress::new(run.quiet, cancellation);
    let plan = Plan::new(options, &progress)?;
    if run.plan {
        return print_lines(mining::stale::describe(&plan, run.force, &progress)?);
    }
    let cluster = plan.options.cluster.as_deref().map(|url| {
        let store = plan.shared_store().ok_or_else(|| {
            usage_with_hint(
                format!("--cluster {url} needs a --store that all machines reach"),
                "name a folder that they share, or s3://bucket/prefix, as mine cluster executor --store does",
            )
        })?;
        cluster::connect(url, store)
    });
    mining::run::mine(&plan, cluster.transpose()?.as_deref(), run.force, &progress)?;
    if run.json { result::run(&plan.options.output) } else { Ok(()) }
}
