//! CoSENT: every duplicate of the batch should have a larger cosine than every other pair.
//!
//! `L = log(1 + Σ exp(s · (cos_i − cos_j)))` over all i, j with label i < label j, scale `s` = 20: a smooth count of
//! the pairs in the wrong order. Average precision depends on that order too. No margin is needed.
//!
//! - Outputs: `[2·B, D]` vectors; further columns are ignored.
//! - Requirements: labels of both kinds in a batch; a batch of one kind has no gradient. A teacher's probabilities work
//!   too.
//! - Source: Su 2022 (kexue.fm/archives/8847); sentence-transformers `CoSENTLoss`.

use burn::tensor::{Bool, Tensor, TensorData};

use crate::losses::columns::column;
use crate::losses::similarity::cosine;
use crate::losses::targets::Targets;

const SCALE: f64 = 20.0;

/// A logit so low that it does not change a sum.
const NEVER: f64 = -1e9;

/// Scalar `[1]`.
pub fn loss(outputs: &Tensor<2>, targets: &Targets) -> Tensor<1> {
    let (examples, labels) = (targets.len(), &targets.labels);
    let scores = cosine(column(outputs, 0, examples), column(outputs, 1, examples)) * SCALE;
    let of_others: Tensor<2> = scores.clone().unsqueeze_dim(1);
    let excess = of_others - scores.unsqueeze_dim(0);
    let right: Vec<bool> = labels.iter().flat_map(|i| labels.iter().map(move |j| i >= j)).collect();
    let right = Tensor::<2, Bool>::from_data(TensorData::new(right, [examples, examples]), &outputs.device());
    let excess = excess.mask_fill(right, NEVER);
    // the largest exponent is factored out, also of 1 = exp 0
    let most = excess.clone().detach().max().clamp_min(0.0);
    let sum = (excess - most.clone().unsqueeze()).exp().sum() + most.clone().neg().exp();
    sum.log() + most
}
