//! What happened in a run: stage records for `manifest.json`, figures for `metrics.parquet`.

use std::collections::BTreeMap;

use crate::run::manifest::StageRecord;
use crate::tables::results::Metric;

/// What the stages of a run leave behind besides their tables.
#[derive(Default)]
pub struct Log {
    pub records: Vec<StageRecord>,
    pub metrics: Vec<Metric>,
}

impl Log {
    /// Closes a stage: its record for the manifest, and its counts as metrics.
    pub fn stage(
        &mut self,
        stage: &'static str,
        seconds: f64,
        cached: bool,
        rows: [usize; 2],
        dropped: &[(&'static str, u64)],
    ) {
        self.count(stage, "rows_in", rows[0] as f64);
        self.count(stage, "rows_out", rows[1] as f64);
        for &(name, count) in dropped {
            self.count(stage, name, count as f64);
        }
        self.records.push(StageRecord {
            stage: stage.into(),
            seconds,
            cached,
            rows_in: rows[0] as u64,
            rows_out: rows[1] as u64,
            dropped: dropped.iter().map(|&(name, count)| (name.to_string(), count)).collect::<BTreeMap<_, _>>(),
        });
    }

    /// A number of rows.
    pub fn count(&mut self, stage: &'static str, metric: &'static str, value: f64) {
        self.metrics.push(Metric { stage, metric, value, unit: "rows" });
    }

    /// Any other figure.
    pub fn figure(&mut self, stage: &'static str, metric: &'static str, value: f64, unit: &'static str) {
        self.metrics.push(Metric { stage, metric, value, unit });
    }
}
