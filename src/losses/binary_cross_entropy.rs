//! Binary cross-entropy with logits: the cross-encoder's loss.
//!
//! `L = mean(−(w y log σ(x) + (1 − y) log(1 − σ(x))))`, `w` the weight of duplicates. In the stable form
//! `log(1 − σ(x)) = −x − log(1 + e^−x)`.
//!
//! - Outputs: `[B, 1]` logits.
//! - Requirements: labels from 0 to 1; a teacher's probabilities work too.
//! - Source: sentence-transformers `BinaryCrossEntropyLoss`, torch `BCEWithLogitsLoss`.

use burn::tensor::Tensor;
use burn::tensor::activation::softplus;

use crate::losses::targets::Targets;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets, pos_weight: f64) -> Tensor<1> {
    let logits: Tensor<1> = outputs.clone().reshape([targets.len()]);
    let labels = targets.labels_on(&outputs.device());
    let not_duplicate = labels.clone().neg() + 1.0;
    // −log σ(x) = softplus(−x), weighted 1 − y + w y
    let weight = labels * (pos_weight - 1.0) + 1.0;
    (not_duplicate * logits.clone() + weight * softplus(logits.neg(), 1.0)).mean()
}
