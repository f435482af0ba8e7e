//! Cosine distillation: the student's vectors should point where the teacher's do.
//!
//! `L = mean(1 − cos(student, teacher))` over all texts of the batch.
//!
//! - Outputs: `[C·B, D]` vectors.
//! - Requirements: the teacher's vectors of the same texts and width; labels are ignored.
//! - Source: Kim et al. 2023 (arXiv:2301.12005); sentence-transformers `EmbedDistillLoss` with `cosine`.

use burn::tensor::{Tensor, TensorData};

use crate::losses::similarity::cosine;
use crate::losses::targets::Targets;

/// Scalar `[1]`; zero without a teacher's vectors.
pub fn loss(outputs: &Tensor<2>, targets: &Targets) -> Tensor<1> {
    let Some((vectors, width)) = &targets.vectors else { return outputs.clone().sum() * 0.0 };
    let teacher = TensorData::new(vectors.clone(), [vectors.len() / width, *width]);
    let teacher = Tensor::from_data(teacher, &outputs.device());
    (cosine(outputs.clone(), teacher).neg() + 1.0).mean()
}
