//! Whether probabilities mean what they say: of the pairs called 80 % likely, are 80 % duplicates?

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ReliabilityBin {
    pub pairs: u64,
    pub mean_probability: f64,
    /// Share of duplicates among the bin's pairs.
    pub observed: f64,
}

/// Bins of equal width over 0..=1, the empty ones left out. A probability on an edge belongs to the bin above, 1 to the
/// last.
pub fn reliability(labels: &[bool], probabilities: &[f64], bins: usize) -> Vec<ReliabilityBin> {
    let mut sums = vec![(0_u64, 0.0, 0_u64); bins];
    for (&label, &probability) in labels.iter().zip(probabilities) {
        let bin = ((probability * bins as f64) as usize).min(bins - 1);
        let (pairs, sum, duplicates) = &mut sums[bin];
        *pairs += 1;
        *sum += probability;
        *duplicates += u64::from(label);
    }
    let filled = sums.into_iter().filter(|(pairs, ..)| *pairs > 0);
    filled
        .map(|(pairs, sum, duplicates)| ReliabilityBin {
            pairs,
            mean_probability: sum / pairs as f64,
            observed: duplicates as f64 / pairs as f64,
        })
        .collect()
}

/// Bins of the expected calibration error.
pub const ERROR_BINS: usize = 15;

/// Expected calibration error: the mean distance between probability and observed share over [`ERROR_BINS`] bins of equal width,
/// weighted by their pairs (Guo et al. 2017, arXiv:1706.04599). `None` without pairs.
pub fn expected_calibration_error(labels: &[bool], probabilities: &[f64]) -> Option<f64> {
    let distance = |bin: ReliabilityBin| bin.pairs as f64 * (bin.mean_probability - bin.observed).abs();
    let sum: f64 = reliability(labels, probabilities, ERROR_BINS).into_iter().map(distance).sum();
    (!labels.is_empty()).then(|| sum / labels.len() as f64)
}

/// Brier score: the mean squared distance between probability and label, 0 to 1 (Brier 1950). `None` without pairs.
pub fn brier(labels: &[bool], probabilities: &[f64]) -> Option<f64> {
    let distance = |(&label, &p): (&bool, &f64)| (p - if label { 1.0 } else { 0.0 }).powi(2);
    let sum: f64 = labels.iter().zip(probabilities).map(distance).sum();
    (!labels.is_empty()).then(|| sum / labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_their_lower_edge_and_the_last_holds_one() {
        let bins = reliability(&[true, false, true], &[0.5, 0.49, 1.0], 2);
        assert_eq!(bins.len(), 2);
        assert_eq!((bins[0].pairs, bins[0].observed), (1, 0.0));
        assert_eq!((bins[1].pairs, bins[1].mean_probability, bins[1].observed), (2, 0.75, 1.0));
    }

    #[test]
    fn errors_of_known_cases() {
        let (labels, sure) = ([true, false, true, false], [1.0, 0.0, 1.0, 0.0]);
        assert_eq!((expected_calibration_error(&labels, &sure), brier(&labels, &sure)), (Some(0.0), Some(0.0)));
        // always 0.5 is calibrated on a fair coin, yet says nothing
        let coin = [0.5; 4];
        assert_eq!((expected_calibration_error(&labels, &coin), brier(&labels, &coin)), (Some(0.0), Some(0.25)));
        assert_eq!(expected_calibration_error(&labels, &[0.9; 4]), Some(0.4));
        assert_eq!((expected_calibration_error(&[], &[]), brier(&[], &[])), (None, None));
    }
}
