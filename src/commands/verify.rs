//! `mine verify`: a finished run against what its models say.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::commands::output::print_lines;
use crate::device::DeviceChoice;
use crate::error::hint;
use crate::mining::verify::verify;
use crate::progress::Progress;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Output folder of a run
    #[arg(default_value = "mined")]
    run: PathBuf,
    /// Texts and pairs that are computed again
    #[arg(long, value_name = "N", default_value_t = 200)]
    sample: usize,
    /// Compute everything again
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// Where models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// Prints what was compared; fails if something differs.
pub fn run(args: &VerifyArgs, progress: &Progress) -> Result<()> {
    let findings = verify(&args.run, (!args.all).then_some(args.sample), args.device, progress)?;
    print_lines(&findings.lines)?;
    if findings.differences.is_empty() {
        return print_lines(["no difference"]);
    }
    Err(hint(
        format!("{} is not what its models give: {}", args.run.display(), findings.differences.join("; ")),
        "delete the folders vectors, neighbours and scores of its store (.mine in it, or --store), and run mine again: \
         everything is computed anew",
    ))
}
