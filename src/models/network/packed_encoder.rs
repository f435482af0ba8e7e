//! An encoder for inference on cards: packed rows, few shapes, and one kernel between two products.
//!
//! It computes what [`Encoder`](crate::models::network::encoder::Encoder) does. Its products are Burn's and are the only
//! thing that is tuned: [`PackedEncoder::warm`] has them tuned one by one, so that a user sees how far it is.
//!
//! Shapes: R rows, S slots, H hidden, I intermediate, N heads, T the model's limit of tokens.

mod pack;

use anyhow::{Context, Result};
use burn::tensor::{FloatDType, Int, Tensor, TensorData};

use crate::models::kernels::cube::ops;
use crate::models::network::packed_rows::{FIELDS, PackedRows};

/// Embeddings and layers.
#[derive(Debug, Clone)]
pub struct PackedEncoder {
    /// Of tokens, positions and token types; a family without types has a table of one number.
    pub tables: [Tensor<2>; 3],
    pub norm: PackedNorm,
    pub layers: Vec<PackedLayer>,
    /// The bias of attention by head and distance, `[N · (2T − 1)]`; one number in a family without it.
    pub distances: Tensor<1>,
}

/// Attention and feed-forward part, in the format of the model.
#[derive(Debug, Clone)]
pub struct PackedLayer {
    /// Queries, keys and values in one product, `[H, 3H]`.
    pub projections: Tensor<2>,
    pub projection_bias: Tensor<1>,
    pub attention_output: PackedResidualNorm,
    pub intermediate: Tensor<2>,
    pub intermediate_bias: Tensor<1>,
    pub output: PackedResidualNorm,
    pub heads: usize,
}

/// `LayerNorm(x W + b + residual)`.
#[derive(Debug, Clone)]
pub struct PackedResidualNorm {
    pub weight: Tensor<2>,
    pub bias: Tensor<1>,
    pub norm: PackedNorm,
}

/// A layer norm.
#[derive(Debug, Clone)]
pub struct PackedNorm {
    /// Gamma, then beta, in f32, `[2 · H]`.
    pub weights: Tensor<1>,
    pub epsilon: f32,
}

impl PackedResidualNorm {
    /// `[R, d_in], [R, H] → [R, H]`.
    fn forward(&self, x: Tensor<2>, residual: Tensor<2>) -> Tensor<2> {
        let PackedNorm { weights, epsilon } = &self.norm;
        let parts = [self.bias.clone(), weights.clone()];
        ops::add_norm([x.matmul(self.weight.clone()), residual], parts, *epsilon)
    }
}

impl PackedLayer {
    /// `[R, H] → [R, H]`.
    fn forward(&self, hidden: Tensor<2>, fields: &Tensor<2, Int>, distances: &Tensor<1>) -> Tensor<2> {
        self.feed_forward(self.attend(hidden.clone(), fields, distances), hidden)
    }

    /// The same for some rows only, `[S, H]`: those that nothing reads are not computed.
    fn forward_rows(
        &self,
        hidden: Tensor<2>,
        kept: Tensor<1, Int>,
        fields: &Tensor<2, Int>,
        distances: &Tensor<1>,
    ) -> Tensor<2> {
        let context = self.attend(hidden.clone(), fields, distances);
        self.feed_forward(context.select(0, kept.clone()), hidden.select(0, kept))
    }

    /// What attention reads from the rows of each row's text.
    fn attend(&self, hidden: Tensor<2>, fields: &Tensor<2, Int>, distances: &Tensor<1>) -> Tensor<2> {
        let projected = hidden.matmul(self.projections.clone());
        let bias = self.projection_bias.clone();
        ops::attention(projected, bias, fields.clone(), distances.clone(), self.heads)
    }

    /// What follows attention, row by row.
    fn feed_forward(&self, context: Tensor<2>, hidden: Tensor<2>) -> Tensor<2> {
        let attended = self.attention_output.forward(context, hidden);
        let wide = attended.clone().matmul(self.intermediate.clone());
        let wide = ops::bias_gelu(wide, self.intermediate_bias.clone());
        self.output.forward(wide, attended)
    }

    /// The weights of its products.
    fn weights(&self) -> [&Tensor<2>; 4] {
        [&self.projections, &self.attention_output.weight, &self.intermediate, &self.output.weight]
    }
}

impl PackedEncoder {
    /// The format of its hidden states.
    fn format(&self) -> FloatDType {
        self.layers.first().map_or(FloatDType::F32, |layer| layer.projections.dtype().into())
    }

    /// Hidden states of the last layer, `[R, H]`, in the format of the model.
    pub fn forward(&self, rows: &PackedRows) -> Tensor<2> {
        let (embedded, fields) = self.embed(rows);
        self.layers.iter().fold(embedded, |hidden, layer| layer.forward(hidden, &fields, &self.distances))
    }

    /// The hidden state of every text's first token, `[S, H]`.
    pub fn first_tokens(&self, rows: &PackedRows) -> Tensor<2> {
        let (embedded, fields) = self.embed(rows);
        let first = self.ints(rows.token_of_slots(|_| 0));
        let Some((last, before)) = self.layers.split_last() else { return embedded.select(0, first) };
        let hidden = before.iter().fold(embedded, |hidden, layer| layer.forward(hidden, &fields, &self.distances));
        last.forward_rows(hidden, first, &fields, &self.distances)
    }

    /// What enters the layers, and the fields of the rows on the device.
    fn embed(&self, rows: &PackedRows) -> (Tensor<2>, Tensor<2, Int>) {
        let fields = self.ints(rows.fields.clone()).reshape([FIELDS, rows.shape().rows]);
        let PackedNorm { weights, epsilon } = &self.norm;
        let tables = self.tables.clone();
        let embedded = ops::embed_norm(tables, fields.clone(), weights.clone(), *epsilon, self.format());
        (embedded, fields)
    }

    /// Numbers on the device of the encoder.
    pub fn ints(&self, values: Vec<i32>) -> Tensor<1, Int> {
        let length = values.len();
        Tensor::from_data(TensorData::new(values, [length]), &self.distances.device())
    }

    /// The sum of each text's rows times their weights, `[R]`: `[R, H] → [S, H]` in f32; `spans` are those of
    /// [`PackedRows::spans`].
    pub fn weighted_sum(&self, hidden: Tensor<2>, weights: Vec<f32>, spans: Vec<i32>) -> Tensor<2> {
        let length = weights.len();
        let weights = Tensor::from_data(TensorData::new(weights, [length]), &self.distances.device());
        ops::weighted_sum(hidden, weights, self.ints(spans))
    }

    /// The largest value of each component over a text's rows: `[R, H] → [S, H]` in f32.
    pub fn maximum(&self, hidden: Tensor<2>, spans: Vec<i32>) -> Tensor<2> {
        ops::maximum(hidden, self.ints(spans))
    }

    /// The widths `[d_in, d_out]` of the products, each once. All have R rows.
    pub fn products(&self) -> Vec<[usize; 2]> {
        let mut widths: Vec<[usize; 2]> =
            self.layers.iter().flat_map(PackedLayer::weights).map(|weight| weight.dims()).collect();
        widths.sort_unstable();
        widths.dedup();
        widths
    }

    /// Computes every product once on `rows` rows, so that its kernel is chosen; `done` is called after each.
    pub fn warm(&self, rows: usize, mut done: impl FnMut() -> Result<()>) -> Result<()> {
        for widths in self.products() {
            let mut weights = self.layers.iter().flat_map(PackedLayer::weights);
            let Some(weight) = weights.find(|weight| weight.dims() == widths) else { continue };
            let device = weight.device();
            let x = Tensor::<2>::ones([rows, widths[0]], &device).cast(self.format());
            let _product = x.matmul(weight.clone());
            device.sync().context("the device failed")?;
            done()?;
        }
        Ok(())
    }
}
