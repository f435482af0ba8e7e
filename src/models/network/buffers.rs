//! Tensors of the plain CPU path as the f32 buffers that they are.

use burn::nn::LayerNorm;
use burn::tensor::{DType, Tensor, TensorData};

use crate::device::is_plain_cpu;

/// Whether the fused loops can work on this tensor.
pub fn is_plain(x: &Tensor<2>) -> bool {
    is_plain_cpu(&x.device()) && x.dtype() == DType::F32
}

/// Lets `work` change the values of a tensor in place.
#[expect(clippy::expect_used, reason = "only f32 tensors take the plain CPU path")]
pub fn on_buffer(x: Tensor<2>, work: impl FnOnce(&mut [f32])) -> Tensor<2> {
    let device = x.device();
    let mut data = x.into_data();
    work(data.as_mut_slice().expect("the plain CPU path is f32"));
    Tensor::from_data(data, &device)
}

/// The values of data that was read from a tensor.
#[expect(clippy::expect_used, reason = "only f32 tensors take the plain CPU path")]
pub fn slice(data: &TensorData) -> &[f32] {
    data.as_slice().expect("the plain CPU path is f32")
}

/// The values of a tensor, row-major.
#[expect(clippy::expect_used, reason = "only f32 tensors take the plain CPU path")]
pub fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("the plain CPU path is f32")
}

/// Gamma and beta of a norm.
pub fn norm_values(norm: &LayerNorm) -> (Vec<f32>, Vec<f32>) {
    let gamma = values(norm.gamma.val());
    let beta = norm.beta.as_ref().map_or_else(|| vec![0.0; gamma.len()], |beta| values(beta.val()));
    (gamma, beta)
}

/// Rows of `width` on the device of `like`.
pub fn rows_like(values: Vec<f32>, width: usize, like: &Tensor<2>) -> Tensor<2> {
    let rows = values.len() / width;
    Tensor::from_data(TensorData::new(values, [rows, width]), &like.device())
}
