//! Token ids to hidden states: embeddings and the stack of layers, without pooling or head.
//!
//! Shapes: B batch, T tokens, R = B·T rows, H hidden. Hidden states stay `[R, H]` throughout: every product is then
//! one large matrix product, and only attention looks at sequences.

use anyhow::Result;
use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

use crate::models::config::EncoderConfig;
use crate::models::dropout::Dropout;
use crate::models::family::TokenTypes;
use crate::models::layer::TransformerLayer;
use crate::models::mpnet::RelativeBias;
use crate::models::named_tensors::NamedTensors;
use crate::models::ops::Sequences;
use crate::models::token_batch::TokenBatch;
use crate::models::weights::Weights;

const WORDS: &str = "embeddings.word_embeddings";
const POSITIONS: &str = "embeddings.position_embeddings";
const TYPES: &str = "embeddings.token_type_embeddings";
const NORM: &str = "embeddings.LayerNorm";

/// An encoder of any family.
#[derive(Module, Debug)]
pub struct Encoder {
    words: Embedding,
    positions: Embedding,
    types: Option<Embedding>,
    norm: LayerNorm,
    dropout: Dropout,
    layers: Vec<TransformerLayer>,
    relative: Option<RelativeBias>,
    #[module(skip)]
    config: EncoderConfig,
}

impl Encoder {
    /// Builds the encoder from the tensors of a Hugging Face checkpoint, on the device of `weights`.
    pub fn load(config: &EncoderConfig, weights: &Weights) -> Result<Self> {
        let hidden = config.hidden;
        let types = config.family.token_types != TokenTypes::None;
        let layer = |number: usize| format!("{}.{number}", config.family.layers);
        Ok(Self {
            words: weights.embedding(WORDS, config.vocabulary, hidden)?,
            positions: weights.embedding(POSITIONS, config.positions, hidden)?,
            types: types.then(|| weights.embedding(TYPES, config.types, hidden)).transpose()?,
            norm: weights.layer_norm(NORM, hidden, config.epsilon)?,
            dropout: Dropout::new(config.dropout),
            layers: (0..config.layers)
                .map(|number| TransformerLayer::load(config, &layer(number), weights))
                .collect::<Result<_>>()?,
            relative: config
                .family
                .relative_bias
                .then(|| RelativeBias::load(config.relative_buckets, config.heads, weights))
                .transpose()?,
            config: config.clone(),
        })
    }

    /// Lists every tensor under its bare name.
    pub fn tensors(&self, out: &mut NamedTensors) {
        out.embedding(WORDS, &self.words);
        out.embedding(POSITIONS, &self.positions);
        if let Some(types) = &self.types {
            out.embedding(TYPES, types);
        }
        out.layer_norm(NORM, &self.norm);
        for (number, layer) in self.layers.iter().enumerate() {
            layer.tensors(&self.config.family.layer, &format!("{}.{number}", self.config.family.layers), out);
        }
        if let Some(relative) = &self.relative {
            relative.tensors(out);
        }
    }

    /// Sets the probability of every dropout, which is active on an autodiff device only.
    pub fn with_dropout(mut self, p: f64) -> Self {
        self.dropout.prob = p;
        self.layers.iter_mut().for_each(|layer| layer.set_dropout(p));
        self
    }

    /// What `config.json` said.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.words.weight.device()
    }

    /// Hidden states of the last layer in f32, `[R, H]`. Rows of padding hold no meaning.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        self.hidden_states(batch).cast(FloatDType::F32)
    }

    /// Hidden states in the format of the weights.
    fn hidden_states(&self, batch: &TokenBatch) -> Tensor<2> {
        let device = self.device();
        let [rows, tokens] = batch.dims();
        let select = |table: &Embedding, values: Vec<i32>| {
            let indices: Tensor<1, Int> = Tensor::from_data(TensorData::new(values, [rows * tokens]), &device);
            table.weight.val().select(0, indices).cast(FloatDType::F32)
        };
        let mut embedded =
            select(&self.words, batch.ids().to_vec()) + select(&self.positions, batch.positions(self.config.padding));
        if let Some(types) = &self.types {
            let zero = self.config.family.token_types == TokenTypes::Zero;
            embedded = embedded + select(types, if zero { vec![0; rows * tokens] } else { batch.type_ids().to_vec() });
        }
        let relative = self.relative.as_ref().map(|relative| relative.forward(tokens));
        let embedded = self.dropout.forward(self.norm.forward(embedded)).cast(self.words.weight.val().dtype());
        let sequences = Sequences::new(batch, relative, &embedded);
        self.layers.iter().fold(embedded, |hidden, layer| layer.forward(hidden, &sequences))
    }

    /// The first token's hidden state of every row in f32, `[B, H]`.
    pub fn first_tokens(&self, batch: &TokenBatch) -> Tensor<2> {
        let [rows, tokens] = batch.dims();
        let hidden = self.hidden_states(batch);
        let width = hidden.dims()[1];
        hidden.reshape([rows, tokens, width]).narrow(1, 0, 1).reshape([rows, width]).cast(FloatDType::F32)
    }
}
