//! The command line: what can be typed, and one function a command.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::error::usage;
use crate::models::compress;
use crate::models::folder::ModelFolder;
use crate::pipeline::config::{self, DEFAULT_PIPELINE, RawOptions};
use crate::pipeline::{self, plan::Plan};
use crate::progress::Progress;

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
    /// Replace what --output holds, even a run with other options
    #[arg(long)]
    force: bool,
    /// Print which stages are fresh and which would run, and why; run nothing
    #[arg(long)]
    plan: bool,
    /// No progress and no summary; warnings and errors stay
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline file; flags are laid over it
    Run {
        /// For instance pipelines/mine.toml
        pipeline: PathBuf,
        /// Lay one key over the file; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
        #[command(flatten)]
        run: Box<RunArgs>,
    },
    /// Split labelled pairs into train, dev and test
    Split(commands::split::SplitArgs),
    /// Train a model on labelled pairs
    Train(Box<commands::train::TrainArgs>),
    /// Look into model folders and compress them
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Store a model with 8-bit weights
    Compress {
        /// Model folder to read
        #[arg(long, value_name = "DIR")]
        input: PathBuf,
        /// Folder to write; must not exist
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Print what a model folder holds
    Show {
        /// Model folder, or `built-in`
        folder: PathBuf,
    },
}

/// Runs what was typed. `cancelled` is raised when the user asks to stop.
pub fn run(cli: Cli, cancelled: Arc<AtomicBool>) -> Result<()> {
    match cli.command {
        None => {
            let base = config::parse(DEFAULT_PIPELINE, "pipelines/mine.toml".as_ref())?;
            mine(base, cli.run, cancelled)
        }
        Some(Command::Run { pipeline, sets, run }) => {
            let text = std::fs::read_to_string(&pipeline)
                .map_err(|e| usage(format!("cannot read pipeline {}: {e}", pipeline.display())))?;
            if commands::train::is_pipeline(&text) {
                let progress = Progress::new(run.quiet, cancelled);
                return commands::train::run_file(&text, &pipeline, &sets, run.force, &progress);
            }
            let mut base = config::parse(&text, &pipeline)?;
            for set in &sets {
                base = config::overlay(&base, &config::parse_set(set)?)?;
            }
            mine(base, *run, cancelled)
        }
        Some(Command::Train(args)) => commands::train::run(&args, &Progress::new(args.quiet, cancelled)),
        Some(Command::Split(args)) => commands::split::run(&args, &Progress::new(args.quiet, cancelled)),
        Some(Command::Models { command: ModelsCommand::Compress { input, output } }) => {
            compress::compress(&ModelFolder::open(&input)?, &output)
        }
        Some(Command::Models { command: ModelsCommand::Show { folder } }) => {
            let folder = if folder.as_os_str() == "built-in" {
                crate::models::built_in::BI_ENCODER
            } else {
                ModelFolder::open(&folder)?
            };
            print_lines(&compress::describe(&folder)?)
        }
    }
}

fn mine(base: RawOptions, run: RunArgs, cancelled: Arc<AtomicBool>) -> Result<()> {
    let options = config::check(&config::overlay(&base, &run.options)?)?;
    if options.threads > 0 {
        rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .build_global()
            .context("cannot start the worker threads")?;
    }
    let progress = Progress::new(run.quiet, cancelled);
    let plan = Plan::new(options, &progress)?;
    if run.plan {
        return print_lines(&plan.describe());
    }
    pipeline::mine(&plan, run.force, &progress)
}

/// Results that were asked for go to stdout; a reader that went away is no failure.
fn print_lines(lines: &[String]) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("cannot write to stdout")?,
        }
    }
    Ok(())
}
