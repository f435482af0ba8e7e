//! The classification head of a cross-encoder: the first token's vector to one logit.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::activation::{relu, tanh};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::weights::Weights;
use crate::models::families::family::{HeadActivation, HeadNames};
use crate::models::network::dropout::Dropout;
use crate::models::network::linear::Linear;

/// Standard deviation of a new layer's weights (`initializer_range`).
const INITIALIZER_RANGE: f32 = 0.02;

/// `out(dropout(activation(dense(x))))`.
#[derive(Module, Debug)]
pub struct Head {
    dense: Linear,
    out: Linear,
    dropout: Dropout,
    #[module(skip)]
    names: HeadNames,
}

impl Head {
    /// Builds a head of one label from a checkpoint.
    pub fn load(config: &EncoderConfig, weights: &Weights) -> Result<Self> {
        let (names, hidden) = (config.family.head, config.hidden);
        Ok(Self {
            dense: Linear::load(weights, names.dense, [hidden, hidden], true)?,
            out: Linear::load(weights, names.out, [hidden, 1], true)?,
            dropout: Dropout::new(config.classifier_dropout),
            names,
        })
    }

    /// A head to train, drawn from `seed`: weights uniform, with the standard deviation that transformers uses. BERT's first
    /// layer, its pooler, counts as part of the encoder and is kept if the checkpoint has it.
    pub fn seeded(config: &EncoderConfig, weights: &Weights, seed: u64, device: &Device) -> Result<Self> {
        let (names, hidden) = (config.family.head, config.hidden);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let bound = INITIALIZER_RANGE * 3f32.sqrt();
        let mut seeded = |widths: [usize; 2]| Linear::seeded(widths, bound, 0.0, &mut random, device);
        let (dense, out) = (seeded([hidden, hidden]), seeded([hidden, 1]));
        let is_pooler = !names.dense_prefix.is_empty() && weights.has(&format!("{}.weight", names.dense));
        Ok(Self {
            dense: if is_pooler { Linear::load(weights, names.dense, [hidden, hidden], true)? } else { dense },
            out,
            dropout: Dropout::new(config.classifier_dropout),
            names,
        })
    }

    /// Lists its tensors for writing.
    pub fn tensors(&self, out: &mut NamedTensors) {
        self.dense.tensors(&format!("{}{}", self.names.dense_prefix, self.names.dense), out);
        self.out.tensors(self.names.out, out);
    }

    /// Sets the probability of its dropout.
    pub fn set_dropout(&mut self, p: f64) {
        self.dropout.prob = p;
    }

    /// `[B, H] → [B]`.
    pub fn forward(&self, first: Tensor<2>) -> Tensor<1> {
        let first = if self.names.dropout_first { self.dropout.forward(first) } else { first };
        let dense = self.dense.forward(first);
        let activated = match self.names.activation {
            HeadActivation::Tanh => tanh(dense),
            HeadActivation::Relu => relu(dense),
        };
        self.out.forward(self.dropout.forward(activated)).squeeze_dim(1)
    }
}
