//! Cosine distillation: the student's vectors point where the teacher's do.
//!
//! `L = mean(1 − cos(student, teacher))` over all texts of the batch.
//!
//! - Outputs: `[C·B, D]` vectors.
//! - Requirements: the teacher's vectors of the same texts and width; labels are not looked at.
//! - Source: Kim et al. 2023 (arXiv:2301.12005); sentence-transformers `EmbedDistillLoss` with `cosine`.

use burn::tensor::Tensor;

use crate::losses::similarity::cosine;

/// Scalar `[1]`; `teacher` has the shape of `outputs`.
pub fn loss(outputs: &Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    (cosine(outputs.clone(), teacher).neg() + 1.0).mean()
}
