//! A bi-encoder: each text alone to a unit vector; similar texts get similar vectors (Reimers & Gurevych 2019).

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

use crate::models::bert::{Bert, BertConfig, TokenBatch};
use crate::models::folder::ModelFolder;
use crate::models::pooling::Pooling;
use crate::models::weights::Weights;
use crate::text::tokenizer::Tokenizer;

/// Tokenizer, encoder and pooling of a sentence-transformers folder.
pub struct BiEncoder {
    /// Texts to token ids, cut at the model's limit.
    pub tokenizer: Tokenizer,
    encoder: Bert,
    pooling: Pooling,
    device: Device,
    dimensions: usize,
}

#[derive(Deserialize)]
struct ModuleEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

#[derive(Deserialize, Default)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
}

/// `config.json` of a BERT, after its family is checked.
pub(crate) fn bert_config(folder: &ModelFolder) -> Result<BertConfig> {
    let at = folder.path("config.json");
    let raw: Value = folder.require_json("config.json")?;
    let family = raw.get("model_type").and_then(Value::as_str).unwrap_or("bert");
    if family != "bert" {
        bail!("{}: model_type {family:?} is not supported, expected \"bert\"", at.display());
    }
    let config: BertConfig = serde_json::from_value(raw).with_context(|| at.display().to_string())?;
    config.check().with_context(|| at.display().to_string())?;
    Ok(config)
}

/// Longest sequence in tokens: what the folder asks for, within what the position table holds.
pub(crate) fn max_tokens(folder: &ModelFolder, positions: usize) -> Result<usize> {
    let asked = match folder.json::<SentenceConfig>("sentence_bert_config.json")?.unwrap_or_default().max_seq_length {
        Some(length) => length,
        None => {
            let tokenizer: TokenizerConfig = folder.json("tokenizer_config.json")?.unwrap_or_default();
            tokenizer.model_max_length.map_or(positions, |length| length.min(positions as f64) as usize)
        }
    };
    Ok(asked.min(positions))
}

/// A tokenizer with more tokens than the model has vectors would index outside the table.
pub(crate) fn check_vocabulary(folder: &ModelFolder, tokenizer: &Tokenizer, config: &BertConfig) -> Result<()> {
    if tokenizer.vocabulary_size() > config.vocab_size {
        bail!(
            "{}: {} tokens, but config.json has vocab_size {}",
            folder.path("tokenizer.json").display(),
            tokenizer.vocabulary_size(),
            config.vocab_size
        );
    }
    Ok(())
}

impl BiEncoder {
    /// Loads a folder; every failure names the file and what was expected in it.
    pub fn load(folder: &ModelFolder, device: &Device) -> Result<Self> {
        let pooling = read_modules(folder)?;
        let config = bert_config(folder)?;
        if folder.json::<SentenceConfig>("sentence_bert_config.json")?.unwrap_or_default().do_lower_case {
            bail!("{}: do_lower_case is not supported here; set it in tokenizer.json", folder.name());
        }
        let max_tokens = max_tokens(folder, config.max_position_embeddings)?;
        let tokenizer =
            Tokenizer::from_bytes(&folder.require("tokenizer.json")?, max_tokens, &folder.path("tokenizer.json"))?;
        check_vocabulary(folder, &tokenizer, &config)?;
        let (bytes, origin) = (folder.require("model.safetensors")?, folder.path("model.safetensors"));
        let weights = Weights::parse(&bytes, &origin, &["bert."])?;
        let encoder = Bert::load(&config, &weights, device)?;
        Ok(Self { tokenizer, encoder, pooling, device: device.clone(), dimensions: config.hidden_size })
    }

    /// Width of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Unit vectors, row-major `[B, D]`, of one batch of token ids.
    pub fn embed(&self, rows: &[&[u32]]) -> Result<Vec<f32>> {
        read_vectors(self.start(&TokenBatch::new(rows.iter().map(|&ids| (ids, [].as_slice())))))
    }

    /// Vectors of a batch before normalisation, `[B, D]`, possibly still being computed.
    pub fn start(&self, batch: &TokenBatch) -> Tensor<2> {
        self.pooling.forward(self.encoder.forward(batch), batch, &self.device)
    }
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

/// The folder's modules must be Transformer, Pooling and maybe Normalize (mining always normalises).
fn read_modules(folder: &ModelFolder) -> Result<Pooling> {
    let at = folder.path("modules.json");
    let modules: Vec<ModuleEntry> = folder.require_json("modules.json")?;
    let mut pooling = None;
    for module in &modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" if module.path.is_empty() => {}
            "Pooling" => {
                let file = format!("{}/config.json", module.path);
                let config: Value = folder.require_json(&file)?;
                let context = || folder.path(&file).display().to_string();
                pooling = Some(Pooling::from_config(&config).with_context(context)?);
            }
            "Normalize" => {}
            _ => bail!(
                "{}: module {:?} at path {:?} is not supported, expected Transformer (at the top), Pooling, Normalize",
                at.display(),
                module.kind,
                module.path
            ),
        }
    }
    pooling.with_context(|| format!("{}: no Pooling module", at.display()))
}
