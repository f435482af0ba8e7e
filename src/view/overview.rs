//! A run as a whole: counts, and its largest clusters.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::progress::readable;
use crate::run::reader::FinishedRun;
use crate::run::schema::ClusterStatsRow;
use crate::view::block::Block;
use crate::view::cluster::ClusterFigures;
use crate::view::named::shown_text;

/// Clusters that are listed.
const LARGEST: usize = 10;

/// What the overview is made from.
pub struct OverviewRows {
    /// Figures by `stage.metric`.
    metrics: BTreeMap<String, f64>,
    /// The largest clusters, the largest first.
    largest: Vec<ClusterStatsRow>,
}

impl OverviewRows {
    /// `stats` are all clusters of the run.
    pub fn new(metrics: BTreeMap<String, f64>, mut stats: Vec<ClusterStatsRow>) -> Self {
        stats.sort_by_key(|stats| Reverse(stats.size));
        stats.truncate(LARGEST);
        Self { metrics, largest: stats }
    }

    fn metric(&self, name: &str) -> usize {
        self.metrics.get(name).copied().unwrap_or(0.0) as usize
    }
}

/// The overview for JSON.
#[derive(Debug, Serialize)]
pub struct Overview {
    pub run_id: String,
    pub number: u64,
    pub version: String,
    pub started: String,
    pub seconds: f64,
    pub metrics: BTreeMap<String, f64>,
    pub warnings: Vec<String>,
    pub biggest_clusters: Vec<ClusterFigures>,
}

/// The overview for JSON.
pub fn view(run: &FinishedRun, rows: &OverviewRows) -> Overview {
    let manifest = &run.manifest;
    Overview {
        run_id: manifest.run_id.clone(),
        number: manifest.number,
        version: manifest.version.clone(),
        started: manifest.started.clone(),
        seconds: manifest.seconds,
        metrics: rows.metrics.clone(),
        warnings: manifest.warnings.clone(),
        biggest_clusters: rows.largest.iter().map(|stats| ClusterFigures::new(run, stats)).collect(),
    }
}

/// The overview for the terminal.
pub fn lines(run: &FinishedRun, rows: &OverviewRows) -> Vec<Block> {
    let count = |name: &str| readable(rows.metric(name));
    let manifest = &run.manifest;
    let pairs = ["pairs.semantic", "pairs.exact", "pairs.normalised"].map(|name| rows.metric(name)).iter().sum();
    let cluster = |stats: &ClusterStatsRow| {
        vec![
            stats.cluster.to_string(),
            readable(stats.size as usize),
            format!("{:.0} %", 100.0 * stats.density),
            format!("{:.3}", stats.min_probability),
            if stats.needs_review { "review".into() } else { String::new() },
            shown_text(run, stats.representative),
        ]
    };
    let header = ["cluster", "size", "pairs that match", "lowest", "", "representative"];
    vec![
        Block::line(format!(
            "run        version {} of {}, by mine {} ({})",
            manifest.number, manifest.started, manifest.version, manifest.run_id
        )),
        Block::line(format!("questions  {} ({} rows)", count("read.rows_out"), count("read.rows_in"))),
        Block::line(format!(
            "pairs      {}: {} duplicates, {} undecided",
            readable(pairs),
            count("pairs.duplicates"),
            count("pairs.undecided")
        )),
        Block::line(format!(
            "clusters   {} with {} questions, {} to review",
            count("cluster.clusters"),
            count("cluster.questions_in_clusters"),
            count("cluster.needs_review")
        )),
        Block::gap(),
        Block::table(&header, &[1, 2, 3], rows.largest.iter().map(cluster).collect()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_clusters_come_first_and_ties_in_their_order() {
        let stats = |cluster, size| ClusterStatsRow { cluster, size, ..ClusterStatsRow::default() };
        let all = (0..12).map(|cluster| stats(cluster, 2)).chain([stats(12, 3)]).collect();
        let rows = OverviewRows::new(BTreeMap::new(), all);
        let numbers: Vec<i64> = rows.largest.iter().map(|stats| stats.cluster).collect();
        assert_eq!(numbers, [12, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(rows.metric("pairs.exact"), 0);
    }
}
