//! From an encoder to the one for cards.

use burn::nn::LayerNorm;
use burn::tensor::{FloatDType, Tensor};

use crate::device::is_plain_cube;
use crate::models::network::encoder::Encoder;
use crate::models::network::layer::TransformerLayer;
use crate::models::network::linear::Linear;
use crate::models::network::ops::ResidualNorm;
use crate::models::network::packed_encoder::{PackedEncoder, PackedLayer, PackedNorm, PackedResidualNorm};

impl Encoder {
    /// On a card that CubeCL drives, its layers move into a [`PackedEncoder`].
    pub(in crate::models::network) fn packed_on_a_card(mut self) -> Self {
        if !is_plain_cube(&self.device()) || self.rounded.is_some() {
            return self;
        }
        let none = || Tensor::zeros([1, 1], &self.device());
        let tables = [
            self.words.weight.val(),
            self.positions.weight.val(),
            self.types.as_ref().map_or_else(none, |types| types.weight.val()),
        ];
        let distances = match &self.relative {
            Some(relative) => relative.forward(self.config().positions).flatten(0, 1),
            None => Tensor::zeros([1], &self.device()),
        };
        let norm = packed_norm(&self.norm, self.config().epsilon);
        let layers = std::mem::take(&mut self.layers).into_iter().map(packed_layer).collect();
        self.packed = Some(PackedEncoder { tables, norm, layers, distances });
        self
    }
}

/// One product for queries, keys and values.
fn packed_layer(layer: TransformerLayer) -> PackedLayer {
    let projections = [&layer.query, &layer.key, &layer.value];
    PackedLayer {
        projections: Tensor::cat(projections.map(Linear::weight).to_vec(), 1),
        projection_bias: Tensor::cat(projections.map(packed_bias).to_vec(), 0),
        attention_output: packed_residual_norm(&layer.attention_output),
        intermediate: layer.intermediate.weight(),
        intermediate_bias: packed_bias(&layer.intermediate),
        output: packed_residual_norm(&layer.output),
        heads: layer.heads,
    }
}

fn packed_norm(norm: &LayerNorm, epsilon: f64) -> PackedNorm {
    let gamma = norm.gamma.val();
    let beta = norm.beta.as_ref().map_or_else(|| gamma.zeros_like(), |beta| beta.val());
    PackedNorm { weights: Tensor::cat(vec![gamma, beta], 0), epsilon: epsilon as f32 }
}

/// The bias of a layer in f32, zeros without one.
fn packed_bias(linear: &Linear) -> Tensor<1> {
    match linear.bias() {
        Some(bias) => bias.cast(FloatDType::F32),
        None => Tensor::zeros([linear.widths()[1]], &linear.weight().device()),
    }
}

fn packed_residual_norm(part: &ResidualNorm) -> PackedResidualNorm {
    let norm = packed_norm(&part.norm, part.epsilon);
    PackedResidualNorm { weight: part.linear.weight(), bias: packed_bias(&part.linear), norm }
}
