//! The threshold with the best expected F1, from probabilities instead of labels.
//!
//! If pair i is a duplicate with probability pᵢ and the n pairs from threshold t up are called duplicates, their F1 is
//! about `2 Σ_{sᵢ ≥ t} pᵢ / (n + Σᵢ pᵢ)`. It is highest where p is half of that F1 (Lipton et al. 2014,
//! arXiv:1402.1892). The F1 of the labels themselves is a jagged curve, and chance decides which of its peaks is
//! highest: between halves of Quora's dev pairs that threshold varies ten times as much, for the same F1 on the other
//! half (BENCHMARKS.md).

/// The score with the best expected F1; `None` without pairs. A higher score never has a lower probability.
pub fn threshold(scores: &[f64], probabilities: &[f64]) -> Option<f64> {
    let duplicates: f64 = probabilities.iter().sum();
    let mut ranked: Vec<(f64, f64)> = scores.iter().copied().zip(probabilities.iter().copied()).collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let mut found = 0.0;
    let mut points = Vec::with_capacity(ranked.len());
    for (at, &(score, probability)) in ranked.iter().enumerate() {
        found += probability;
        if ranked.get(at + 1).is_none_or(|&(next, _)| next < score) {
            points.push((score, 2.0 * found / ((at + 1) as f64 + duplicates)));
        }
    }
    points.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(score, _)| score)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::calibration::calibrator::sigmoid;
    use crate::calibration::platt;
    use crate::metrics::confusion::Confusion;
    use crate::metrics::ranking::best_f1;

    #[test]
    fn it_is_half_of_the_best_f1() {
        let probabilities: Vec<f64> = (0..10_000).map(|i| f64::from(i) / 10_000.0).collect();
        let threshold = threshold(&probabilities, &probabilities).unwrap();
        // Σ_{p ≥ t} p = n (1 − t²) / 2, so F1(t) = 2 (1 − t²) / (2 (1 − t) + 1), highest at (3 − √5) / 2
        assert!((threshold - (3.0 - 5.0f64.sqrt()) / 2.0).abs() < 2e-4, "{threshold}");
        assert_eq!(super::threshold(&[], &[]), None);
    }

    #[test]
    fn on_other_pairs_it_does_at_least_as_well_as_the_best_threshold_of_the_labels() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let mut draw = |pairs: usize| -> (Vec<bool>, Vec<f64>) {
            let score = |_| random.random_range(-6.0..4.0);
            let scores: Vec<f64> = (0..pairs).map(score).collect();
            (scores.iter().map(|&z| random.random_bool(sigmoid(z))).collect(), scores)
        };
        let other = draw(20_000);
        let f1 = |threshold: f64| Confusion::at(&other.0, &other.1, threshold).f1();
        let (mut expected, mut empirical) = (0.0, 0.0);
        for _ in 0..100 {
            let (labels, scores) = draw(300);
            let fitted = platt::fit(&labels, &scores).unwrap();
            let probabilities: Vec<f64> = scores.iter().map(|&z| fitted.probability(z)).collect();
            expected += f1(threshold(&scores, &probabilities).unwrap()) / 100.0;
            empirical += f1(best_f1(&labels, &scores).unwrap().threshold) / 100.0;
        }
        assert!(expected > empirical + 0.001, "{expected} {empirical}");
    }

    proptest! {
        #[test]
        fn no_other_threshold_has_a_better_expected_f1(probabilities in prop::collection::vec(0u32..=20, 1..60)) {
            let p: Vec<f64> = probabilities.iter().map(|&p| f64::from(p) / 20.0).collect();
            let f1 = |t: f64| {
                let above: Vec<f64> = p.iter().copied().filter(|&p| p >= t).collect();
                2.0 * above.iter().sum::<f64>() / (above.len() as f64 + p.iter().sum::<f64>())
            };
            let best = f1(threshold(&p, &p).unwrap());
            prop_assert!(p.iter().all(|&t| f1(t) <= best + 1e-9));
        }
    }
}
