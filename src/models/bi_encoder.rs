//! A bi-encoder: each text alone to a unit vector; similar texts get similar vectors (Reimers & Gurevych 2019).

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::device::Devices;
use crate::executor::replicas::Replicas;
use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::pooling_config::PoolingConfig;
use crate::models::checkpoint::sentence_config::{Modules, SentenceConfig, Similarity, TextLimits};
use crate::models::checkpoint::weights::Weights;
use crate::models::network::dense::{Dense, normalise};
use crate::models::network::encoder::Encoder;
use crate::models::network::pooling::{PackedStates, PaddedStates, TokenStates, pool};
use crate::models::network::precision::Precision;
use crate::models::network::token_batch::TokenBatch;
use crate::models::tokenizer_files::reader::read_tokenizer;
use crate::models::warm::warm;
use crate::progress::Progress;
use crate::text::tokenizer::Tokenizer;

/// A sentence-transformers folder, loaded.
pub struct BiEncoder {
    /// Texts to token ids, with the model's prompt before them, cut at the model's limit.
    pub tokenizer: Tokenizer,
    /// Everything that can be trained.
    pub model: BiEncoderModel,
    /// The similarity that the model was trained for; mining compares cosines.
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
    pub pooling: PoolingConfig,
    /// Whether the folder's last module is Normalize.
    #[module(skip)]
    pub normalises: bool,
    /// Components that are kept of every vector.
    #[module(skip)]
    truncate: Option<usize>,
    /// Tokens of the prompt at the start of every row.
    #[module(skip)]
    prompt_tokens: usize,
}

impl BiEncoderModel {
    /// Vectors before the last normalisation, `[B, D]`.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<2> {
        match self.encoder.packed() {
            None => self.of_hidden(self.encoder.forward(batch), batch),
            Some(encoder) => {
                let rows = self.encoder.packed_rows(batch);
                let hidden = encoder.forward(&rows);
                self.of_states(&PackedStates { hidden, rows: &rows, encoder })
            }
        }
    }

    /// The same from the encoder's hidden states, `[R, H]`.
    pub fn of_hidden(&self, hidden: Tensor<2>, batch: &TokenBatch) -> Tensor<2> {
        self.of_states(&PaddedStates { hidden, batch })
    }

    fn of_states(&self, states: &impl TokenStates) -> Tensor<2> {
        let pooled = pool(&self.pooling, states, self.prompt_tokens);
        let vectors = self.dense.iter().fold(pooled, |vectors, dense| dense.forward(vectors));
        match self.truncate {
            Some(_) => vectors.narrow(1, 0, self.dimensions()),
            None => vectors,
        }
    }

    /// Unit vectors, `[B, D]`.
    pub fn unit_vectors(&self, batch: &TokenBatch) -> Tensor<2> {
        normalise(self.forward(batch))
    }

    /// The same model with an encoder that computes in another number format.
    pub fn in_precision(mut self, precision: Precision) -> Self {
        self.encoder = self.encoder.in_precision(precision);
        self
    }

    /// The same model for inference, as fast as its device allows.
    pub fn for_inference(mut self) -> Self {
        self.encoder = self.encoder.for_inference();
        self
    }

    /// The same model with another probability in every dropout.
    pub fn with_dropout(mut self, p: f64) -> Self {
        self.encoder = self.encoder.with_dropout(p);
        self
    }

    /// D.
    pub fn dimensions(&self) -> usize {
        let pooled = self.pooling.width(self.encoder.config().hidden);
        let width = self.dense.last().map_or(pooled, Dense::width);
        self.truncate.map_or(width, |kept| kept.min(width))
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
        let tokenizer = read_tokenizer(folder, &config, &limits)?.with_prompt(settings.prompt()?)?;
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
            truncate: settings.truncate_dim,
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
        let mut vectors = read_vectors(self.model.forward(&TokenBatch::of_texts(rows)))?;
        // rows that only fill a batch come last
        vectors.truncate(rows.len() * self.dimensions());
        Ok(vectors)
    }

    /// The same model for inference, with an encoder that computes in another number format.
    pub fn for_inference(mut self, precision: Precision) -> Self {
        self.model = self.model.in_precision(precision).for_inference();
        self
    }
}

/// Warns a user who mines with a model that was made for something else than the cosine. For unit vectors, the dot product
/// and the Euclidean distance give the cosine's order.
pub fn warning(folder: &ModelFolder) -> Result<Option<String>> {
    let config = EncoderConfig::read(folder)?;
    let normalises = Modules::read(folder, config.hidden)?.normalises;
    let made_for = match SentenceConfig::read(folder)?.similarity()? {
        Similarity::Dot if !normalises => "the dot product of its vectors",
        Similarity::Euclidean if !normalises => "the Euclidean distance",
        Similarity::Manhattan => "the Manhattan distance",
        _ => return Ok(None),
    };
    let name = folder.name();
    Ok(Some(format!(
        "{name} was made for {made_for}, mining compares cosines: check --min-cosine and --threshold on your data"
    )))
}

/// Tokens that the model takes of a text, special tokens included.
pub fn max_tokens(folder: &ModelFolder) -> Result<usize> {
    Ok(TextLimits::read(folder, &EncoderConfig::read(folder)?)?.max_tokens)
}

/// A copy of the model on each device, ready to compute.
pub fn replicas(
    folder: &ModelFolder,
    devices: &Devices,
    precision: Precision,
    progress: &Progress,
) -> Result<Replicas<BiEncoder>> {
    let models = Replicas::load(devices, |device| Ok(BiEncoder::load(folder, device)?.for_inference(precision)))?;
    let limit = models.first().tokenizer.max_tokens();
    warm(&models, limit, |model| &model.model.encoder, |model, batch| model.model.forward(batch), progress)?;
    Ok(models)
}

/// Reads vectors `[B, D]` from their device and normalises them, row-major.
pub fn read_vectors(vectors: Tensor<2>) -> Result<Vec<f32>> {
    let width = vectors.dims()[1];
    let data = vectors.try_into_data().context("the device failed")?;
    let mut vectors: Vec<f32> = data.try_into_vec().context("vectors are not f32")?;
    for vector in vectors.chunks_exact_mut(width) {
        // torch.nn.functional.normalize: x / max(‖x‖, 1e-12)
        let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
        vector.iter_mut().for_each(|v| *v /= norm);
    }
    Ok(vectors)
}
