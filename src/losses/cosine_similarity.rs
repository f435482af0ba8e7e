//! Cosine similarity: the cosine of two vectors should equal a target.
//!
//! `L = mean((cos(u, v) − t)²)` over the batch with `t = 2y − 1`: labels 0 and 1 become −1 and 1, as in the reference
//! runs, and a teacher's probability becomes a value in between.
//!
//! - Outputs: `[2·B, D]` vectors; further columns are ignored.
//! - Requirements: labels from 0 to 1.
//! - Source: Reimers & Gurevych 2019 (arXiv:1908.10084); sentence-transformers `CosineSimilarityLoss`.

use burn::tensor::Tensor;

use crate::losses::columns::column;
use crate::losses::similarity::cosine;
use crate::losses::targets::Targets;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets) -> Tensor<1> {
    let examples = targets.len();
    let cosine = cosine(column(outputs, 0, examples), column(outputs, 1, examples));
    let wanted = targets.labels_on(&outputs.device()) * 2.0 - 1.0;
    (cosine - wanted).powf_scalar(2.0).mean()
}
