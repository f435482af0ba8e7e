//! Straight lines between points that never fall.

/// The height of the lines at `score`; flat outside the points.
pub fn interpolate(scores: &[f64], probabilities: &[f64], score: f64) -> f64 {
    let above = scores.partition_point(|&known| known < score);
    match (above.checked_sub(1), scores.get(above)) {
        (_, Some(&known)) if known == score => probabilities[above],
        (Some(below), Some(&next)) => {
            let share = (score - scores[below]) / (next - scores[below]);
            probabilities[below] + share * (probabilities[above] - probabilities[below])
        }
        (Some(below), None) => probabilities[below],
        (None, _) => probabilities[0],
    }
}

/// The lowest score at which the lines reach `probability`; infinite if none does.
pub fn inverse(scores: &[f64], probabilities: &[f64], probability: f64) -> f64 {
    let at = probabilities.partition_point(|&known| known < probability);
    match (at.checked_sub(1), scores.get(at)) {
        (None, _) => f64::NEG_INFINITY,
        (_, None) => f64::INFINITY,
        (Some(below), Some(&score)) => {
            let share = (probability - probabilities[below]) / (probabilities[at] - probabilities[below]);
            scores[below] + share * (score - scores[below])
        }
    }
}
