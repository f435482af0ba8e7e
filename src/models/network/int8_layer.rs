//! A transformer layer with products in 8 bits, for inference on the plain CPU device.
//!
//! It holds no tensors: between the products are the same fused loops as in f32, and what is between two products of the
//! feed-forward part never leaves the cache.
//!
//! Shapes: B batch, T tokens, R = B·T rows, H hidden, I intermediate.

use crate::models::kernels::forward::{self, AttentionShape};
use crate::models::kernels::int8::{Codes, Int8Matrix};
use crate::models::network::token_batch::TokenBatch;

/// Rows that go through the feed-forward part at once: their I values stay in a core's cache. A multiple of the rows of
/// every kernel.
const BLOCK: usize = 48;

/// Attention and feed-forward part.
#[derive(Debug, Clone)]
pub struct Int8Layer {
    /// Of queries, keys and values.
    pub projections: [Int8Matrix; 3],
    pub projection_biases: [Vec<f32>; 3],
    pub attention_output: Int8ResidualNorm,
    pub intermediate: Int8Matrix,
    pub intermediate_bias: Vec<f32>,
    pub output: Int8ResidualNorm,
    pub heads: usize,
}

/// `LayerNorm(x W + b + residual)`.
#[derive(Debug, Clone)]
pub struct Int8ResidualNorm {
    pub matrix: Int8Matrix,
    pub bias: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
    pub epsilon: f32,
}

impl Int8ResidualNorm {
    /// `[R, d_in], [R, H] → [R, H]`.
    fn forward(&self, x: &Codes, residual: &[f32], out: &mut [f32]) {
        self.matrix.product(x, out);
        forward::add_norm(out, residual, &self.bias, &self.gamma, &self.beta, self.epsilon);
    }
}

impl Int8Layer {
    /// `[R, H] → [R, H]`, or `[B, H]` if only the first token of every sequence is kept. `distances` is the bias of
    /// attention by head and distance, `[N, 2T − 1]`.
    pub fn forward(&self, hidden: &[f32], only_first: bool, batch: &TokenBatch, distances: Option<&[f32]>) -> Vec<f32> {
        let [sequences, tokens] = batch.dims();
        let width = self.attention_output.bias.len();
        let first: Vec<f32>;
        let (kept, queries) = match only_first {
            true => {
                first = hidden.chunks_exact(tokens * width).flat_map(|rows| &rows[..width]).copied().collect();
                (first.as_slice(), 1)
            }
            false => (hidden, tokens),
        };
        let mut codes = Codes::default();
        codes.set(hidden, width);
        let [query, key, value] = &self.projections;
        let product = |matrix: &Int8Matrix, codes: &Codes, rows: usize| {
            let mut out = vec![0.0; rows * width];
            matrix.product(codes, &mut out);
            out
        };
        let (k, v) = (product(key, &codes, sequences * tokens), product(value, &codes, sequences * tokens));
        if only_first {
            codes.set(kept, width);
        }
        let q = product(query, &codes, sequences * queries);
        let mut context = vec![0.0; kept.len()];
        let shape = AttentionShape { tokens, queries, width: width / self.heads };
        forward::attention(
            &mut context,
            [&q, &k, &v],
            &self.projection_biases,
            shape,
            batch.lengths(),
            distances,
            None,
        );
        let mut out = vec![0.0; kept.len()];
        let mut attended = vec![0.0; BLOCK * width];
        let mut wide = vec![0.0; BLOCK * self.intermediate_bias.len()];
        let blocks = kept.chunks(BLOCK * width).zip(context.chunks(BLOCK * width));
        for ((kept, context), out) in blocks.zip(out.chunks_mut(BLOCK * width)) {
            let attended = &mut attended[..kept.len()];
            codes.set(context, width);
            self.attention_output.forward(&codes, kept, attended);
            codes.set(attended, width);
            let wide = &mut wide[..kept.len() / width * self.intermediate_bias.len()];
            self.intermediate.product(&codes, wide);
            forward::add_bias_gelu(wide, &self.intermediate_bias);
            codes.set(wide, self.intermediate_bias.len());
            self.output.forward(&codes, attended, out);
        }
        out
    }
}
