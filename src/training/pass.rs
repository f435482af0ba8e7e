//! Micro-batches through a network and back.
//!
//! On the plain CPU device the encoder's gradient is worked out by [`crate::models::encoder::backward`] and autodiff sees
//! pooling and head alone; elsewhere, and for encoders with a relative bias, autodiff does it all. Both give the same
//! gradient.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use crate::losses::cached_ranking::surrogate;
use crate::models::encoder::backward::{EncoderTape, PlainEncoder};
use crate::models::token_batch::TokenBatch;
use crate::training::gradients::{self, Gradient};
use crate::training::network::{Item, Network};

/// The passes of one step.
pub struct Passes<'a> {
    /// On a device without autodiff.
    network: &'a Network,
    /// `None` where autodiff does it all.
    encoder: Option<PlainEncoder<'a>>,
}

/// A forward pass that remembers how.
pub struct Pass {
    /// Under autodiff.
    network: Network,
    /// Under autodiff, `[R, D]`.
    outputs: Tensor<2>,
    /// Empty where autodiff does it all, or where the encoder is not trained.
    encodings: Vec<Encoding>,
}

/// The encoder's part of a pass.
struct Encoding {
    batch: TokenBatch,
    /// The hidden states as autodiff's leaf.
    hidden: Tensor<2>,
    tape: EncoderTape,
}

impl Pass {
    /// `[R, D]`, without autodiff.
    pub fn outputs(&self) -> Tensor<2> {
        self.outputs.clone().inner()
    }
}

impl<'a> Passes<'a> {
    /// Of a network on a device without autodiff.
    pub fn new(network: &'a Network) -> Self {
        Self { network, encoder: network.encoder().plain() }
    }

    /// Runs `items` through the network.
    pub fn forward(&self, items: &[&Item]) -> Pass {
        // weights of its own: a graph that shares none can be walked while others are
        let trained = self.network.clone().train();
        let Some(encoder) = &self.encoder else {
            let outputs = trained.forward(items);
            return Pass { network: trained, outputs, encodings: Vec::new() };
        };
        let batches = self.network.batches(items);
        if !trained.encoder().is_trained() {
            let hidden = batches.iter().map(|batch| Tensor::from_inner(self.network.hidden(batch))).collect();
            let outputs = trained.of_hidden(hidden, &batches);
            return Pass { network: trained, outputs, encodings: Vec::new() };
        }
        let device = self.network.encoder().device();
        let width = self.network.encoder().config().hidden;
        let (leaves, tapes): (Vec<Tensor<2>>, Vec<EncoderTape>) = batches
            .iter()
            .map(|batch| {
                let (hidden, tape) = encoder.record(batch, self.network.reads_first_tokens());
                let rows = hidden.len() / width;
                let hidden = Tensor::from_data(TensorData::new(hidden, [rows, width]), &device);
                (Tensor::from_inner(hidden).require_grad(), tape)
            })
            .unzip();
        let outputs = trained.of_hidden(leaves.clone(), &batches);
        let parts = batches.into_iter().zip(leaves).zip(tapes);
        let encodings = parts.map(|((batch, hidden), tape)| Encoding { batch, hidden, tape }).collect();
        Pass { network: trained, outputs, encodings }
    }

    /// The gradient of every parameter from that of a pass's outputs, `[R, D]`.
    pub fn backward(&self, pass: Pass, gradient: Tensor<2>) -> Vec<Gradient> {
        let tape = surrogate(pass.outputs, gradient).backward();
        let mut total = gradients::collect(&pass.network, &tape);
        let Some(encoder) = &self.encoder else { return total };
        for Encoding { batch, hidden, tape: of_encoder } in pass.encodings {
            let Some(of_hidden) = hidden.grad(&tape) else { continue };
            let of_hidden = of_hidden.into_data().try_into_vec().expect("gradients are f32");
            let of_encoder = encoder.backward(of_encoder, of_hidden, &batch);
            let dense = |gradient: Option<Vec<f32>>| gradient.map_or(Gradient::None, Gradient::Dense);
            for (total, part) in total.iter_mut().zip(of_encoder.into_iter().map(dense)) {
                gradients::accumulate(total, part);
            }
        }
        total
    }
}
