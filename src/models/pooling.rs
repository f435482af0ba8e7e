//! From hidden states of tokens to one vector per text.

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

use crate::models::bert::TokenBatch;

/// How token vectors become a text vector (sentence-transformers' `Pooling`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Mean over real tokens.
    Mean,
    /// The first token's vector.
    Cls,
}

impl Pooling {
    /// From a `Pooling/config.json`, old layout (`pooling_mode_mean_tokens: true`) or new (`pooling_mode: "mean"`).
    pub fn from_config(config: &Value) -> Result<Self> {
        let old = |key: &str| config.get(format!("pooling_mode_{key}")).and_then(Value::as_bool).unwrap_or(false);
        let old_keys =
            ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
        let modes: Vec<String> = match config.get("pooling_mode") {
            Some(Value::String(mode)) => vec![mode.clone()],
            Some(Value::Array(modes)) => modes.iter().filter_map(|m| m.as_str().map(String::from)).collect(),
            _ => old_keys.into_iter().filter(|key| old(key)).map(String::from).collect(),
        };
        match modes.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["mean" | "mean_tokens"] => Ok(Self::Mean),
            ["cls" | "cls_token"] => Ok(Self::Cls),
            other => bail!("pooling {other:?} is not supported, expected mean or cls"),
        }
    }

    /// `[R, H]` hidden states to `[B, H]`.
    pub fn forward(self, hidden: Tensor<2>, batch: &TokenBatch, device: &Device) -> Tensor<2> {
        let [rows, tokens] = batch.dims();
        let [_, width] = hidden.dims();
        let hidden: Tensor<3> = hidden.reshape([rows, tokens, width]);
        if self == Self::Cls {
            return hidden.narrow(1, 0, 1).reshape([rows, width]);
        }
        let weights: Vec<f32> = batch
            .lengths()
            .iter()
            .flat_map(|&length| (0..tokens).map(move |t| if t < length { 1.0 / length as f32 } else { 0.0 }))
            .collect();
        let weights: Tensor<3> = Tensor::from_data(TensorData::new(weights, [rows, 1, tokens]), device);
        weights.matmul(hidden).reshape([rows, width])
    }
}
