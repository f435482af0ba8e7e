//! A cross-encoder: both texts in one sequence to one logit, the log-odds that they are duplicates.

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use crate::device::Devices;
use crate::executor::replicas::Replicas;
use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::models::checkpoint::sentence_config::{SentenceConfig, TextLimits};
use crate::models::checkpoint::weights::Weights;
use crate::models::network::dense::Activation;
use crate::models::network::encoder::Encoder;
use crate::models::network::head::Head;
use crate::models::network::precision::Precision;
use crate::models::network::token_batch::TokenBatch;
use crate::models::tokenizer_files::reader::{gives_token_types, read_tokenizer};
use crate::models::warm::warm;
use crate::progress::Progress;
use crate::text::tokenizer::{TokenizedPair, Tokenizer};

/// A classification folder with one label, loaded.
pub struct CrossEncoder {
    /// Pairs to token ids, cut at the model's limit.
    pub tokenizer: Tokenizer,
    /// Everything that can be trained.
    pub model: CrossEncoderModel,
    /// What Python's `predict` puts behind the logit: sigmoid or identity. Mining takes the logit itself.
    pub activation: Activation,
    /// Where it was read from.
    pub source: ModelFolder,
}

/// Encoder and head. B rows.
#[derive(Module, Debug)]
pub struct CrossEncoderModel {
    pub encoder: Encoder,
    pub head: Head,
}

impl CrossEncoderModel {
    /// One logit a row, `[B]`.
    pub fn forward(&self, batch: &TokenBatch) -> Tensor<1> {
        self.head.forward(self.encoder.first_tokens(batch))
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
        self.head.set_dropout(p);
        self
    }
}

impl CrossEncoder {
    /// Loads a folder; every failure names the file and what was expected in it. On an autodiff device the model can
    /// be trained.
    pub fn load(folder: &ModelFolder, device: &Device) -> Result<Self> {
        Self::with_head(folder, device, Head::load)
    }

    /// Loads the encoder of any folder under a new head, to be trained.
    pub fn with_new_head(folder: &ModelFolder, seed: u64, device: &Device) -> Result<Self> {
        Self::with_head(folder, device, |config, weights| Head::seeded(config, weights, seed, device))
    }

    fn with_head(
        folder: &ModelFolder,
        device: &Device,
        head: impl FnOnce(&EncoderConfig, &Weights) -> Result<Head>,
    ) -> Result<Self> {
        let config = EncoderConfig::read(folder)?;
        let raw: Value = folder.require_json("config.json")?;
        let at = folder.path("config.json");
        let labels = raw.get("id2label").and_then(|labels| labels.as_object().map(serde_json::Map::len)).unwrap_or(1);
        ensure!(labels == 1, "{}: {labels} labels, expected a cross-encoder with one", at.display());
        ensure!(
            !gives_token_types(folder, &config)? || config.types >= 2,
            "{}: type_vocab_size is {}, expected 2: a pair needs two segments",
            at.display(),
            config.types
        );
        ensure!(
            Kind::of(folder)? != Kind::Cross || SentenceConfig::read(folder)?.prompt()?.is_empty(),
            "{}: a default prompt before the first text of every pair is not supported",
            folder.name()
        );
        let activation = activation(folder, &raw)?;
        let tokenizer = read_tokenizer(folder, &config, &TextLimits::read(folder, &config)?)?;
        let weights = Weights::open(folder, "model", config.family.prefix, device)?;
        let model = CrossEncoderModel { encoder: Encoder::load(&config, &weights)?, head: head(&config, &weights)? };
        Ok(Self { tokenizer, model, activation, source: folder.clone() })
    }

    /// One logit per pair.
    pub fn logits(&self, pairs: &[&TokenizedPair]) -> Result<Vec<f32>> {
        let mut logits = read_logits(self.model.forward(&TokenBatch::of_pairs(pairs)))?;
        // rows that only fill a batch come last
        logits.truncate(pairs.len());
        Ok(logits)
    }

    /// The same model for inference, with an encoder that computes in another number format.
    pub fn for_inference(mut self, precision: Precision) -> Self {
        self.model = self.model.in_precision(precision).for_inference();
        self
    }
}

/// A copy of the model on each device, ready to compute.
pub fn replicas(
    folder: &ModelFolder,
    devices: &Devices,
    precision: Precision,
    progress: &Progress,
) -> Result<Replicas<CrossEncoder>> {
    let models = Replicas::load(devices, |device| Ok(CrossEncoder::load(folder, device)?.for_inference(precision)))?;
    let limit = models.first().tokenizer.max_tokens();
    warm(&models, limit, |model| &model.model.encoder, |model, batch| model.model.forward(batch), progress)?;
    Ok(models)
}

/// Reads logits from their device.
pub fn read_logits(logits: Tensor<1>) -> Result<Vec<f32>> {
    let data = logits.try_into_data().context("the device failed")?;
    let logits: Vec<f32> = data.try_into_vec().context("logits are not f32")?;
    ensure!(logits.iter().all(|logit| logit.is_finite()), "the cross-encoder gave a logit that is not a number");
    Ok(logits)
}

/// The activation, from the key of version 4, of those before, or of 5.4 and later; sigmoid without any.
fn activation(folder: &ModelFolder, config: &Value) -> Result<Activation> {
    let newest = SentenceConfig::read(folder)?.activation_fn;
    let of_config = |name: &Value| name.as_str().map(str::to_string);
    let name = (config.pointer("/sentence_transformers/activation_fn").and_then(of_config))
        .or_else(|| config.get("sbert_ce_default_activation_function").and_then(of_config))
        .or(newest);
    let activation = name.map_or(Ok(Activation::Sigmoid), |name| Activation::from_name(&name));
    activation
        .and_then(|activation| {
            let is_known = matches!(activation, Activation::Sigmoid | Activation::Identity);
            ensure!(is_known, "activation {:?} is not supported, expected Sigmoid or Identity", activation.name());
            Ok(activation)
        })
        .with_context(|| folder.name())
}
