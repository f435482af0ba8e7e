//! Distillation from scores: a small cross-encoder's logit should equal a large one's.
//!
//! `L = mean((x − t)²)` with the student's logit `x` and the teacher's `t`.
//!
//! - Outputs: `[B, 1]` logits.
//! - Requirements: `targets.labels` hold the teacher's logits.
//! - Source: Hinton et al. 2015 (arXiv:1503.02531), logit matching; sentence-transformers cross-encoder `MSELoss`.

use burn::tensor::Tensor;

use crate::losses::targets::Targets;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets) -> Tensor<1> {
    let logits: Tensor<1> = outputs.clone().reshape([targets.len()]);
    (logits - targets.labels_on(&outputs.device())).powf_scalar(2.0).mean()
}
