//! Transformer layers whose products are in 8 bits or in bf16, for inference on the plain CPU device. Of a model in 8 bits, the
//! layers that `config.json` names stay in f32.
//!
//! They hold no tensors: between the products are the same fused loops as in f32, and what is between two products of the
//! feed-forward part never leaves the cache.
//!
//! Shapes: B batch, T tokens, R = B·T rows, H hidden, I intermediate.

use crate::models::kernels::attention::{self, AttentionShape};
use crate::models::kernels::bf16::{Bf16Matrix, Bf16Rows};
use crate::models::kernels::forward;
use crate::models::kernels::int8::{Codes, Int8Matrix};
use crate::models::kernels::rounded::{RoundedMatrix, RoundedRows};
use crate::models::network::f32_matrix::{F32Matrix, F32Rows};
use crate::models::network::token_batch::TokenBatch;

/// Rows that go through the feed-forward part at once: their I values stay in a core's cache. A multiple of the rows of
/// every kernel.
const BLOCK: usize = 96;

/// A layer, by the format of its products.
#[derive(Debug, Clone)]
pub enum LayerFormat {
    Int8(Box<RoundedLayer<Int8Matrix>>),
    Bf16(Box<RoundedLayer<Bf16Matrix>>),
    F32(Box<RoundedLayer<F32Matrix>>),
}

/// Hidden states `[R, H]` through all layers; `[B, H]` if only the first token of every sequence is kept. `distances` is the bias
/// of attention by head and distance, `[N, 2T − 1]`.
pub fn forward(
    layers: &[LayerFormat],
    mut hidden: Vec<f32>,
    only_first: bool,
    batch: &TokenBatch,
    distances: Option<&[f32]>,
) -> Vec<f32> {
    let mut scratch = Scratch::default();
    let (mut codes, mut bf16_rows, mut rows) = (Codes::default(), Bf16Rows::default(), F32Rows::default());
    for (at, layer) in layers.iter().enumerate() {
        let only_first = only_first && at + 1 == layers.len();
        let (hidden, scratch) = (&mut hidden, &mut scratch);
        match layer {
            LayerFormat::Int8(layer) => layer.forward(hidden, only_first, batch, distances, &mut codes, scratch),
            LayerFormat::Bf16(layer) => layer.forward(hidden, only_first, batch, distances, &mut bf16_rows, scratch),
            LayerFormat::F32(layer) => layer.forward(hidden, only_first, batch, distances, &mut rows, scratch),
        }
    }
    hidden
}

/// Attention and feed-forward part.
#[derive(Debug, Clone)]
pub struct RoundedLayer<M> {
    /// Of queries, keys and values.
    pub projections: [M; 3],
    pub projection_biases: [Vec<f32>; 3],
    pub attention_output: RoundedResidualNorm<M>,
    pub intermediate: M,
    pub intermediate_bias: Vec<f32>,
    pub output: RoundedResidualNorm<M>,
    pub heads: usize,
}

/// `LayerNorm(x W + b + residual)`.
#[derive(Debug, Clone)]
pub struct RoundedResidualNorm<M> {
    pub matrix: M,
    pub bias: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub epsilon: f32,
}

impl<M: RoundedMatrix> RoundedResidualNorm<M> {
    /// `[R, d_in], [R, H] → [R, H]`.
    fn forward(&self, x: &M::Rows, residual: &[f32], out: &mut [f32]) {
        self.matrix.product(x, out);
        forward::add_norm(out, residual, &self.bias, &self.gamma, &self.beta, self.epsilon);
    }
}

/// Buffers that the layers of a batch use one after the other.
#[derive(Debug, Default)]
struct Scratch {
    projected: [Vec<f32>; 3],
    context: Vec<f32>,
    attended: Vec<f32>,
    wide: Vec<f32>,
}

impl<M: RoundedMatrix> RoundedLayer<M> {
    /// Turns hidden states into those of the next layer.
    fn forward(
        &self,
        hidden: &mut Vec<f32>,
        only_first: bool,
        batch: &TokenBatch,
        distances: Option<&[f32]>,
        rounded: &mut M::Rows,
        scratch: &mut Scratch,
    ) {
        let [_, tokens] = batch.dims();
        let width = self.attention_output.bias.len();
        let Scratch { projected, context, attended, wide } = scratch;
        let [query, key, value] = &self.projections;
        let [q, k, v] = projected;
        rounded.set(hidden, width);
        for (matrix, out) in [(key, &mut *k), (value, &mut *v)] {
            out.resize(hidden.len(), 0.0);
            matrix.product(rounded, out);
        }
        if only_first {
            keep_first_tokens(hidden, tokens * width, width);
            rounded.set(hidden, width);
        }
        q.resize(hidden.len(), 0.0);
        query.product(rounded, q);
        context.resize(hidden.len(), 0.0);
        let queries = if only_first { 1 } else { tokens };
        let shape = AttentionShape { tokens, queries, width: width / self.heads };
        attention::attention(context, [q, k, v], &self.projection_biases, shape, batch.lengths(), distances, None);
        for (hidden, context) in hidden.chunks_mut(BLOCK * width).zip(context.chunks(BLOCK * width)) {
            attended.resize(hidden.len(), 0.0);
            rounded.set(context, width);
            self.attention_output.forward(rounded, hidden, attended);
            rounded.set(attended, width);
            wide.resize(hidden.len() / width * self.intermediate_bias.len(), 0.0);
            self.intermediate.product(rounded, wide);
            forward::add_bias_gelu(wide, &self.intermediate_bias);
            rounded.set(wide, self.intermediate_bias.len());
            self.output.forward(rounded, attended, hidden);
        }
    }
}

/// Keeps the first `width` of every `stride` values.
fn keep_first_tokens(hidden: &mut Vec<f32>, stride: usize, width: usize) {
    for (sequence, start) in (0..hidden.len()).step_by(stride).enumerate() {
        hidden.copy_within(start..start + width, sequence * width);
    }
    hidden.truncate(hidden.len() / stride * width);
}
