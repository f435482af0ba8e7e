//! `mine train`: trains a model on labelled pairs.

use std::path::Path;

use anyhow::{Context, Result};

use crate::error::hint;
use crate::progress::Progress;
use crate::training::checked::TrainOptions;
use crate::training::options::{self, RawTrainOptions};
use crate::training::session;

/// Trains a model on labelled pairs and writes it as a sentence-transformers folder.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    options: RawTrainOptions,
    /// Replace the model in --output, and what another training left in --run
    #[arg(long)]
    force: bool,
    /// Show no progress and no summary; still show warnings and errors
    #[arg(long)]
    pub quiet: bool,
}

/// Runs one training, described by flags.
pub fn run(args: &TrainArgs, progress: &Progress) -> Result<()> {
    session::run(&args.options.check()?, args.force, progress).map(|_| ())
}

/// Whether a pipeline file's text describes trainings.
pub fn is_pipeline(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("[[train]]"))
}

/// Runs the trainings of a pipeline file one after another; skips those that are already done.
pub fn run_file(text: &str, origin: &Path, sets: &[String], force: bool, progress: &Progress) -> Result<()> {
    let checked = |(number, raw): (usize, &RawTrainOptions)| {
        raw.check().with_context(|| format!("{}: [[train]] table {}", origin.display(), number + 1))
    };
    let all: Vec<TrainOptions> =
        options::parse(text, origin, sets)?.iter().enumerate().map(checked).collect::<Result<_>>()?;
    for (done, options) in all.iter().enumerate() {
        let is_finished = session::run(options, force, progress)?;
        let waiting = all.len() - done - 1;
        if !is_finished && waiting > 0 {
            return Err(hint(
                format!(
                    "{}: the time limit ended {} (table {}) early, with {waiting} more to run",
                    origin.display(),
                    options.output.display(),
                    done + 1
                ),
                "run the same command again: it continues where this one stopped",
            ));
        }
    }
    Ok(())
}
