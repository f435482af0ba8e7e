//! What a fitted calibration says of itself.

use serde_json::{Value, json};

use crate::calibration::fitted::Fitted;
use crate::progress::readable;

/// Calibration error and Brier score on pairs that were not fitted.
pub fn calibration_errors(fitted: &Fitted) -> [(&'static str, Option<f64>); 2] {
    let chosen = fitted.choice.candidates.first();
    [
        ("expected calibration error", chosen.map(|chosen| chosen.expected_calibration_error)),
        ("Brier score", chosen.map(|chosen| chosen.brier)),
    ]
}

pub fn at_threshold(fitted: &Fitted) -> Value {
    let c = fitted.confusion;
    json!({ "precision": c.precision(), "recall": c.recall(), "f1": c.f1(),
            "interval": fitted.operating.map(|operating| operating.interval) })
}

pub fn fitted_lines(fitted: &Fitted, pairs: usize) -> Vec<String> {
    let mut lines = vec!["cross-validated on five folds, the chosen method first:".to_string()];
    lines.extend(fitted.choice.candidates.iter().map(|tried| {
        let (brier, ece) = (tried.brier, tried.expected_calibration_error);
        format!("  {:<12} Brier {brier:.4}  expected calibration error {ece:.4}", tried.method)
    }));
    let interval = fitted.operating.map_or(String::new(), |operating| {
        let interval = operating.interval;
        format!("; 95 % interval of the target {:.3} to {:.3}", interval.low, interval.high)
    });
    let c = fitted.confusion;
    lines.push(format!(
        "threshold {}: precision {:.3}, recall {:.3}, F1 {:.3} on {} pairs{interval}",
        fitted.threshold,
        c.precision(),
        c.recall(),
        c.f1(),
        readable(pairs)
    ));
    lines
}
