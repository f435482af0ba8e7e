//! Negative log-likelihood of the right class: the siamese classifier's loss.
//!
//! `L = −mean(y log p₁ + (1 − y) log p₀)`.
//!
//! - Outputs: `[B, 2]` log-probabilities, log-softmax **over the classes** (the reference notebook took it over the
//!   batch, which compares examples with each other: not copied).
//! - Requirements: labels 0 and 1.
//! - Source: torch `NLLLoss`.

use burn::tensor::Tensor;

use crate::losses::targets::Targets;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets) -> Tensor<1> {
    let examples = targets.len();
    let class = |c: usize| outputs.clone().narrow(1, c, 1).reshape([examples]);
    let labels = targets.labels_on(&outputs.device());
    let not_duplicate = labels.clone().neg() + 1.0;
    (labels * class(1) + not_duplicate * class(0)).mean().neg()
}
