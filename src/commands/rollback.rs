//! `mine rollback`: the results of an earlier version, as the next version.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::mining::rollback::rollback;
use crate::progress::{Progress, readable};
use crate::run::flags::RunTime;

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Output folder of a run
    run: PathBuf,
    /// The version whose results come back; `mine history` lists them
    #[arg(long, value_name = "VERSION")]
    to: u64,
    /// Time to record for the new version [default: now]
    #[arg(long, value_name = "TIME")]
    run_time: Option<RunTime>,
    /// Wait for a run that uses the output, instead of failing
    #[arg(long)]
    wait: bool,
}

/// Goes back, and says what that changed.
pub fn run(args: &RollbackArgs, progress: &Progress) -> Result<()> {
    let Some(version) = rollback(&args.run, args.to, args.run_time, args.wait, progress)? else {
        progress.say(&format!("{} has the results of version {} already", args.run.display(), args.to));
        return Ok(());
    };
    let moved: u64 = version.counts.events.values().sum();
    progress.say(&format!(
        "version {} has the results of version {}: {} questions, {} clusters; {} events say what that changed",
        version.number,
        args.to,
        readable(version.questions),
        readable(version.counts.clusters as usize),
        readable(moved as usize)
    ));
    Ok(())
}
