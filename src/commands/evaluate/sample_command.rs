//! `mine evaluate --sample`: precision and recall of a run, from a sample of its pairs that a person labelled.

use anyhow::Result;
use serde_json::{Value, json};

use crate::commands::evaluate::args::{DRAWS_OF_SAMPLE, EvaluateArgs};
use crate::commands::evaluate::labelled_sample::{Decision, Sample};
use crate::commands::terminal::{figure_table, with_interval};
use crate::error::{hint, usage};
use crate::metrics::precision_recall::{Curve, weighted_curve};
use crate::metrics::stratified::{Estimate, SampleFigures, estimate};
use crate::progress::{Progress, readable};

/// Most bootstrap draws for a point of the curve, of which there are many.
const DRAWS_OF_POINT: u64 = 1000;

/// Estimates the figures; returns the lines for stdout.
pub(super) fn run(args: &EvaluateArgs, progress: &Progress) -> Result<Vec<String>> {
    if let Some(target) = args.target_precision.filter(|target| !(0.0..=1.0).contains(target)) {
        return Err(usage(format!("--target-precision is {target}, expected 0 to 1")));
    }
    if let Some(threshold) = args.threshold.filter(|threshold| !(0.0..=1.0).contains(threshold)) {
        return Err(usage(format!("--threshold is {threshold}, expected 0 to 1")));
    }
    let mut sample = Sample::read(&args.sample, progress)?;
    let threshold_of_run = args.run().map(|folder| sample.rescore(folder, progress)).transpose()?;
    let curve = curve(&sample);
    let (threshold, source) = match (args.target_precision, args.threshold, threshold_of_run) {
        (Some(target), ..) => (Some(reaching(target, &curve)?), "--target-precision"),
        (None, Some(threshold), _) => (Some(threshold), "--threshold"),
        (None, None, Some(threshold)) => (Some(threshold), "the run's threshold"),
        (None, None, None) => (None, "the decisions in the file"),
    };
    let draws = args.bootstrap.unwrap_or(DRAWS_OF_SAMPLE);
    let at = |threshold: Option<f64>, draws| {
        let decision = threshold.map_or(Decision::Recorded, Decision::Threshold);
        estimate(&sample.strata(decision), draws, args.seed)
    };
    let figures = at(threshold, draws);
    let points = thresholds(&curve).into_iter().map(|t| (t, at(Some(t), draws.min(DRAWS_OF_POINT))));
    let answer = Answer { threshold, source, figures, points: points.collect(), curve };
    if args.json { answer.json(args, &sample) } else { Ok(answer.lines(args, &sample)) }
}

/// Precision and recall at every score, as the report draws them.
fn curve(sample: &Sample) -> Curve {
    let (scored, duplicates) = sample.weighted();
    let labels: Vec<bool> = scored.iter().map(|pair| pair.0).collect();
    let scores: Vec<f64> = scored.iter().map(|pair| pair.1).collect();
    let weights: Vec<f64> = scored.iter().map(|pair| pair.2).collect();
    weighted_curve(&labels, &scores, &weights, duplicates)
}

/// The lowest threshold that reaches the precision.
fn reaching(target: f64, curve: &Curve) -> Result<f64> {
    if let Some(at) = curve.points.iter().rposition(|point| point.precision >= target) {
        return Ok(shortest_between(curve.points.get(at + 1).map(|point| point.threshold), curve.points[at].threshold));
    }
    let best = curve.points.iter().map(|point| point.precision).fold(0.0, f64::max);
    Err(hint(
        format!("no threshold reaches precision {target}: the highest on these labels is {best:.3}"),
        "label more pairs with high scores, or ask for less: --target-precision",
    ))
}

/// The number with the fewest decimals that decides like `high`: above `low`, not above `high`.
fn shortest_between(low: Option<f64>, high: f64) -> f64 {
    let rounded = (2..7).map(|decimals| {
        let scale = 10_f64.powi(decimals);
        (high * scale).floor() / scale
    });
    let above = |number: &f64| low.is_none_or(|low| *number as f32 > low as f32);
    rounded.into_iter().find(above).unwrap_or(high)
}

/// Round thresholds from the lowest score to the highest one.
fn thresholds(curve: &Curve) -> Vec<f64> {
    let (Some(highest), Some(lowest)) = (curve.points.first(), curve.points.last()) else { return Vec::new() };
    let (high, low) = (highest.threshold, lowest.threshold);
    // steps a hundred: 5, 2 or 1
    let step = [5_u32, 2, 1].into_iter().find(|&step| (high - low) * 100.0 >= f64::from(8 * step)).unwrap_or(1);
    let first = (low * 100.0 / f64::from(step)).ceil().max(0.0) as u32 * step;
    (first..=100)
        .step_by(step as usize)
        .map(|hundredths| f64::from(hundredths) / 100.0)
        .take_while(|t| *t <= high)
        .collect()
}

struct Answer {
    /// `None` for the decisions in the file.
    threshold: Option<f64>,
    source: &'static str,
    figures: SampleFigures,
    points: Vec<(f64, SampleFigures)>,
    curve: Curve,
}

impl Answer {
    fn json(&self, args: &EvaluateArgs, sample: &Sample) -> Result<Vec<String>> {
        let mut object = serde_json::to_value(self.figures)?;
        let point = |(threshold, figures): &(f64, SampleFigures)| json!({ "threshold": threshold, "precision": figures.precision, "recall": figures.recall });
        object["threshold"] = json!(self.threshold);
        object["source"] = json!(self.source);
        object["labelled"] = json!(sample.labelled());
        object["without_score"] = json!(sample.unscored());
        object["average_precision"] = json!(self.curve.average_precision);
        object["curve"] = Value::Array(self.points.iter().map(point).collect());
        if let Some(target) = args.target_precision {
            object["target_precision"] = json!(target);
        }
        Ok(vec![serde_json::to_string_pretty(&object)?])
    }

    fn lines(&self, args: &EvaluateArgs, sample: &Sample) -> Vec<String> {
        let shown =
            |estimate: Option<Estimate>| with_interval(estimate.map(|e| e.value), estimate.and_then(|e| e.interval));
        let row = |name: &str, estimate| vec![name.to_string(), shown(estimate)];
        let mut lines = vec![match self.threshold {
            Some(threshold) => format!("at the threshold {threshold} ({})", self.source),
            None => "as the run decided when the sample was drawn".into(),
        }];
        let figures = &self.figures;
        lines.extend(figure_table(
            &["figure", "estimate (95 % interval)"],
            [row("precision", figures.precision), row("recall among candidates", figures.recall)],
        ));
        if let Some(duplicates) = figures.duplicates {
            let count = |n: f64| readable(n.round() as usize);
            let interval = duplicates.interval.map_or(String::new(), |interval| {
                format!(" (95 % interval {} to {})", count(interval.low), count(interval.high))
            });
            lines.push(format!("about {} of the run's pairs are duplicates{interval}", count(duplicates.value)));
        }
        if !self.points.is_empty() {
            lines.push(String::new());
            let row = |(threshold, figures): &(f64, SampleFigures)| {
                vec![format!("{threshold:.2}"), shown(figures.precision), shown(figures.recall)]
            };
            lines.extend(figure_table(&["threshold", "precision", "recall"], self.points.iter().map(row)));
        }
        lines.push(String::new());
        let labels = sample.labelled();
        let strata = sample.strata(Decision::Recorded).len();
        lines.push(format!("from {labels} labels of {} sampled pairs in {strata} strata", sample.drawn));
        if sample.unscored() > 0 {
            lines.push(format!("{} of them have no score: no threshold calls them duplicates", sample.unscored()));
        }
        if let (Some(target), Some(threshold)) = (args.target_precision, self.threshold) {
            lines.push(format!(
                "{threshold} is the lowest threshold with precision {target}: mine … --threshold {threshold}"
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::precision_recall::CurvePoint;

    fn curve(points: &[(f64, f64)]) -> Curve {
        let point = |&(threshold, precision): &(f64, f64)| CurvePoint { threshold, precision, recall: 0.5 };
        Curve { points: points.iter().map(point).collect(), average_precision: None }
    }

    #[test]
    fn the_target_is_reached_at_the_lowest_and_shortest_threshold() {
        let points = curve(&[(0.987_65, 1.0), (0.912_34, 0.8), (0.851_9, 0.96), (0.849, 0.7)]);
        assert_eq!(reaching(0.95, &points).unwrap(), 0.85);
        assert_eq!(reaching(0.97, &points).unwrap(), 0.98);
        let refused = reaching(0.9, &curve(&[(0.5, 0.3), (0.4, 0.4)])).unwrap_err().to_string();
        assert_eq!(refused, "no threshold reaches precision 0.9: the highest on these labels is 0.400");
        assert_eq!(shortest_between(Some(0.123_456_7), 0.123_456_8), 0.123_456_8);
    }

    #[test]
    fn thresholds_are_round_and_between_the_scores() {
        let of = |high, low| thresholds(&curve(&[(high, 1.0), (low, 0.5)]));
        assert_eq!(of(0.99, 0.03).first(), Some(&0.05));
        assert_eq!((of(0.99, 0.03).len(), of(0.99, 0.80).len(), of(0.99, 0.95).len()), (19, 10, 5));
        assert_eq!(thresholds(&curve(&[])), Vec::<f64>::new());
    }
}
