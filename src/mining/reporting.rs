//! The report of a run that is ending, from what it has in memory.

use std::path::Path;

use anyhow::Result;

use crate::mining::write::Tables;
use crate::report::source::Source;
use crate::report::{self, page};
use crate::run::manifest::{self, Manifest};
use crate::tables::questions::Questions;
use crate::tables::results::Metric;
use crate::tables::write::write_bytes;

/// Pairs handed over at a time.
const BATCH: usize = 65_536;

/// Writes the report into the staging folder.
pub fn write(
    staging: &Path,
    questions: &Questions,
    tables: &Tables,
    metrics: &[Metric],
    manifest: &Manifest,
) -> Result<()> {
    let metrics = metrics.iter().map(|m| (format!("{}.{}", m.stage, m.metric), m.value)).collect();
    let source = Source {
        manifest,
        defaults: &manifest::default_options()?,
        metrics: &metrics,
        ids: &questions.ids,
        questions: Ok(questions),
        clusters: &tables.clusters,
        stats: &tables.stats,
        labels: None,
    };
    let page = page::render(&source, tables.pairs.chunks(BATCH).map(|batch| Ok(batch.to_vec())))?;
    write_bytes(&staging.join(report::FILE), page.as_bytes())
}
