//! A bi-encoder: each text alone to a unit vector; similar texts get similar vectors (Reimers & Gurevych 2019).

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::models::config::EncoderConfig;
use crate::models::dense::{Dense, normalise};
use crate::models::encoder::Encoder;
use crate::models::folder::ModelFolder;
use crate::models::pooling::Pooling;
use crate::models::sentence_config::{Modules, SentenceConfig, Similarity, TextLimits};
use crate::models::token_batch::TokenBatch;
use crate::models::tokenizer_files;
use crate::models::weights::Weights;
use crate::text::tokenizer::Tokenizer;

/// A sentence-transformers folder, loaded.
pub struct BiEncoder {
    /// Texts to token ids, with the model's prompt before them, cut at the model's limit.
    pub tokenizer: Tokenizer,
    /// Everything that can be trained.
    pub model: BiEncoderModel,
    /// What the model was made to be compared with; mining compares cosines.
    pub similarity: Similarity,
    /// Where it was read from.
    pub source: ModelFolder,
}

/// Encoder, pooling and dense layers. B rows, D dimensions.
#[derive(Module, Debug)]
pub struct BiEncoderModel {
    pub encoder: Encoder,
    pub dense: Vec<Dense>,
    #[module(skip)]
    pub pooling: Pooling,
    /// Whether the folder's last module is Normalize.
    #[module(skip)]
    pub normalises: bool,
    /// Tokens of the prompt at the start of every row.
    #[module(skip)]
    prompt_tokens: usize,
}

impl BiEncoderModel {
    /// Vectors before the last normalisation, `[B, D]`.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        let pooled = self.pooling.forward(self.encoder.forward(batch), batch, self.prompt_tokens);
        self.dense.iter().fold(pooled, |vectors, dense| dense.forward(vectors))
    }

    /// Unit vectors, `[B, D]`.
    pub fn unit_vectors(&self, batch: &TokenBatch) -> Tensor<2> {
        normalise(self.forward(batch))
    }

    /// The same model with another probability in every dropout.
    pub fn with_dropout(mut self, p: f64) -> Self {
        self.encoder = self.encoder.with_dropout(p);
        self
    }

    /// D.
    pub fn dimensions(&self) -> usize {
        let pooled = self.pooling.width(self.encoder.config().hidden);
        self.dense.last().map_or(pooled, Dense::width)
    }
}

impl BiEncoder {
    /// Loads a folder; every failure names the file and what was expected in it. On an autodiff device the model can
    /// be trained.
    pub fn load(folder: &ModelFolder, device: &Device) -> Result<Self> {
        let config = EncoderConfig::read(folder)?;
        let modules = Modules::read(folder, config.hidden)?;
        let settings = SentenceConfig::read(folder)?;
        let limits = TextLimits::read(folder, &config)?;
        let tokenizer = tokenizer_files::read(folder, &config, &limits)?.with_prompt(settings.prompt()?)?;
        let weights = Weights::open(folder, "model", config.family.prefix, device)?;
        let mut width = modules.pooling.width(config.hidden);
        let mut layers = Vec::new();
        for (path, normalise_input) in &modules.dense {
            let weights = Weights::open(folder, &format!("{path}/model"), "", device)?;
            let mut dense = Dense::load(folder, path, width, &weights)?;
            dense.normalise_input = *normalise_input;
            width = dense.width();
            layers.push(dense);
        }
        let model = BiEncoderModel {
            encoder: Encoder::load(&config, &weights)?,
            dense: layers,
            pooling: modules.pooling,
            normalises: modules.normalises,
            prompt_tokens: tokenizer.prompt_tokens(),
        };
        Ok(Self { tokenizer, model, similarity: settings.similarity()?, source: folder.clone() })
    }

    /// Width of a vector.
    pub fn dimensions(&self) -> usize {
        self.model.dimensions()
    }

    /// Unit vectors, row-major `[B, D]`, of one batch of token ids.
    pub fn embed(&self, rows: &[&[u32]]) -> Result<Vec<f32>> {
        let batch = TokenBatch::new(rows.iter().map(|&ids| (ids, [].as_slice())));
        let pooled = self.model.forward(&batch);
        let width = pooled.dims()[1];
        let mut vectors: Vec<f32> = pooled.into_data().try_into_vec().context("vectors are not f32")?;
        for vector in vectors.chunks_exact_mut(width) {
            // torch.nn.functional.normalize: x / max(‖x‖, 1e-12)
            let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
            vector.iter_mut().for_each(|v| *v /= norm);
        }
        Ok(vectors)
    }
}
