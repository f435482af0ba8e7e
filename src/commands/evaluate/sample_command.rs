//! `mine evaluate --sample`: precision and recall of a run, from a sample of its pairs that a person labelled.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::commands::evaluate::args::{DRAWS_OF_SAMPLE, EvaluateArgs};
use crate::commands::terminal::{figure_table, with_interval};
use crate::error::hint;
use crate::metrics::stratified::{Estimate, Stratum, estimate};
use crate::progress::{Progress, readable};
use crate::tables::sample_file::{self, LabelledSample};

/// Estimates the figures; returns the lines for stdout.
pub(super) fn run(args: &EvaluateArgs, file: &Path, progress: &Progress) -> Result<Vec<String>> {
    let rows = sample_file::read(file)?;
    let labelled = rows.iter().filter(|row| row.is_duplicate.is_some()).count();
    if labelled == 0 {
        return Err(hint(
            format!("{}: no row of {} has a label", file.display(), rows.len()),
            "fill the column is_duplicate with 1 or 0 and save the file",
        ));
    }
    let strata = strata(file, &rows, progress)?;
    let draws = args.bootstrap.unwrap_or(DRAWS_OF_SAMPLE);
    let figures = estimate(&strata, draws, args.seed);
    if args.json {
        return Ok(vec![serde_json::to_string_pretty(&figures)?]);
    }
    let shown = |name: &str, estimate: Option<Estimate>| {
        vec![name.to_string(), with_interval(estimate.map(|e| e.value), estimate.and_then(|e| e.interval))]
    };
    let mut lines = figure_table(
        &["figure", "estimate (95 % interval)"],
        [shown("precision", figures.precision), shown("recall among candidates", figures.recall)],
    );
    if let Some(duplicates) = figures.duplicates {
        let count = |n: f64| readable(n.round() as usize);
        let interval = duplicates.interval.map_or(String::new(), |interval| {
            format!(" (95 % interval {} to {})", count(interval.low), count(interval.high))
        });
        lines.push(format!("about {} of the run's pairs are duplicates{interval}", count(duplicates.value)));
    }
    lines.push(format!("from {labelled} labels of {} sampled pairs in {} strata", rows.len(), strata.len()));
    Ok(lines)
}

/// Strata with at least one label. Strata without a label are left out with a warning: nothing is known about their
/// pairs.
fn strata(file: &Path, rows: &[LabelledSample], progress: &Progress) -> Result<Vec<Stratum>> {
    let mut strata: BTreeMap<u32, Stratum> = BTreeMap::new();
    for row in rows {
        let new = Stratum { pairs: row.stratum_pairs, predicted: row.predicted, labelled: 0, duplicates: 0 };
        let stratum = strata.entry(row.stratum).or_insert(new);
        if (stratum.pairs, stratum.predicted) != (row.stratum_pairs, row.predicted) {
            bail!(
                "{}: the rows of stratum {} contradict each other: was the file edited?",
                file.display(),
                row.stratum
            );
        }
        stratum.labelled += u64::from(row.is_duplicate.is_some());
        stratum.duplicates += u64::from(row.is_duplicate == Some(true));
    }
    if let Some((number, over)) = strata.iter().find(|(_, stratum)| stratum.labelled > stratum.pairs) {
        bail!("{}: stratum {number} has {} labels for {} pairs", file.display(), over.labelled, over.pairs);
    }
    let unlabelled: Vec<&Stratum> = strata.values().filter(|stratum| stratum.labelled == 0).collect();
    if !unlabelled.is_empty() {
        let pairs: u64 = unlabelled.iter().map(|stratum| stratum.pairs).sum();
        progress
            .warn(format!("{} strata with {pairs} pairs have no label: the figures leave them out", unlabelled.len()));
    }
    Ok(strata.into_values().filter(|stratum| stratum.labelled > 0).collect())
}
