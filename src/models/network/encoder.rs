//! Token ids to hidden states: embeddings and the stack of layers, without pooling or head.
//!
//! Shapes: B batch, T tokens, R = B·T rows, H hidden. Hidden states stay `[R, H]`, so every product is one large
//! matrix product; only attention looks at sequences.

pub mod backward;

use anyhow::Result;
use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

use crate::device::is_plain_cpu;
use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::weights::Weights;
use crate::models::families::family::TokenTypes;
use crate::models::kernels::{bf16, forward};
use crate::models::network::buffers::{norm_values, on_buffer, values};
use crate::models::network::dropout::Dropout;
use crate::models::network::layer::TransformerLayer;
use crate::models::network::ops::{self, Sequences};
use crate::models::network::packed_encoder::PackedEncoder;
use crate::models::network::packed_rows::PackedRows;
use crate::models::network::precision::Precision;
use crate::models::network::relative_bias::RelativeBias;
use crate::models::network::rounded_layer::{self, LayerFormat};
use crate::models::network::token_batch::TokenBatch;

const WORDS: &str = "embeddings.word_embeddings";
const POSITIONS: &str = "embeddings.position_embeddings";
const TYPES: &str = "embeddings.token_type_embeddings";
const NORM: &str = "embeddings.LayerNorm";

/// An encoder of any family.
#[derive(Module, Debug)]
pub struct Encoder {
    pub(super) words: Embedding,
    pub(super) positions: Embedding,
    pub(super) types: Option<Embedding>,
    pub(super) norm: LayerNorm,
    dropout: Dropout,
    pub(super) layers: Vec<TransformerLayer>,
    /// The layers instead, for inference on the plain CPU device in a format that it has kernels for.
    #[module(skip)]
    pub(super) rounded: Option<Vec<LayerFormat>>,
    /// Embeddings and layers instead, for inference on a card.
    #[module(skip)]
    pub(super) packed: Option<PackedEncoder>,
    pub(super) relative: Option<RelativeBias>,
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
            rounded: None,
            packed: None,
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

    /// Sets the probability of every dropout. Dropout acts only inside `dropout::seeded`.
    pub fn with_dropout(mut self, p: f64) -> Self {
        self.dropout.prob = p;
        self.layers.iter_mut().for_each(|layer| layer.set_dropout(p));
        self
    }

    /// The same encoder with layers that compute in another number format. Embeddings stay in f32: the gradient of a row is
    /// a sum over all tokens of a batch.
    pub fn in_precision(mut self, precision: Precision) -> Self {
        match precision {
            Precision::Int8 => {
                let in_f32 = self.config.f32_layers.clone();
                self.in_int8(&in_f32)
            }
            Precision::F32 | Precision::Bf16 | Precision::F16 => {
                let layers = std::mem::take(&mut self.layers).into_iter();
                self.layers = layers.map(|layer| layer.in_precision(precision)).collect();
                self
            }
        }
    }

    /// The same encoder with layers in 8 bits, except those of these numbers.
    pub fn in_int8(mut self, in_f32: &[usize]) -> Self {
        let layers = std::mem::take(&mut self.layers).into_iter().enumerate();
        let format = |(number, layer): (usize, TransformerLayer)| match in_f32.contains(&number) {
            true => LayerFormat::F32(Box::new(layer.rounded())),
            false => LayerFormat::Int8(Box::new(layer.rounded())),
        };
        self.rounded = Some(layers.map(format).collect());
        self
    }

    /// The same encoder for inference, as fast as its device allows.
    pub fn for_inference(mut self) -> Self {
        let is_bf16 = self.layers.first().is_some_and(|layer| layer.dtype() == FloatDType::BF16);
        if !(is_bf16 && is_plain_cpu(&self.device()) && bf16::is_fast()) {
            return self.packed_on_a_card();
        }
        let layers = std::mem::take(&mut self.layers).into_iter();
        self.rounded = Some(layers.map(|layer| LayerFormat::Bf16(Box::new(layer.rounded()))).collect());
        self
    }

    /// What `config.json` said.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.words.weight.device()
    }

    /// What computes instead of this encoder, on a card.
    pub fn packed(&self) -> Option<&PackedEncoder> {
        self.packed.as_ref()
    }

    /// A batch as the encoder for cards takes it.
    pub fn packed_rows(&self, batch: &TokenBatch) -> PackedRows {
        PackedRows::new(batch, &batch.positions(self.config.padding), &self.type_ids(batch))
    }

    /// Hidden states of the last layer in f32, `[R, H]`. Rows of padding hold no meaning.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        self.hidden_states(batch).cast(FloatDType::F32)
    }

    /// The sum of each token's embeddings in f32, `[R, H]`.
    fn embedded(&self, batch: &TokenBatch) -> Tensor<2> {
        let device = self.device();
        let [rows, tokens] = batch.dims();
        let select = |table: &Embedding, values: Vec<i32>| {
            let indices: Tensor<1, Int> = Tensor::from_data(TensorData::new(values, [rows * tokens]), &device);
            table.weight.val().select(0, indices)
        };
        let embedded =
            select(&self.words, batch.ids().to_vec()) + select(&self.positions, batch.positions(self.config.padding));
        match &self.types {
            Some(types) => embedded + select(types, self.type_ids(batch)),
            None => embedded,
        }
    }

    /// Rows of the token type table, row-major `[B, T]`.
    fn type_ids(&self, batch: &TokenBatch) -> Vec<i32> {
        match self.config.family.token_types {
            TokenTypes::Zero => vec![0; batch.ids().len()],
            _ => batch.type_ids().to_vec(),
        }
    }

    /// Hidden states in the format of the weights.
    fn hidden_states(&self, batch: &TokenBatch) -> Tensor<2> {
        let (embedded, sequences) = self.layer_input(batch);
        if let Some(layers) = &self.rounded {
            return through(layers, embedded, &sequences, false);
        }
        self.layers.iter().fold(embedded, |hidden, layer| layer.forward(hidden, &sequences))
    }

    /// What enters the layers.
    fn layer_input<'a>(&self, batch: &'a TokenBatch) -> (Tensor<2>, Sequences<'a>) {
        let embedded = match self.rounded {
            None => self.norm.forward(self.embedded(batch)),
            Some(_) => self.embedded_norm(self.embedded(batch)),
        };
        let dtype = self.layers.first().map_or(FloatDType::F32, TransformerLayer::dtype);
        let embedded = self.dropout.forward(embedded).cast(dtype);
        let relative = self.relative.as_ref().map(|relative| relative.forward(batch.dims()[1]));
        let sequences = Sequences::new(batch, relative, &embedded);
        (embedded, sequences)
    }

    /// The norm before rounded layers. Burn's differs in the last bits from processor to processor, and a bit can decide
    /// which code a value gets.
    fn embedded_norm(&self, embedded: Tensor<2>) -> Tensor<2> {
        let (gamma, beta) = norm_values(&self.norm);
        let (none, epsilon) = (vec![0.0; gamma.len()], self.config.epsilon as f32);
        let residual = vec![0.0; embedded.dims().iter().product()];
        on_buffer(embedded, |x| forward::add_norm(x, &residual, &none, &gamma, &beta, epsilon))
    }

    /// The first token's hidden state of every row in f32, `[B, H]`.
    pub fn first_tokens(&self, batch: &TokenBatch) -> Tensor<2> {
        if let Some(packed) = &self.packed {
            return packed.first_tokens(&self.packed_rows(batch)).cast(FloatDType::F32);
        }
        let (embedded, sequences) = self.layer_input(batch);
        if let Some(layers) = &self.rounded {
            return through(layers, embedded, &sequences, true);
        }
        let Some((last, before)) = self.layers.split_last() else {
            return ops::first_tokens(embedded, batch).cast(FloatDType::F32);
        };
        let hidden = before.iter().fold(embedded, |hidden, layer| layer.forward(hidden, &sequences));
        last.forward_first(hidden, &sequences).cast(FloatDType::F32)
    }
}

/// Through layers that compute instead of the encoder's own; `only_first` keeps the first token of every sequence.
fn through(layers: &[LayerFormat], embedded: Tensor<2>, sequences: &Sequences, only_first: bool) -> Tensor<2> {
    let ([_, width], device) = (embedded.dims(), embedded.device());
    let hidden = rounded_layer::forward(layers, values(embedded), only_first, sequences.batch(), sequences.distances());
    let rows = hidden.len() / width;
    Tensor::from_data(TensorData::new(hidden, [rows, width]), &device)
}
