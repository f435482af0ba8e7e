//! Cosines between rows of vectors.

use burn::tensor::Tensor;

use crate::models::network::dense::normalise;

/// Cosine of row i with row i: `[B, D], [B, D] → [B]`.
pub fn cosine(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let [rows, _] = a.dims();
    (normalise(a) * normalise(b)).sum_dim(1).reshape([rows])
}

/// Cosine of every row with every row: `[A, D], [B, D] → [A, B]`.
pub fn cosine_matrix(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    normalise(a).matmul(normalise(b).transpose())
}
