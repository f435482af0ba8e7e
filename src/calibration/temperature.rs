//! Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes log-odds less sure, or more.

use crate::calibration::calibrator::{Calibrator, sigmoid};

/// Newton steps; the loss is convex in 1 / T, so few are needed.
const STEPS: usize = 100;

/// Minimises the mean negative log-likelihood of σ(z / T) over T. `None` if no finite T > 0 does: the scores
/// separate the classes perfectly, or rank them backwards.
pub fn fit(labels: &[bool], scores: &[f64]) -> Option<Calibrator> {
    let mut inverse = 1.0;
    for _ in 0..STEPS {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for (&label, &z) in labels.iter().zip(scores) {
            let p = sigmoid(z * inverse);
            slope += (p - if label { 1.0 } else { 0.0 }) * z;
            curvature += p * (1.0 - p) * z * z;
        }
        let step = slope / curvature;
        if !step.is_finite() {
            return None;
        }
        // a full step may overshoot to a negative value; the loss is convex, so a smaller one gets there too
        let next = if inverse - step > 0.0 { inverse - step } else { inverse / 10.0 };
        let moved = (next - inverse).abs();
        inverse = next;
        if moved <= 1e-12 * inverse {
            return Some(Calibrator::Temperature { temperature: 1.0 / inverse });
        }
    }
    None
}
