//! A cross-encoder: both texts in one sequence to one logit, the log-odds that they are duplicates.

use anyhow::{Context, Result, ensure};
use burn::nn::Linear;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};

use crate::models::bert::{Bert, TokenBatch};
use crate::models::bi_encoder::{bert_config, check_vocabulary, max_tokens};
use crate::models::folder::ModelFolder;
use crate::models::weights::Weights;
use crate::text::tokenizer::{TokenizedPair, Tokenizer};

/// BERT for sequence classification with one label.
pub struct CrossEncoder {
    /// Pairs to token ids, cut at the model's limit.
    pub tokenizer: Tokenizer,
    encoder: Bert,
    pooler: Linear,
    classifier: Linear,
}

impl CrossEncoder {
    /// Loads a folder; every failure names the file and what was expected in it.
    pub fn load(folder: &ModelFolder, device: &Device) -> Result<Self> {
        let config = bert_config(folder)?;
        let labels = folder
            .require_json::<serde_json::Value>("config.json")?
            .get("id2label")
            .and_then(|labels| labels.as_object().map(serde_json::Map::len));
        ensure!(
            labels.unwrap_or(1) == 1,
            "{}: {} labels, expected a cross-encoder with one",
            folder.path("config.json").display(),
            labels.unwrap_or(0)
        );
        let max_tokens = max_tokens(folder, config.max_position_embeddings)?;
        let tokenizer =
            Tokenizer::from_bytes(&folder.require("tokenizer.json")?, max_tokens, &folder.path("tokenizer.json"))?;
        check_vocabulary(folder, &tokenizer, &config)?;
        ensure!(
            config.type_vocab_size >= 2,
            "{}: type_vocab_size is {}, expected 2: a pair needs two segments",
            folder.path("config.json").display(),
            config.type_vocab_size
        );
        let (bytes, origin) = (folder.require("model.safetensors")?, folder.path("model.safetensors"));
        let weights = Weights::parse(&bytes, &origin, &["bert."])?;
        let hidden = config.hidden_size;
        Ok(Self {
            tokenizer,
            encoder: Bert::load(&config, &weights, device)?,
            pooler: weights.linear("pooler.dense", hidden, hidden, device)?,
            classifier: weights.linear("classifier", hidden, 1, device)?,
        })
    }

    /// One logit per pair: `classifier(tanh(pooler(first token)))`.
    pub fn logits(&self, pairs: &[&TokenizedPair]) -> Result<Vec<f32>> {
        read_logits(self.start(&batch_of(pairs)))
    }

    /// One logit a row, `[B]`, possibly still being computed.
    pub fn start(&self, batch: &TokenBatch) -> Tensor<1> {
        let [rows, tokens] = batch.dims();
        let hidden = self.encoder.forward(batch);
        let width = hidden.dims()[1];
        let first = hidden.reshape([rows, tokens, width]).narrow(1, 0, 1).reshape([rows, width]);
        self.classifier.forward(tanh(self.pooler.forward(first))).reshape([rows])
    }
}

/// A padded batch of pairs.
pub fn batch_of(pairs: &[&TokenizedPair]) -> TokenBatch {
    TokenBatch::new(pairs.iter().map(|pair| (pair.ids.as_slice(), pair.type_ids.as_slice())))
}

/// Reads logits from their device.
pub fn read_logits(logits: Tensor<1>) -> Result<Vec<f32>> {
    let data = logits.try_into_data().context("the device failed")?;
    let logits: Vec<f32> = data.try_into_vec().context("logits are not f32")?;
    ensure!(logits.iter().all(|logit| logit.is_finite()), "the cross-encoder gave a logit that is not a number");
    Ok(logits)
}
