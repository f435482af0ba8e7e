//! The training path of an encoder on the plain CPU device; see [`crate::models::layer::backward`].

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::Encoder;
use crate::device::is_plain_cpu;
use crate::models::kernels::backward;
use crate::models::layer::backward::{LayerTape, PlainLayer};
use crate::models::ops::values;
use crate::models::plain::{NormTape, PlainNorm};
use crate::models::token_batch::TokenBatch;

/// An encoder with its layers' weights as plain numbers.
pub struct PlainEncoder<'a> {
    encoder: &'a Encoder,
    norm: PlainNorm,
    layers: Vec<PlainLayer>,
}

/// What a forward pass leaves for its gradient.
pub struct EncoderTape {
    norm: NormTape,
    layers: Vec<LayerTape>,
}

impl Encoder {
    /// Reads the weights, if a [`PlainEncoder`] knows all that this encoder does where it is.
    pub fn plain(&self) -> Option<PlainEncoder<'_>> {
        if !is_plain_cpu(&self.device()) || self.relative.is_some() || self.layers.is_empty() {
            return None;
        }
        let norm = PlainNorm::new(&self.norm, self.config.epsilon);
        let layers = self.layers.par_iter().map(|layer| layer.plain()).collect();
        Some(PlainEncoder { encoder: self, norm, layers })
    }

    /// Whether any parameter beside the token table is trained.
    pub fn is_trained(&self) -> bool {
        requires_gradient(&self.positions.weight)
    }
}

impl PlainEncoder<'_> {
    /// Hidden states of the last layer, `[R, H]`, or `[B, H]` of the first tokens alone, with dropout.
    pub fn record(&self, batch: &TokenBatch, first_only: bool) -> (Vec<f32>, EncoderTape) {
        let mut hidden = values(self.encoder.embedded(batch));
        let mask = self.encoder.dropout.draw(hidden.len());
        let norm = self.norm.record(&mut hidden, mask);
        if let Some(mask) = &norm.mask {
            backward::multiply(&mut hidden, mask);
        }
        let mut layers = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            let is_last = number + 1 == self.layers.len();
            let (output, tape) = layer.record(hidden, batch, first_only && is_last);
            layers.push(tape);
            hidden = output;
        }
        (hidden, EncoderTape { norm, layers })
    }

    /// From the gradient of what [`PlainEncoder::record`] returned: those of the parameters, in the order in which a
    /// module visits them; `None` for a token table that is not trained.
    pub fn backward(&self, tape: EncoderTape, mut g: Vec<f32>, batch: &TokenBatch) -> Vec<Option<Vec<f32>>> {
        let mut of_layers = Vec::new();
        for (layer, tape) in self.layers.iter().zip(tape.layers).rev() {
            let (of_input, of_layer) = layer.backward(tape, g, batch);
            g = of_input;
            of_layers.push(of_layer);
        }
        if let Some(mask) = &tape.norm.mask {
            backward::multiply(&mut g, mask);
        }
        let of_norm = self.norm.backward(&tape.norm, &mut g);
        let Encoder { words, positions, types, config, .. } = self.encoder;
        let rows_of = |table: &Param<Tensor<2>>, indices: &[i32]| {
            let [rows, width] = table.dims();
            let mut total = vec![0.0; rows * width];
            for (&row, g) in indices.iter().zip(g.chunks_exact(width)) {
                backward::add(&mut total[row as usize * width..][..width], g);
            }
            total
        };
        let mut gradients = vec![requires_gradient(&words.weight).then(|| rows_of(&words.weight, batch.ids()))];
        gradients.push(Some(rows_of(&positions.weight, &batch.positions(config.padding))));
        if let Some(types) = types {
            gradients.push(Some(rows_of(&types.weight, &self.encoder.type_ids(batch))));
        }
        gradients.extend(of_norm.map(Some));
        gradients.extend(of_layers.into_iter().rev().flatten().map(Some));
        gradients
    }
}

/// Whether a parameter is trained, wherever it is: only a device with autodiff knows.
fn requires_gradient(param: &Param<Tensor<2>>) -> bool {
    param.clone().train().val().is_require_grad()
}
