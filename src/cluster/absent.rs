//! The cluster, in a build without the feature `cluster`: there is none.

use std::path::Path;

use anyhow::Result;

use crate::cluster::args::{ExecutorArgs, SchedulerArgs};
use crate::error::usage_with_hint;
use crate::mining::units::Cluster;
use crate::progress::Progress;

fn absent<T>(what: &str) -> Result<T> {
    Err(usage_with_hint(
        format!("{what}: this build works on one machine"),
        "build one for several: cargo install --path . --features cluster",
    ))
}

/// Fails.
pub fn connect(_: &str, _: &Path) -> Result<Box<dyn Cluster>> {
    absent("--cluster")
}

/// Fails.
pub fn run_scheduler(_: &SchedulerArgs, _: &Progress) -> Result<()> {
    absent("mine cluster scheduler")
}

/// Fails.
pub fn run_executor(_: &ExecutorArgs, _: &Progress) -> Result<()> {
    absent("mine cluster executor")
}
