//! Platt scaling (Platt 1999), with his prior on the targets, so that separable scores do not make it infinitely sure:
//! a duplicate counts as (N₊ + 1) / (N₊ + 2), another pair as 1 / (N₋ + 2). scikit-learn fits the same.

use crate::calibration::calibrator::{Calibrator, sigmoid};

/// Most Newton steps.
const STEPS: usize = 100;

/// Minimises the cross-entropy of σ(a z + b) with the targets. `None` unless both classes occur and a higher score
/// makes a duplicate more likely.
pub fn fit(labels: &[bool], scores: &[f64]) -> Option<Calibrator> {
    let positives = labels.iter().filter(|&&label| label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
    let target = |label: bool| if label { high } else { low };
    let loss = |a: f64, b: f64| -> f64 {
        let of = |(&label, &z): (&bool, &f64)| {
            let x = a * z + b;
            // log(1 + eˣ) − t x, without overflow
            x.max(0.0) + (-x.abs()).exp().ln_1p() - target(label) * x
        };
        labels.iter().zip(scores).map(of).sum()
    };
    let (mut a, mut b) = (0.0, ((positives + 1.0) / (negatives + 1.0)).ln());
    for _ in 0..STEPS {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (&label, &z) in labels.iter().zip(scores) {
            let p = sigmoid(a * z + b);
            let (error, weight) = (p - target(label), p * (1.0 - p));
            (ga, gb) = (ga + error * z, gb + error);
            (haa, hab, hbb) = (haa + weight * z * z, hab + weight * z, hbb + weight);
        }
        let determinant = haa * hbb - hab * hab;
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        if !(da.is_finite() && db.is_finite()) {
            return None;
        }
        // halve the step until the loss falls: a full Newton step can overshoot (Lin, Lin and Weng 2007)
        let before = loss(a, b);
        let mut share = 1.0;
        while loss(a - share * da, b - share * db) > before && share > 1e-10 {
            share /= 2.0;
        }
        (a, b) = (a - share * da, b - share * db);
        if (share * da).abs() <= 1e-12 * a.abs().max(1.0) && (share * db).abs() <= 1e-12 * b.abs().max(1.0) {
            break;
        }
    }
    (a > 0.0).then_some(Calibrator::Platt { slope: a, intercept: b })
}
