//! One micro-batch through a network and back.
//!
//! On the plain CPU device the encoder's gradient is worked out by [`crate::models::network::encoder::backward`] and autodiff sees
//! pooling and head alone; elsewhere, and for encoders with a relative bias, autodiff does it all. Both give the same
//! gradient.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::losses::cached_ranking::surrogate;
use crate::models::network::encoder::backward::EncoderTape;
use crate::models::network::token_batch::TokenBatch;
use crate::training::gradients::{self, Gradient};
use crate::training::network::{Item, Network};

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
    /// Runs `items` through `network`, which is on a device without autodiff.
    pub fn forward(network: &Network, items: &[&Item]) -> Self {
        // weights of its own: a graph that shares none can be walked while others are
        let trained = network.clone().train();
        let batches = network.batches(items);
        if !trained.encoder().is_trained() {
            let hidden = batches.iter().map(|batch| Tensor::from_inner(network.hidden(batch))).collect();
            let outputs = trained.of_hidden(hidden, &batches);
            return Self { network: trained, outputs, encodings: Vec::new() };
        }
        if !network.encoder().has_backward() {
            let outputs = trained.forward(items);
            return Self { network: trained, outputs, encodings: Vec::new() };
        }
        let (leaves, tapes): (Vec<Tensor<2>>, Vec<EncoderTape>) = batches
            .iter()
            .map(|batch| {
                let (hidden, tape) = network.encoder().record(batch, network.reads_first_tokens());
                (Tensor::from_inner(hidden).require_grad(), tape)
            })
            .unzip();
        let outputs = trained.of_hidden(leaves.clone(), &batches);
        let parts = batches.into_iter().zip(leaves).zip(tapes);
        let encodings = parts.map(|((batch, hidden), tape)| Encoding { batch, hidden, tape }).collect();
        Self { network: trained, outputs, encodings }
    }

    /// `[R, D]`, without autodiff.
    pub fn outputs(&self) -> Tensor<2> {
        self.outputs.clone().inner()
    }

    /// The gradient of every parameter of `network`, which made the pass, from that of the outputs, `[R, D]`.
    pub fn backward(self, network: &Network, gradient: Tensor<2>) -> Vec<Gradient> {
        let tape = surrogate(self.outputs, gradient).backward();
        let mut total = gradients::collect(&self.network, &tape);
        for Encoding { batch, hidden, tape: of_encoder } in self.encodings {
            let Some(of_hidden) = hidden.grad(&tape) else { continue };
            let of_encoder = network.encoder().backward(of_encoder, of_hidden, &batch);
            let dense = |gradient: Option<Vec<f32>>| gradient.map_or(Gradient::None, Gradient::Dense);
            for (total, part) in total.iter_mut().zip(of_encoder.into_iter().map(dense)) {
                gradients::add(total, part);
            }
        }
        total
    }
}
