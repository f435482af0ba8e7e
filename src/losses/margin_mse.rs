//! MarginMSE: the student's margin between a duplicate and a hard negative should equal the teacher's.
//!
//! `L = mean_{i,n}(((u_i·v_i) − (u_i·w_{i,n})) − t_{i,n})²` with `t` the teacher's score of the pair minus its score of
//! (question, negative n). The similarity is the dot product of the vectors as they are given, as in
//! sentence-transformers; training passes normalised vectors, because mining compares cosines.
//!
//! - Outputs: `[C·B, D]` vectors, C ≥ 3: question, duplicate, negatives.
//! - Requirements: `targets.margins` `[B · N]`, example after example.
//! - Source: Hofstätter et al. 2020 (arXiv:2010.02666); sentence-transformers `MarginMSELoss`.

use burn::tensor::{Tensor, TensorData};

use crate::losses::columns::{column, columns};
use crate::losses::targets::Targets;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets) -> Tensor<1> {
    let examples = targets.len();
    let queries = column(outputs, 0, examples);
    let dot = |at: usize| (queries.clone() * column(outputs, at, examples)).sum_dim(1);
    let positive = dot(1);
    let negatives = columns(outputs, examples) - 2;
    let margins: Vec<Tensor<2>> = (0..negatives).map(|n| positive.clone() - dot(2 + n)).collect();
    let wanted = TensorData::new(targets.margins.clone(), [examples, negatives]);
    (Tensor::cat(margins, 1) - Tensor::from_data(wanted, &outputs.device())).powf_scalar(2.0).mean()
}
