//! Whether probabilities mean what they say: of the pairs called 80 % likely, are 80 % duplicates?

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ReliabilityBin {
    /// Weight of its pairs; without weights their number.
    pub weight: f64,
    pub mean_probability: f64,
    /// Share of duplicates among them.
    pub observed: f64,
}

/// Bins of equal width over 0..=1, without the empty ones. A probability on an edge belongs to the bin above, 1 to the
/// last. Pair i counts `weights[i]` times.
pub fn weighted_reliability(
    labels: &[bool],
    probabilities: &[f64],
    weights: &[f64],
    bins: usize,
) -> Vec<ReliabilityBin> {
    let mut sums = vec![[0.0; 3]; bins];
    for ((&label, &probability), &weight) in labels.iter().zip(probabilities).zip(weights) {
        let bin = ((probability * bins as f64) as usize).min(bins - 1);
        let [pairs, sum, duplicates] = &mut sums[bin];
        *pairs += weight;
        *sum += weight * probability;
        *duplicates += if label { weight } else { 0.0 };
    }
    let filled = sums.into_iter().filter(|[weight, ..]| *weight > 0.0);
    filled
        .map(|[weight, sum, duplicates]| ReliabilityBin {
            weight,
            mean_probability: sum / weight,
            observed: duplicates / weight,
        })
        .collect()
}

/// Bins of the expected calibration error.
const ERROR_BINS: usize = 15;

/// Expected calibration error: the mean distance between probability and observed share over `ERROR_BINS` bins of
/// equal width, weighted by their pairs (Guo et al. 2017, arXiv:1706.04599). `None` without pairs.
pub fn expected_calibration_error(labels: &[bool], probabilities: &[f64]) -> Option<f64> {
    weighted_expected_calibration_error(labels, probabilities, &vec![1.0; labels.len()])
}

/// The same if pair i counts `weights[i]` times.
pub fn weighted_expected_calibration_error(labels: &[bool], probabilities: &[f64], weights: &[f64]) -> Option<f64> {
    let bins = weighted_reliability(labels, probabilities, weights, ERROR_BINS);
    let all: f64 = bins.iter().map(|bin| bin.weight).sum();
    let distance = |bin: &ReliabilityBin| bin.weight * (bin.mean_probability - bin.observed).abs();
    (all > 0.0).then(|| bins.iter().map(distance).sum::<f64>() / all)
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
        let bins = weighted_reliability(&[true, false, true], &[0.5, 0.49, 1.0], &[1.0; 3], 2);
        assert_eq!(bins.len(), 2);
        assert_eq!((bins[0].weight, bins[0].observed), (1.0, 0.0));
        assert_eq!((bins[1].weight, bins[1].mean_probability, bins[1].observed), (2.0, 0.75, 1.0));
    }

    #[test]
    fn weights_count_as_so_many_pairs() {
        let (labels, probabilities, weights) = ([true, false, true], [0.25, 0.25, 1.0], [1.0, 3.0, 4.0]);
        let bin = |mean_probability, observed| ReliabilityBin { weight: 4.0, mean_probability, observed };
        let bins = weighted_reliability(&labels, &probabilities, &weights, 10);
        assert_eq!(bins, [bin(0.25, 0.25), bin(1.0, 1.0)]);
        assert_eq!(weighted_expected_calibration_error(&labels, &probabilities, &weights), Some(0.0));
        let half = weighted_expected_calibration_error(&[true, false], &[0.5, 0.5], &[3.0, 1.0]);
        assert_eq!(half, Some(0.25));
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
