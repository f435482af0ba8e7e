//! Contrastive: duplicates are pulled together, other pairs are pushed apart until they are a margin apart.
//!
//! `L = mean(½ (y d² + (1 − y) max(0, m − d)²))` with cosine distance `d = 1 − cos(u, v)` and margin `m` = 0.5.
//!
//! - Outputs: `[2·B, D]` vectors; further columns are ignored.
//! - Requirements: labels 0 and 1, both kinds: otherwise the vectors collapse into a point or drift apart.
//! - Source: Hadsell, Chopra & LeCun 2006; sentence-transformers `ContrastiveLoss` with `COSINE_DISTANCE`.
//! - Relations: [`crate::losses::online_contrastive`] uses only the hard pairs of a batch.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::losses::columns::column;
use crate::losses::similarity::cosine;
use crate::losses::targets::Targets;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets, margin: f64) -> Tensor<1> {
    let examples = targets.len();
    let distance = cosine(column(outputs, 0, examples), column(outputs, 1, examples)).neg() + 1.0;
    let labels = targets.labels_on(&outputs.device());
    let pulled = labels.clone() * distance.clone().powf_scalar(2.0);
    let pushed = (labels.neg() + 1.0) * relu(distance.neg() + margin).powf_scalar(2.0);
    (pulled + pushed).mean() * 0.5
}
