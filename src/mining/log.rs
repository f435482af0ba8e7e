//! What happened in a run: stage records for `manifest.json`, figures for `metrics.parquet`.

use std::collections::BTreeMap;

use crate::calibration::profile::Fit;
use crate::mining::candidates::{Candidate, Found};
use crate::mining::embed::Embedded;
use crate::mining::plan::Plan;
use crate::mining::rerank::{Reranked, to_rerank};
use crate::progress::Progress;
use crate::run::manifest::{ExecutorRecord, StageRecord};
use crate::run::schema::MetricRow;

/// What the stages of a run leave behind besides their tables.
#[derive(Default)]
pub struct Log {
    pub records: Vec<StageRecord>,
    figures: Vec<Figure>,
}

struct Figure {
    stage: &'static str,
    metric: &'static str,
    value: f64,
    unit: &'static str,
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
            computed: None,
            executors: BTreeMap::new(),
            dropped: dropped.iter().map(|&(name, count)| (name.to_string(), count)).collect::<BTreeMap<_, _>>(),
        });
    }

    /// A number of rows.
    pub fn count(&mut self, stage: &'static str, metric: &'static str, value: f64) {
        self.figure(stage, metric, value, "rows");
    }

    fn figure(&mut self, stage: &'static str, metric: &'static str, value: f64, unit: &'static str) {
        self.figures.push(Figure { stage, metric, value, unit });
    }

    /// The figures so far as rows of `metrics.parquet`.
    pub fn metrics(&self, run_id: &str) -> Vec<MetricRow> {
        let row = |figure: &Figure| MetricRow {
            run_id: run_id.into(),
            stage: figure.stage.into(),
            metric: figure.metric.into(),
            value: figure.value,
            unit: figure.unit.into(),
        };
        self.figures.iter().map(row).collect()
    }

    /// The embed stage.
    pub fn embed(&mut self, embedded: &Embedded, texts: usize) {
        let noted = [("truncated", embedded.truncated() as u64), ("unknown", embedded.unknown() as u64)];
        self.stage("embed", embedded.seconds, embedded.computed == 0, [texts, texts], &noted);
        self.note_computed(embedded.computed);
    }

    /// The candidates stage.
    pub fn candidates(&mut self, found: &Found, texts: usize) {
        let counts = &found.counts;
        let mut dropped = vec![("unusable_vectors", counts.unusable_vectors as u64)];
        dropped.extend(counts.below_min_cosine.map(|below| ("neighbours_below_floor", below)));
        dropped.extend(counts.cut_lists.map(|cut| ("texts_with_more_than_k_above_floor", cut as u64)));
        self.stage("candidates", found.seconds, found.searched == 0, [texts, found.pairs.len()], &dropped);
        self.note_computed(found.searched);
        self.figure("candidates", "recall_at_k", counts.recall_at_k, "share");
        self.figure("candidates", "recall_above_floor", counts.recall_above_min_cosine, "share");
    }

    /// The rerank stage; warns of what the budget left out.
    pub fn rerank(&mut self, reranked: &Reranked, candidates: &[Candidate], plan: &Plan, progress: &Progress) {
        let (rule, has_budget) = (&plan.rule, plan.options.rerank_budget.is_some());
        let (all, asked) = (candidates.len(), to_rerank(candidates, rule));
        let below = candidates.iter().filter(|pair| !rule.can_be_duplicate(pair.cosine)).count();
        let left = asked - reranked.pairs;
        // the cosine decides about the others, unless a budget ended
        let (unasked, left) = if has_budget { (0, left) } else { (left, 0) };
        let dropped = [
            ("below_rerank_floor", below as u64),
            ("above_rerank_ceiling", (all - asked - below) as u64),
            ("not_asked", unasked as u64),
            ("not_reranked", left as u64),
            ("truncated", reranked.truncated as u64),
        ];
        self.stage("rerank", reranked.seconds, reranked.computed == 0, [all, reranked.pairs], &dropped);
        self.note_computed(reranked.computed);
        self.count("rerank", "both_orders", reranked.both_orders as f64);
        if let Some(audit) = reranked.audit {
            self.count("rerank", "sampled_below_rerank_floor", audit.sampled as f64);
            self.count("rerank", "duplicates_below_rerank_floor", audit.lost.round());
        }
        if left > 0 {
            progress.warn(format!(
                "the rerank budget ended before {left} of {asked} candidates: they have no probability, are neither \
                 duplicates nor not, and are left out of the clusters; the next run continues with them"
            ));
        }
    }

    /// Whether the calibration fits the corpus; warns if it does not.
    pub fn fit(&mut self, fit: &Fit, progress: &Progress) {
        self.figure("rerank", "log_odds_apart", fit.apart, "log-odds");
        if !fit.is_good() {
            progress.warn(format!(
                "the calibration may not fit: for pairs with the same cosine, the cross-encoder's log-odds are {:.1} apart from \
                 those of the corpus that it was calibrated for. Thresholds and probabilities may be wrong here: label a \
                 sample (mine sample), and calibrate (mine calibrate)",
                fit.apart
            ));
        }
    }

    /// What each executor did in the last stage.
    pub fn note_executors(&mut self, executors: BTreeMap<String, ExecutorRecord>) {
        if let Some(record) = self.records.last_mut() {
            record.executors = executors;
        }
    }

    /// How much of the last stage was not stored. Only the manifest says so: results do not depend on it.
    fn note_computed(&mut self, computed: usize) {
        if let Some(record) = self.records.last_mut() {
            record.computed = Some(computed as u64);
        }
    }
}
