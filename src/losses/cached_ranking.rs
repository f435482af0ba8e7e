//! Cached multiple negatives ranking: the same loss for batches whose activations do not fit into memory.
//!
//! Value and gradient are those of [`crate::losses::multiple_negatives_ranking`]. Only the way of the gradient differs.
//! First the vectors of the whole batch are computed without keeping activations, and from them `∂L/∂vectors`. Then a
//! few rows at a time are computed again, with the same dropout, and `Σ vectors · ∂L/∂vectors` is differentiated
//! through the model; by the chain rule that is the gradient of the loss. Memory holds the activations of those few
//! rows only; the cost is a second forward pass.
//!
//! - Outputs, requirements: those of multiple negatives ranking.
//! - Source: Gao et al. 2021 (arXiv:2101.06983); sentence-transformers `CachedMultipleNegativesRankingLoss`.

use burn::tensor::{Tensor, TensorData};

/// `∂L/∂outputs` `[R, D]` and `L`. Needs no model.
pub fn output_gradient(outputs: &Tensor<2>, loss: impl FnOnce(&Tensor<2>) -> Tensor<1>) -> (Tensor<2>, f32) {
    let leaf = Tensor::from_inner(outputs.clone().inner()).require_grad();
    let value = loss(&leaf);
    let gradients = value.backward();
    let scalar = value.inner().into_data().iter::<f32>().sum();
    // an output that the loss does not use has no gradient
    let gradient = leaf.grad(&gradients).unwrap_or_else(|| {
        let [rows, width] = leaf.dims();
        Tensor::from_data(TensorData::zeros::<f32, _>([rows, width]), &outputs.clone().inner().device())
    });
    (gradient, scalar)
}

/// `Σ outputs · gradient`: its gradient with respect to the model is that of the loss.
pub fn surrogate(outputs: Tensor<2>, gradient: Tensor<2>) -> Tensor<1> {
    (outputs * Tensor::from_inner(gradient)).sum()
}
