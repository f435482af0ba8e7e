//! `mine train`: labelled pairs to a better model.

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
    /// Replace the model that --output holds, and what another training left in --run
    #[arg(long)]
    force: bool,
    /// No progress and no summary; warnings and errors stay
    #[arg(long)]
    pub quiet: bool,
}

/// One training from flags.
pub fn run(args: &TrainArgs, progress: &Progress) -> Result<()> {
    session::run(&args.options.check()?, args.force, progress).map(|_| ())
}

/// Whether a pipeline file's text describes trainings.
pub fn is_pipeline(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("[[train]]"))
}

/// The trainings of a pipeline file one after the other; those already done are passed over.
pub fn run_file(text: &str, origin: &Path, sets: &[String], force: bool, progress: &Progress) -> Result<()> {
    let checked = |(number, raw): (usize, &RawTrainOptions)| {
        raw.check().with_context(|| format!("{}: [[train]] table {}", origin.display(), number + 1))
    };
    let all: Vec<TrainOptions> =
        options::parse(text, origin, sets)?.iter().enumerate().map(checked).collect::<Result<_>>()?;
    for (done, options) in all.iter().enumerate() {
        let is_whole = session::run(options, force, progress)?;
        let waiting = all.len() - done - 1;
        if !is_whole && waiting > 0 {
            return Err(hint(
                format!(
                    "{}: the clock ended {} (table {}), and {waiting} more wait for it",
                    origin.display(),
                    options.output.display(),
                    done + 1
                ),
                "the same command goes on where this one stopped",
            ));
        }
    }
    Ok(())
}
