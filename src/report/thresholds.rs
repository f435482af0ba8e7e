//! What another threshold would give: precision and recall by the labels, and how many pairs and clusters there would be.

use anyhow::Result;

use crate::metrics::stratified::Estimate;
use crate::report::charts::{self, RatePoint};
use crate::report::format::{count, percent};
use crate::report::labels::ScoredLabels;
use crate::run::manifest::Manifest;

/// Thresholds between the lowest and the highest score.
const STEPS: usize = 40;
/// The same of a run with very many pairs.
const FEWEST_STEPS: usize = 10;
/// Pairs that all clusterings together may read: each threshold is a clustering of all pairs.
const PAIRS_READ: usize = 20_000_000;

/// With more scored pairs, clusters are not counted.
pub const MOST_CLUSTERED: usize = 2_000_000;

/// The run's pairs at another threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    pub threshold: f32,
    /// Duplicate pairs, copies included.
    pub duplicates: u64,
    /// `None` if the run has too many pairs, no texts, or a reference.
    pub clusters: Option<u64>,
}

/// The thresholds that are tried for a run with so many semantic pairs, ascending; the run's own is among them.
pub fn grid(manifest: &Manifest, pairs: usize) -> Vec<f32> {
    let steps = match pairs {
        0..=MOST_CLUSTERED => (PAIRS_READ / pairs.max(1)).clamp(FEWEST_STEPS, STEPS),
        _ => STEPS,
    };
    let own = manifest.rule().threshold;
    let low = match manifest.models.cross_encoder {
        Some(_) => 0.0,
        None => manifest.options.min_cosine.unwrap_or_default().max(0.0),
    };
    let step = |at: usize| low + (1.0 - low) * at as f32 / steps as f32;
    let mut grid: Vec<f32> = (1..steps).map(step).map(|t| (t * 1000.0).round() / 1000.0).collect();
    grid.push(own);
    grid.sort_by(f32::total_cmp);
    // a step beside the run's own threshold would be hard to tell from it
    let is_own = |threshold: f32| threshold == own;
    grid.retain(|&threshold| is_own(threshold) || (threshold - own).abs() >= 0.0015);
    grid.dedup();
    grid
}

/// A threshold as the page shows it.
pub struct ThresholdRow {
    pub threshold: String,
    /// Where it is on the chart's axis, 0 to 1.
    pub place: String,
    pub precision: Share,
    pub recall: Share,
    pub duplicates: String,
    pub clusters: String,
    pub is_own: bool,
}

/// The chart, and its table.
pub struct Thresholds {
    pub svg: String,
    pub rows: Vec<ThresholdRow>,
    /// Position of the run's own threshold among the rows.
    pub own: usize,
}

/// The section of the page; `None` without outcomes.
pub fn view(outcomes: &[Outcome], scored: &ScoredLabels, own: f32) -> Result<Option<Thresholds>> {
    let (Some(first), Some(last)) = (outcomes.first(), outcomes.last()) else { return Ok(None) };
    let (low, high) = (f64::from(first.threshold), f64::from(last.threshold));
    let curve = scored.curve();
    let mut points = Vec::new();
    let rows = outcomes.iter().map(|outcome| {
        let threshold = f64::from(outcome.threshold);
        let point = curve.at(threshold);
        let figures = scored.figures_at(threshold);
        let recall = point.map_or(0.0, |point| point.recall);
        points.push(RatePoint { threshold, precision: point.map(|point| point.precision), recall });
        ThresholdRow {
            // the steps have three digits, and so has the run's own among them
            threshold: ((outcome.threshold * 1000.0).round() / 1000.0).to_string(),
            place: format!("{:.4}", if high > low { (threshold - low) / (high - low) } else { 0.0 }),
            precision: Share::new(point.map(|point| point.precision), figures.and_then(|figures| figures.precision)),
            recall: Share::new(Some(recall), figures.and_then(|figures| figures.recall)),
            duplicates: count(outcome.duplicates as f64),
            clusters: outcome.clusters.map_or("–".into(), |clusters| count(clusters as f64)),
            is_own: outcome.threshold == own,
        }
    });
    let rows: Vec<ThresholdRow> = rows.collect();
    let own_row = rows.iter().position(|row| row.is_own).unwrap_or(0);
    Ok(Some(Thresholds { svg: charts::thresholds(&points, f64::from(own))?, rows, own: own_row }))
}

/// `95.3 %`, and its interval `(91.2–98.0)` if it has one.
pub struct Share {
    pub value: String,
    pub interval: Option<String>,
}

impl Share {
    fn new(value: Option<f64>, estimate: Option<Estimate>) -> Self {
        let Some(value) = value else { return Self { value: "–".into(), interval: None } };
        let interval = estimate.and_then(|estimate| estimate.interval);
        let shown = |low: f64, high: f64| format!("({:.1}–{:.1})", 100.0 * low, 100.0 * high);
        Self { value: percent(value), interval: interval.map(|interval| shown(interval.low, interval.high)) }
    }
}

/// `95.3 %`, or with its interval `95.3 % (91.2–98.0)`.
pub fn share(value: Option<f64>, estimate: Option<Estimate>) -> String {
    let Share { value, interval } = Share::new(value, estimate);
    interval.map_or(value.clone(), |interval| format!("{value} {interval}"))
}
