//! One layer of a post-norm transformer encoder (Vaswani et al. 2017, arXiv:1706.03762): attention and a feed-forward
//! part, each followed by a residual connection and a layer norm. Shared by all families.
//!
//! Shapes: B batch, T tokens, R = B·T rows, H hidden, I intermediate, N heads.

pub mod backward;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{FloatDType, Tensor};

use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::weights::Weights;
use crate::models::families::family::LayerNames;
use crate::models::kernels::rounded::RoundedMatrix;
use crate::models::network::dropout::Dropout;
use crate::models::network::linear::Linear;
use crate::models::network::ops::{self, ResidualNorm, Sequences};
use crate::models::network::precision::Precision;
use crate::models::network::rounded_layer::RoundedLayer;

/// Attention and feed-forward part.
#[derive(Module, Debug)]
pub struct TransformerLayer {
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    attention_dropout: Dropout,
    pub(super) attention_output: ResidualNorm,
    pub(super) intermediate: Linear,
    pub(super) output: ResidualNorm,
    #[module(skip)]
    pub(super) heads: usize,
}

impl TransformerLayer {
    /// Builds layer `name` (`encoder.layer.0`) from a checkpoint.
    pub fn load(config: &EncoderConfig, name: &str, weights: &Weights) -> Result<Self> {
        let (hidden, wide) = (config.hidden, config.intermediate);
        let names: &LayerNames = &config.family.layer;
        let linear = |part: &str, d_in, d_out| Linear::load(weights, &format!("{name}.{part}"), [d_in, d_out], true);
        let residual_norm = |linear: Linear, part: &str, drops: bool| -> Result<ResidualNorm> {
            Ok(ResidualNorm {
                linear,
                dropout: drops.then(|| Dropout::new(config.dropout)),
                norm: weights.layer_norm(&format!("{name}.{part}"), hidden, config.epsilon)?,
                epsilon: config.epsilon,
            })
        };
        Ok(Self {
            query: linear(names.query, hidden, hidden)?,
            key: linear(names.key, hidden, hidden)?,
            value: linear(names.value, hidden, hidden)?,
            attention_dropout: Dropout::new(config.attention_dropout),
            attention_output: residual_norm(
                linear(names.attention_output, hidden, hidden)?,
                names.attention_norm,
                config.family.attention_output_dropout,
            )?,
            intermediate: linear(names.intermediate, hidden, wide)?,
            output: residual_norm(linear(names.output, wide, hidden)?, names.output_norm, true)?,
            heads: config.heads,
        })
    }

    /// Lists the layer's tensors for writing.
    pub fn tensors(&self, names: &LayerNames, name: &str, out: &mut NamedTensors) {
        let linears = [
            (names.query, &self.query),
            (names.key, &self.key),
            (names.value, &self.value),
            (names.attention_output, &self.attention_output.linear),
            (names.intermediate, &self.intermediate),
            (names.output, &self.output.linear),
        ];
        for (part, linear) in linears {
            linear.tensors(&format!("{name}.{part}"), out);
        }
        out.layer_norm(&format!("{name}.{}", names.attention_norm), &self.attention_output.norm);
        out.layer_norm(&format!("{name}.{}", names.output_norm), &self.output.norm);
    }

    /// Sets the probability of every dropout.
    pub fn set_dropout(&mut self, p: f64) {
        self.attention_dropout.prob = p;
        for dropout in [&mut self.attention_output.dropout, &mut self.output.dropout].into_iter().flatten() {
            dropout.prob = p;
        }
    }

    /// The same layer with its products in another number format.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self {
            query: self.query.in_precision(precision),
            key: self.key.in_precision(precision),
            value: self.value.in_precision(precision),
            attention_output: self.attention_output.in_precision(precision),
            intermediate: self.intermediate.in_precision(precision),
            output: self.output.in_precision(precision),
            ..self
        }
    }

    /// The same layer with its products in a format that this processor has kernels for. Only on the plain CPU path.
    pub fn rounded<M: RoundedMatrix>(&self) -> RoundedLayer<M> {
        let projections = [&self.query, &self.key, &self.value];
        RoundedLayer {
            projections: projections.map(Linear::rounded),
            projection_biases: projections.map(Linear::bias_values),
            attention_output: self.attention_output.rounded(),
            intermediate: self.intermediate.rounded(),
            intermediate_bias: self.intermediate.bias_values(),
            output: self.output.rounded(),
            heads: self.heads,
        }
    }

    /// The number format of its input and its output.
    pub fn dtype(&self) -> FloatDType {
        self.query.dtype()
    }

    /// `[R, H] → [R, H]`.
    pub fn forward(&self, hidden: Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        self.forward_rows(hidden.clone(), hidden, sequences)
    }

    /// Only the first token's row of every sequence: `[R, H] → [B, H]`. The last layer can skip the other rows if nothing
    /// reads them.
    pub fn forward_first(&self, hidden: Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        self.forward_rows(ops::first_tokens(hidden.clone(), sequences.batch()), hidden, sequences)
    }

    /// `kept` are the rows of `hidden` that the layer returns.
    fn forward_rows(&self, kept: Tensor<2>, hidden: Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        let queries = self.query.product(kept.clone());
        let projected = [queries, self.key.product(hidden.clone()), self.value.product(hidden)];
        let layers = [&self.query, &self.key, &self.value];
        let context = ops::attention(projected, layers, self.heads, sequences, &self.attention_dropout);
        let attended = self.attention_output.forward(context, kept);
        let wide = ops::linear_gelu(attended.clone(), &self.intermediate);
        self.output.forward(wide, attended)
    }
}
