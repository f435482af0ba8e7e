//! The training path of an encoder on the plain CPU device. `layer/backward.rs` says why it exists.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor, TensorData};

use crate::device::is_plain_cpu;
use crate::models::kernels::backward;
use crate::models::network::buffers::{norm_values, values};
use crate::models::network::encoder::Encoder;
use crate::models::network::layer::backward::{LayerTape, NormTape};
use crate::models::network::token_batch::TokenBatch;

/// What a forward pass keeps for its gradient.
pub struct EncoderTape {
    norm: NormTape,
    layers: Vec<LayerTape>,
}

impl Encoder {
    /// Whether [`Encoder::record`] and [`Encoder::backward`] support this encoder on its device.
    pub fn has_backward(&self) -> bool {
        let layers_are_plain = self.layers.first().is_some_and(|layer| layer.dtype() == FloatDType::F32);
        is_plain_cpu(&self.device()) && self.relative.is_none() && layers_are_plain
    }

    /// Whether any parameter other than the token table is trained.
    pub fn is_trained(&self) -> bool {
        requires_gradient(&self.positions.weight)
    }

    /// Hidden states of the last layer, `[R, H]`, or `[B, H]` of the first tokens alone, with dropout.
    pub fn record(&self, batch: &TokenBatch, first_only: bool) -> (Tensor<2>, EncoderTape) {
        let embedded = self.embedded(batch);
        let (device, shape) = (embedded.device(), embedded.dims());
        let mut embedded = values(embedded);
        let mask = self.dropout.draw(embedded.len());
        let (gamma, beta) = norm_values(&self.norm);
        let norm = NormTape::record(&mut embedded, &gamma, &beta, self.config.epsilon, mask);
        norm.drop_out(&mut embedded);
        let mut hidden = Tensor::from_data(TensorData::new(embedded, shape), &device);
        let mut layers = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            let is_last = number + 1 == self.layers.len();
            let (output, tape) = layer.record(hidden, batch, first_only && is_last);
            layers.push(tape);
            hidden = output;
        }
        (hidden, EncoderTape { norm, layers })
    }

    /// From the gradient of what [`Encoder::record`] returned: those of the parameters, in the order in which a module visits
    /// them; `None` for a token table that is not trained.
    pub fn backward(&self, tape: EncoderTape, g: Tensor<2>, batch: &TokenBatch) -> Vec<Option<Vec<f32>>> {
        let mut g = values(g);
        let mut of_layers = Vec::new();
        for (layer, tape) in self.layers.iter().zip(tape.layers).rev() {
            let (of_input, of_layer) = layer.backward(tape, g, batch);
            g = of_input;
            of_layers.push(of_layer);
        }
        let (gamma, _) = norm_values(&self.norm);
        tape.norm.drop_out(&mut g);
        let of_norm = tape.norm.backward(&mut g, &gamma);
        let rows_of = |table: &Param<Tensor<2>>, indices: &[i32]| {
            let [rows, width] = table.dims();
            let mut total = vec![0.0; rows * width];
            for (&row, g) in indices.iter().zip(g.chunks_exact(width)) {
                backward::add(&mut total[row as usize * width..][..width], g);
            }
            total
        };
        let words = &self.words.weight;
        let mut gradients = vec![requires_gradient(words).then(|| rows_of(words, batch.ids()))];
        gradients.push(Some(rows_of(&self.positions.weight, &batch.positions(self.config.padding))));
        if let Some(types) = &self.types {
            gradients.push(Some(rows_of(&types.weight, &self.type_ids(batch))));
        }
        gradients.extend(of_norm.map(Some));
        gradients.extend(of_layers.into_iter().rev().flatten().map(Some));
        gradients
    }
}

/// Whether a parameter is trained. Only an autodiff device knows, so the parameter is moved to one.
fn requires_gradient(param: &Param<Tensor<2>>) -> bool {
    param.clone().train().val().is_require_grad()
}
