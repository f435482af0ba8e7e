//! Which measurement the flags of `mine evaluate` ask for.

use anyhow::Result;

use crate::commands::evaluate::args::EvaluateArgs;
use crate::commands::evaluate::{compare_command, pairs_command, run_command, sample_command};
use crate::error::usage;
use crate::progress::Progress;

/// Measures what the flags ask for; returns the lines for stdout.
pub fn run(args: &EvaluateArgs, progress: &Progress) -> Result<Vec<String>> {
    if let Some(step) = args.grid.filter(|step| !(0.0001..=1.0).contains(step)) {
        return Err(usage(format!("--grid is {step}, expected 0.0001 to 1")));
    }
    if let Some(file) = &args.pairs {
        pairs_command::run(args, file, progress)
    } else if !args.sample.is_empty() {
        sample_command::run(args, progress)
    } else if let Some(folder) = args.run() {
        run_command::run(args, folder, progress)
    } else {
        compare_command::run(args, progress)
    }
}
