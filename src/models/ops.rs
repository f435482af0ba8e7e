//! The operations between a transformer's matrix products, each with two bodies of equal result.
//!
//! Burn's own operations run on every device and under autodiff. On the plain CPU device they cost more than the
//! products themselves (its `erf` is scalar, every elementwise step is a pass over memory), so there each becomes one
//! fused loop over the tensor's own buffer, compiled for the widest vectors the machine has.
//!
//! Shapes: R rows (batch × tokens), H hidden, B batch, T tokens, N heads, D = H / N.

use burn::nn::{LayerNorm, Linear};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Bool, Device, Tensor, TensorData};

use crate::device::is_plain_cpu;
use crate::models::kernels;

/// `gelu(x W + b)` with the exact (erf) GELU: `[R, H] → [R, d_out]`.
pub fn linear_gelu(x: Tensor<2>, linear: &Linear) -> Tensor<2> {
    if !is_plain_cpu(&x.device()) {
        return gelu(linear.forward(x));
    }
    let bias = bias_values(linear);
    on_buffer(x.matmul(linear.weight.val()), |out| kernels::add_bias_gelu(out, &bias))
}

/// `LayerNorm(x W + b + residual)`: `[R, d_in], [R, H] → [R, H]`. `epsilon` must be the norm's own.
pub fn linear_residual_norm(
    x: Tensor<2>,
    linear: &Linear,
    residual: Tensor<2>,
    norm: &LayerNorm,
    epsilon: f64,
) -> Tensor<2> {
    let (true, Some(beta)) = (is_plain_cpu(&x.device()), &norm.beta) else {
        return norm.forward(linear.forward(x) + residual);
    };
    let bias = bias_values(linear);
    let (gamma, beta) = (values(norm.gamma.val()), values(beta.val()));
    let residual = residual.into_data();
    let product = x.matmul(linear.weight.val());
    on_buffer(product, |out| kernels::add_norm(out, slice(&residual), &bias, &gamma, &beta, epsilon as f32))
}

/// Scaled dot-product attention over rows `[B·T, H]` of queries, keys and values without their biases.
///
/// `mask` `[B, T]` is true at real tokens; `None` when no row of the batch is padded.
pub fn attention(
    [q, k, v]: [Tensor<2>; 3],
    [q_layer, k_layer, v_layer]: [&Linear; 3],
    [batch, tokens, heads]: [usize; 3],
    mask: Option<&Tensor<2, Bool>>,
    lengths: &[usize],
) -> Tensor<2> {
    let [rows, hidden] = q.dims();
    let width = hidden / heads;
    if is_plain_cpu(&q.device()) {
        let device = q.device();
        let biases = [bias_values(q_layer), bias_values(k_layer), bias_values(v_layer)];
        let (q, k, v) = (q.into_data(), k.into_data(), v.into_data());
        let mut context = vec![0.0f32; rows * hidden];
        kernels::attention(&mut context, [slice(&q), slice(&k), slice(&v)], &biases, tokens, width, lengths);
        return Tensor::from_data(TensorData::new(context, [rows, hidden]), &device);
    }
    let biased = |x: Tensor<2>, layer: &Linear| match &layer.bias {
        Some(bias) => x + bias.val().unsqueeze(),
        None => x,
    };
    let split = |x: Tensor<2>| x.reshape([batch, tokens, heads, width]).swap_dims(1, 2);
    let (q, k, v) = (split(biased(q, q_layer)), split(biased(k, k_layer)), split(biased(v, v_layer)));
    let mut scores: Tensor<4> = q.matmul(k.swap_dims(2, 3)) / (width as f64).sqrt();
    if let Some(mask) = mask {
        let padding = mask.clone().bool_not().reshape([batch, 1, 1, tokens]).expand([batch, heads, tokens, tokens]);
        scores = scores.mask_fill(padding, f32::MIN);
    }
    softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([rows, hidden])
}

fn on_buffer(x: Tensor<2>, work: impl FnOnce(&mut [f32])) -> Tensor<2> {
    let device: Device = x.device();
    let mut data = x.into_data();
    work(data.as_mut_slice().expect("the plain CPU path is f32"));
    Tensor::from_data(data, &device)
}

fn slice(data: &TensorData) -> &[f32] {
    data.as_slice().expect("the plain CPU path is f32")
}

fn values(x: Tensor<1>) -> Vec<f32> {
    x.into_data().try_into_vec().expect("the plain CPU path is f32")
}

fn bias_values(linear: &Linear) -> Vec<f32> {
    match &linear.bias {
        Some(bias) => values(bias.val()),
        None => vec![0.0; linear.weight.dims()[1]],
    }
}
