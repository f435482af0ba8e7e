//! Isotonic regression: the never-falling curve nearest to the labels, found by pooling neighbours that fall (Ayer et
//! al. 1955; Zadrozny and Elkan 2002 for probabilities). Same points as scikit-learn's `IsotonicRegression`.

use crate::calibration::calibrator::Calibrator;

/// Neighbouring scores with one fitted value.
struct Pool {
    first: f64,
    last: f64,
    duplicates: f64,
    pairs: f64,
}

impl Pool {
    fn mean(&self) -> f64 {
        self.duplicates / self.pairs
    }
}

/// Of the curves that never fall, the one with the smallest squared distance to the labels. `None` without pairs.
pub fn fit(labels: &[bool], scores: &[f64]) -> Option<Calibrator> {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut pools: Vec<Pool> = Vec::new();
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let score = tied[0].0;
        let duplicates = tied.iter().filter(|pair| pair.1).count() as f64;
        pools.push(Pool { first: score, last: score, duplicates, pairs: tied.len() as f64 });
        while let [.., lower, upper] = pools.as_mut_slice()
            && lower.mean() >= upper.mean()
        {
            lower.last = upper.last;
            lower.duplicates += upper.duplicates;
            lower.pairs += upper.pairs;
            pools.pop();
        }
    }
    let points = pools.iter().flat_map(|pool| {
        let ends = if pool.first < pool.last { vec![pool.first, pool.last] } else { vec![pool.first] };
        ends.into_iter().map(|score| (score, pool.mean()))
    });
    let (scores, probabilities): (Vec<f64>, Vec<f64>) = points.unzip();
    (!scores.is_empty()).then_some(Calibrator::Isotonic { scores, probabilities })
}
