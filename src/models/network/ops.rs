//! The operations between a transformer's matrix products, each in two implementations with equal results.
//!
//! Burn's own operations run on every device and under autodiff. On the plain CPU device they take longer than
//! the products (its `erf` is scalar, every elementwise step is a pass over memory), so there each operation is one fused loop
//! over the tensor's own buffer, compiled for the widest vectors of the machine.
//!
//! In which format products are computed is decided in `linear.rs`; norms and softmax widen to f32. Layers in 8 bits or bf16 have
//! their own way through the same loops (`rounded_layer.rs`).
//!
//! Shapes: R rows (batch × tokens), H hidden, B batch, T tokens, N heads, D = H / N.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, FloatDType, Int, Tensor, TensorData};

use crate::device::is_plain_tch;
use crate::models::kernels::attention::{self, AttentionShape};
use crate::models::kernels::forward;
use crate::models::kernels::rounded::RoundedMatrix;
use crate::models::network::buffers::{is_plain, norm_values, on_buffer, slice, values};
use crate::models::network::dropout::Dropout;
use crate::models::network::linear::Linear;
use crate::models::network::precision::Precision;
use crate::models::network::rounded_layer::RoundedResidualNorm;
use crate::models::network::token_batch::TokenBatch;

/// `gelu(x W + b)` with the exact (erf) GELU: `[R, H] → [R, d_out]`.
pub fn linear_gelu(x: Tensor<2>, linear: &Linear) -> Tensor<2> {
    if !is_plain(&x) {
        return gelu(linear.forward(x));
    }
    let bias = linear.bias_values();
    on_buffer(linear.product(x), |out| forward::add_bias_gelu(out, &bias))
}

/// `LayerNorm(dropout(x W + b) + residual)`: the end of both halves of a layer.
#[derive(Module, Debug)]
pub struct ResidualNorm {
    pub linear: Linear,
    pub dropout: Option<Dropout>,
    pub norm: LayerNorm,
    /// The norm's epsilon, which Burn does not expose.
    #[module(skip)]
    pub epsilon: f64,
}

impl ResidualNorm {
    /// The same with its product in another number format; the norm stays in f32.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { linear: self.linear.in_precision(precision), ..self }
    }

    /// The same with its product in a format that this processor has kernels for. Only on the plain CPU path.
    pub fn rounded<M: RoundedMatrix>(&self) -> RoundedResidualNorm<M> {
        let (gamma, beta) = norm_values(&self.norm);
        let (matrix, bias) = (self.linear.rounded(), self.linear.bias_values());
        RoundedResidualNorm { matrix, bias, gamma, beta, epsilon: self.epsilon as f32 }
    }

    /// `[R, d_in], [R, H] → [R, H]`.
    pub fn forward(&self, x: Tensor<2>, residual: Tensor<2>) -> Tensor<2> {
        if !is_plain(&x) {
            let product = self.linear.forward(x);
            let product = match &self.dropout {
                Some(dropout) => dropout.forward(product),
                None => product,
            };
            let (dtype, sum) = (product.dtype(), product + residual);
            if is_plain_tch(&sum.device()) {
                return self.norm.forward(sum);
            }
            return self.norm.forward(sum.cast(FloatDType::F32)).cast(dtype);
        }
        let bias = self.linear.bias_values();
        let (gamma, beta) = norm_values(&self.norm);
        let residual = residual.into_data();
        let product = self.linear.product(x);
        let epsilon = self.epsilon as f32;
        on_buffer(product, |out| forward::add_norm(out, slice(&residual), &bias, &gamma, &beta, epsilon))
    }
}

/// What attention needs of a batch besides its vectors, made once for all layers.
pub struct Sequences<'a> {
    batch: &'a TokenBatch,
    /// `[B, 1, 1, T]`, true at padding; `None` when no row is padded, and on the plain CPU device.
    padding: Option<Tensor<4, Bool>>,
    /// `[1, N, T, T]`, added to the scores.
    bias: Option<Tensor<4>>,
    /// The same bias on the plain CPU device: `[N, 2T − 1]` by distance.
    distances: Option<Vec<f32>>,
}

impl<'a> Sequences<'a> {
    /// `relative` is the bias of every head and distance, `[N, 2T − 1]`; `hidden` the states that enter the layers.
    pub fn new(batch: &'a TokenBatch, relative: Option<Tensor<2>>, hidden: &Tensor<2>) -> Self {
        let device = &hidden.device();
        if is_plain(hidden) {
            return Self { batch, padding: None, bias: None, distances: relative.map(values) };
        }
        let [rows, tokens] = batch.dims();
        let padding = batch.is_padded().then(|| {
            let padding: Vec<bool> =
                batch.lengths().iter().flat_map(|&length| (0..tokens).map(move |token| token >= length)).collect();
            Tensor::from_data(TensorData::new(padding, [rows, 1, 1, tokens]), device)
        });
        let bias = relative.map(|relative| {
            let heads = relative.dims()[0];
            let distance = |query: usize| (0..tokens).map(move |key| (key + tokens - 1 - query) as i64);
            let distances: Vec<i64> = (0..tokens).flat_map(distance).collect();
            let distances: Tensor<1, Int> = Tensor::from_data(TensorData::from(distances.as_slice()), device);
            relative.select(1, distances).reshape([1, heads, tokens, tokens])
        });
        Self { batch, padding, bias, distances: None }
    }

    pub fn batch(&self) -> &TokenBatch {
        self.batch
    }

    /// The bias by head and distance, `[N, 2T − 1]`, on the plain CPU device and with a family that has one.
    pub fn distances(&self) -> Option<&[f32]> {
        self.distances.as_deref()
    }
}

/// The first row of every sequence: `[R, H] → [B, H]`.
pub fn first_tokens(hidden: Tensor<2>, batch: &TokenBatch) -> Tensor<2> {
    let ([rows, tokens], width) = (batch.dims(), hidden.dims()[1]);
    hidden.reshape([rows, tokens, width]).narrow(1, 0, 1).reshape([rows, width])
}

/// Scaled dot-product attention over rows `[B·T, H]` of keys and values without their biases, and of queries: as many, or
/// only the first token's of every sequence, `[B, H]`.
pub fn attention(
    [q, k, v]: [Tensor<2>; 3],
    [q_layer, k_layer, v_layer]: [&Linear; 3],
    heads: usize,
    sequences: &Sequences,
    dropout: &Dropout,
) -> Tensor<2> {
    let [rows, hidden] = q.dims();
    let [batch, tokens] = sequences.batch.dims();
    let (queries, width) = (rows / batch, hidden / heads);
    if is_plain(&q) {
        let device = q.device();
        let biases = [q_layer, k_layer, v_layer].map(Linear::bias_values);
        let (q, k, v) = (q.into_data(), k.into_data(), v.into_data());
        let mut context = vec![0.0f32; rows * hidden];
        let (qkv, distances) = ([slice(&q), slice(&k), slice(&v)], sequences.distances.as_deref());
        let shape = AttentionShape { tokens, queries, width };
        attention::attention(&mut context, qkv, &biases, shape, sequences.batch.lengths(), distances, None);
        return Tensor::from_data(TensorData::new(context, [rows, hidden]), &device);
    }
    let split = |x: Tensor<2>| {
        let of_each = x.dims()[0] / batch;
        x.reshape([batch, of_each, heads, width]).swap_dims(1, 2)
    };
    let (q, k, v) = (split(q_layer.add_bias(q)), split(k_layer.add_bias(k)), split(v_layer.add_bias(v)));
    let is_masked = sequences.bias.is_some() || sequences.padding.is_some();
    // not with a padding mask: burn-tch 0.22.1 passes it to libtorch, in which true means the opposite
    if is_plain_tch(&q.device()) && !is_masked {
        let context = burn::tensor::module::attention(q, k, v, None, None, AttentionModuleOptions::default());
        return context.swap_dims(1, 2).reshape([rows, hidden]);
    }
    let dtype = q.dtype();
    let mut scores: Tensor<4> = q.matmul(k.swap_dims(2, 3)).cast(FloatDType::F32) / (width as f64).sqrt();
    if let Some(bias) = &sequences.bias {
        scores = scores + bias.clone().narrow(2, 0, queries);
    }
    if let Some(padding) = &sequences.padding {
        scores = scores.mask_fill(padding.clone().expand([batch, heads, queries, tokens]), f32::MIN);
    }
    dropout.forward(softmax(scores, 3)).cast(dtype).matmul(v).swap_dims(1, 2).reshape([rows, hidden])
}
