//! The text columns of a bi-encoder's outputs.

use burn::tensor::Tensor;

/// Column `column` of outputs `[C·B, D]`: `[B, D]`.
pub fn column(outputs: &Tensor<2>, column: usize, examples: usize) -> Tensor<2> {
    outputs.clone().narrow(0, column * examples, examples)
}

/// Text columns C of outputs `[C·B, D]`.
pub fn columns(outputs: &Tensor<2>, examples: usize) -> usize {
    outputs.dims()[0] / examples
}
