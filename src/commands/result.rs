//! `mine … --json`: what a run wrote, for a program that started it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::commands::output::print_json;
use crate::run::manifest::Manifest;
use crate::store::versions::Versions;

/// Prints one object: where the results are, which version they are, what changed, and what the manifest says of the run.
pub fn run(output: &Path) -> Result<()> {
    let failed = || format!("{} has no results", output.display());
    let version = Versions::of(output).current().with_context(failed)?;
    let manifest = Manifest::read(output)?.with_context(failed)?;
    print_json(&serde_json::json!({
        "output": std::path::absolute(output).unwrap_or_else(|_| output.to_path_buf()),
        "version": version.number,
        "parent": version.parent,
        "run_id": version.run_id,
        "run_time": version.started,
        "questions": version.questions,
        "counts": version.counts,
        "seconds": manifest.seconds,
        "stages": manifest.stages,
        "warnings": manifest.warnings,
    }))
}
