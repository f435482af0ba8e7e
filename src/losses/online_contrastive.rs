//! Online contrastive: the contrastive loss over only the hard pairs of the batch.
//!
//! With cosine distance `d = 1 − cos(u, v)`: a duplicate is hard if it is further apart than the nearest of the
//! others, another pair is hard if it is nearer than the furthest duplicate. `L = Σ_hard duplicates d² + Σ_hard others
//! max(0, m − d)²`, margin `m` = 0.5. If a batch holds only one kind, its mean distance replaces the nearest or
//! furthest of the other kind.
//!
//! - Outputs: `[2·B, D]` vectors; further columns are ignored.
//! - Requirements: labels 0 and 1; a teacher's probability counts as the nearer label. The loss is a sum, not a mean, so
//!   the right learning rate depends on the batch size. Known to collapse (all cosines in a narrow band) in the
//!   reference runs; the trainer warns when it does.
//! - Source: sentence-transformers 6.2 `OnlineContrastiveLoss` with `COSINE_DISTANCE`. Up to 6.1 it used the mean also
//!   for a kind with exactly one pair.

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};

use crate::losses::columns::column;
use crate::losses::similarity::cosine;
use crate::losses::targets::Targets;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets, margin: f64) -> Tensor<1> {
    let (examples, device) = (targets.len(), outputs.device());
    let distance = cosine(column(outputs, 0, examples), column(outputs, 1, examples)).neg() + 1.0;
    let (hard_duplicates, hard_others) = hard_pairs(&values(&distance), &targets.labels);
    let mask = |chosen: Vec<f32>| Tensor::<1>::from_data(TensorData::new(chosen, [examples]), &device);
    let pulled = mask(hard_duplicates) * distance.clone().powf_scalar(2.0);
    let pushed = mask(hard_others) * relu(distance.neg() + margin).powf_scalar(2.0);
    (pulled + pushed).sum()
}

fn values(distance: &Tensor<1>) -> Vec<f32> {
    distance.clone().inner().into_data().iter::<f32>().collect()
}

/// 1 at the hard duplicates, and 1 at the hard others.
fn hard_pairs(distances: &[f32], labels: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let of = |duplicate: bool| {
        let of_label = distances.iter().zip(labels).filter(move |(_, l)| (**l > 0.5) == duplicate).map(|(d, _)| *d);
        of_label.collect::<Vec<f32>>()
    };
    let (others, duplicates) = (of(false), of(true));
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let nearest_other = others.iter().copied().reduce(f32::min).unwrap_or_else(|| mean(&duplicates));
    let furthest_duplicate = duplicates.iter().copied().reduce(f32::max).unwrap_or_else(|| mean(&others));
    let choose = |duplicate: bool, is_hard: &dyn Fn(f32) -> bool| {
        let chosen = distances.iter().zip(labels).map(|(&d, &l)| f32::from((l > 0.5) == duplicate && is_hard(d)));
        chosen.collect::<Vec<f32>>()
    };
    (choose(true, &|d| d > nearest_other), choose(false, &|d| d < furthest_duplicate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teachers_probability_counts_as_the_nearer_label() {
        let distances = [0.4, 0.1, 0.2, 0.5];
        let hard = hard_pairs(&distances, &[1.0, 1.0, 0.0, 0.0]);
        assert_eq!(hard, (vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 0.0, 1.0, 0.0]));
        assert_eq!(hard, hard_pairs(&distances, &[0.9, 0.6, 0.2, 0.4]));
    }

    // by hand: `negs[negs < (poss.max() if len(poss) else negs.mean())]`, `poss[poss > (negs.min() if len(negs) else poss.mean())]`
    #[test]
    fn one_pair_of_a_kind_is_compared_with_itself_and_none_with_the_mean() {
        // one duplicate at 0.22; the mean of the others is 0.35
        let one_duplicate = hard_pairs(&[0.22, 0.2, 0.25, 0.6], &[1.0, 0.0, 0.0, 0.0]);
        assert_eq!(one_duplicate, (vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 1.0, 0.0, 0.0]));
        // one other at 0.3; the mean of the duplicates is 0.4
        let one_other = hard_pairs(&[0.1, 0.35, 0.75, 0.3], &[1.0, 1.0, 1.0, 0.0]);
        assert_eq!(one_other, (vec![0.0, 1.0, 1.0, 0.0], vec![0.0, 0.0, 0.0, 1.0]));
        assert_eq!(hard_pairs(&[0.1, 0.4, 0.7], &[1.0; 3]), (vec![0.0, 0.0, 1.0], vec![0.0; 3]));
        assert_eq!(hard_pairs(&[0.1, 0.3, 0.8], &[0.0; 3]), (vec![0.0; 3], vec![1.0, 1.0, 0.0]));
    }
}
