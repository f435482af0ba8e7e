//! BERT (Devlin et al. 2019, arXiv:1810.04805), the encoder of MiniLM and most bi-encoders and cross-encoders.
//!
//! Shapes: B batch, T tokens, R = B·T rows, H hidden, I intermediate, N heads. Hidden states stay `[R, H]`
//! throughout: every product is then one large matrix product, and only attention looks at sequences.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde::Deserialize;

use crate::models::ops;
use crate::models::weights::Weights;
use crate::text::batch::Cut;

/// What `config.json` says of a BERT.
#[derive(Debug, Clone, Deserialize)]
pub struct BertConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    #[serde(default = "bert_epsilon")]
    pub layer_norm_eps: f64,
    #[serde(default = "gelu")]
    pub hidden_act: String,
    #[serde(default = "absolute")]
    pub position_embedding_type: Option<String>,
}

fn two() -> usize {
    2
}
fn bert_epsilon() -> f64 {
    1e-12
}
fn gelu() -> String {
    "gelu".into()
}
fn absolute() -> Option<String> {
    Some("absolute".into())
}

impl BertConfig {
    /// Refuses what this encoder would compute differently from Python.
    pub fn check(&self) -> Result<()> {
        ensure!(self.hidden_act == "gelu", "hidden_act {:?} is not supported, expected \"gelu\"", self.hidden_act);
        let positions = self.position_embedding_type.as_deref().unwrap_or("absolute");
        ensure!(
            positions == "absolute",
            "position_embedding_type {positions:?} is not supported, expected \"absolute\""
        );
        ensure!(
            self.num_attention_heads > 0 && self.hidden_size.is_multiple_of(self.num_attention_heads),
            "hidden_size {} is not a multiple of num_attention_heads {}",
            self.hidden_size,
            self.num_attention_heads
        );
        Ok(())
    }
}

/// One padded batch of token ids.
pub struct TokenBatch {
    ids: Vec<i32>,
    type_ids: Vec<i32>,
    lengths: Vec<usize>,
    tokens: usize,
}

impl TokenBatch {
    /// Pads rows of `(ids, type ids)` to the longest; empty type ids stand for zeros. At least one row.
    pub fn new<'a>(rows: impl ExactSizeIterator<Item = (&'a [u32], &'a [u32])> + Clone) -> Self {
        let lengths: Vec<usize> = rows.clone().map(|(ids, _)| ids.len()).collect();
        let tokens = lengths.iter().copied().max().unwrap_or(0);
        let (mut ids, mut type_ids) = (vec![0; rows.len() * tokens], vec![0; rows.len() * tokens]);
        for (row, (row_ids, row_types)) in rows.enumerate() {
            for (to, &from) in ids[row * tokens..].iter_mut().zip(row_ids) {
                *to = from as i32;
            }
            for (to, &from) in type_ids[row * tokens..].iter_mut().zip(row_types) {
                *to = from as i32;
            }
        }
        Self { ids, type_ids, lengths, tokens }
    }

    /// The same rows in the shape that the device wants.
    pub fn cut_to(self, cut: Cut) -> Self {
        let [rows, tokens] = self.dims();
        let tokens = cut.padded(tokens);
        self.padded_to(cut.padded_rows(rows, tokens), tokens)
    }

    /// The same rows in a larger shape. Rows that are added hold one token each, so that none is all padding.
    fn padded_to(self, rows: usize, tokens: usize) -> Self {
        let [old_rows, old_tokens] = self.dims();
        if [old_rows, old_tokens] == [rows, tokens] {
            return self;
        }
        let wider = |values: &[i32]| {
            let mut padded = vec![0; rows * tokens];
            for (to, from) in padded.chunks_exact_mut(tokens).zip(values.chunks_exact(old_tokens)) {
                to[..old_tokens].copy_from_slice(from);
            }
            padded
        };
        let (ids, type_ids) = (wider(&self.ids), wider(&self.type_ids));
        let mut lengths = self.lengths;
        lengths.resize(rows, 1);
        Self { ids, type_ids, lengths, tokens }
    }

    /// B and T.
    pub fn dims(&self) -> [usize; 2] {
        [self.lengths.len(), self.tokens]
    }

    /// Real tokens per row.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// `[B, T]`, true at real tokens; `None` when every row is as long as the longest.
    pub fn mask(&self, device: &Device) -> Option<Tensor<2, Bool>> {
        if self.lengths.iter().all(|&length| length == self.tokens) {
            return None;
        }
        let real: Vec<bool> =
            self.lengths.iter().flat_map(|&length| (0..self.tokens).map(move |token| token < length)).collect();
        Some(Tensor::from_data(TensorData::new(real, self.dims()), device))
    }
}

/// Embeddings and the stack of layers, without pooling or head.
#[derive(Module, Debug)]
pub struct Bert {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: LayerNorm,
    layers: Vec<BertLayer>,
}

#[derive(Module, Debug)]
struct BertLayer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    epsilon: f64,
}

impl Bert {
    /// Builds the encoder from the tensors of a Hugging Face checkpoint.
    pub fn load(config: &BertConfig, weights: &Weights, device: &Device) -> Result<Self> {
        let (hidden, epsilon) = (config.hidden_size, config.layer_norm_eps);
        let table = |name, rows| weights.embedding(&format!("embeddings.{name}"), rows, hidden, device);
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            types: table("token_type_embeddings", config.type_vocab_size)?,
            norm: weights.layer_norm("embeddings.LayerNorm", hidden, epsilon, device)?,
            layers: (0..config.num_hidden_layers)
                .map(|layer| BertLayer::load(config, &format!("encoder.layer.{layer}"), weights, device))
                .collect::<Result<_>>()?,
        })
    }

    /// Hidden states of the last layer, `[R, H]`. Rows of padding hold no meaning.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        let device = self.words.weight.device();
        let [rows, tokens] = batch.dims();
        let indices = |values: Vec<i32>| Tensor::<1, Int>::from_data(TensorData::new(values, [rows * tokens]), &device);
        let positions = (0..rows).flat_map(|_| 0..tokens as i32).collect();
        let embedded = self.words.weight.val().select(0, indices(batch.ids.clone()))
            + self.positions.weight.val().select(0, indices(positions))
            + self.types.weight.val().select(0, indices(batch.type_ids.clone()));
        let mask = batch.mask(&device);
        let embedded = self.norm.forward(embedded);
        self.layers.iter().fold(embedded, |hidden, layer| layer.forward(hidden, batch, mask.as_ref()))
    }
}

impl BertLayer {
    fn load(config: &BertConfig, name: &str, weights: &Weights, device: &Device) -> Result<Self> {
        let (hidden, intermediate, epsilon) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let linear = |part: &str, d_in, d_out| weights.linear(&format!("{name}.{part}"), d_in, d_out, device);
        let norm = |part: &str| weights.layer_norm(&format!("{name}.{part}"), hidden, epsilon, device);
        Ok(Self {
            query: linear("attention.self.query", hidden, hidden)?,
            key: linear("attention.self.key", hidden, hidden)?,
            value: linear("attention.self.value", hidden, hidden)?,
            attention_output: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense", hidden, intermediate)?,
            output: linear("output.dense", intermediate, hidden)?,
            output_norm: norm("output.LayerNorm")?,
            heads: config.num_attention_heads,
            epsilon,
        })
    }

    /// `[R, H] → [R, H]`.
    fn forward(&self, hidden: Tensor<2>, batch: &TokenBatch, mask: Option<&Tensor<2, Bool>>) -> Tensor<2> {
        let project = |layer: &Linear| hidden.clone().matmul(layer.weight.val());
        let projected = [project(&self.query), project(&self.key), project(&self.value)];
        let [rows, tokens] = batch.dims();
        let layers = [&self.query, &self.key, &self.value];
        let context = ops::attention(projected, layers, [rows, tokens, self.heads], mask, batch.lengths());
        let attended =
            ops::linear_residual_norm(context, &self.attention_output, hidden, &self.attention_norm, self.epsilon);
        let wide = ops::linear_gelu(attended.clone(), &self.intermediate);
        ops::linear_residual_norm(wide, &self.output, attended, &self.output_norm, self.epsilon)
    }
}
