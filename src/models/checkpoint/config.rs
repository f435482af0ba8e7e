//! `config.json`: what an encoder's tensors must look like. Everything is checked here, before anything is allocated.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::models::checkpoint::folder::ModelFolder;
use crate::models::families::family::{Family, Positions};

/// The key of [`EncoderConfig::f32_layers`]; other programs ignore it.
pub const F32_LAYERS: &str = "f32_layers";

/// An encoder's sizes.
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    pub family: &'static Family,
    /// Rows of the token table.
    pub vocabulary: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    /// Numbers of the layers that `mine models compress` found to lose too much in 8 bits: they stay in f32.
    pub f32_layers: Vec<usize>,
    pub heads: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Rows of the token type table.
    pub types: usize,
    /// Positions start after this id, in families that count from the padding id.
    pub padding: Option<usize>,
    /// Rows of the relative bias table.
    pub relative_buckets: usize,
    /// Of every layer norm.
    pub epsilon: f64,
    /// Probabilities in training.
    pub dropout: f64,
    pub attention_dropout: f64,
    pub classifier_dropout: f64,
}

impl EncoderConfig {
    /// Reads and checks `config.json`; refuses what would be computed differently from Python.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let raw: Value = folder.require_json("config.json")?;
        Self::parse(&raw).with_context(|| folder.path("config.json").display().to_string())
    }

    fn parse(raw: &Value) -> Result<Self> {
        let model_type = raw.get("model_type").and_then(Value::as_str).unwrap_or("bert");
        let Some(family) = Family::of(model_type) else {
            bail!("model_type {model_type:?} is not supported, expected one of {}", Family::model_types());
        };
        let keys = &family.keys;
        check_computed_alike(raw, keys.activation)?;
        let dropout = probability(raw, keys.dropout)?.unwrap_or(0.1);
        let layers = size(raw, keys.layers, None)?;
        let config = Self {
            family,
            vocabulary: size(raw, "vocab_size", None)?,
            hidden: size(raw, keys.hidden, None)?,
            intermediate: size(raw, keys.intermediate, None)?,
            layers,
            f32_layers: numbers(raw, F32_LAYERS, layers)?,
            heads: size(raw, keys.heads, None)?,
            positions: size(raw, "max_position_embeddings", None)?,
            types: size(raw, "type_vocab_size", Some(2))?,
            padding: match family.positions {
                Positions::FromZero => None,
                Positions::AfterPadTokenId => Some(whole_number(raw, "pad_token_id")?.unwrap_or(1)),
                Positions::After(padding) => Some(padding),
            },
            relative_buckets: size(raw, "relative_attention_num_buckets", Some(32))?,
            epsilon: number(raw, "layer_norm_eps")?.unwrap_or(1e-12),
            dropout,
            attention_dropout: probability(raw, keys.attention_dropout)?.unwrap_or(0.1),
            classifier_dropout: probability(raw, keys.classifier_dropout)?.unwrap_or(dropout),
        };
        ensure!(
            config.hidden.is_multiple_of(config.heads),
            "{} {} is not a multiple of {} {}",
            keys.hidden,
            config.hidden,
            keys.heads,
            config.heads
        );
        ensure!((0.0..1.0).contains(&config.epsilon), "layer_norm_eps is {}, expected 0 to 1", config.epsilon);
        ensure!(
            config.max_tokens() > 0,
            "max_position_embeddings is {}, but positions start after the padding id {}",
            config.positions,
            config.padding.unwrap_or(0)
        );
        Ok(config)
    }

    /// The longest sequence that the position table has room for.
    pub fn max_tokens(&self) -> usize {
        self.positions.saturating_sub(self.padding.map_or(0, |padding| padding.saturating_add(1)))
    }
}

/// Refuses options that change the arithmetic.
fn check_computed_alike(raw: &Value, activation: &str) -> Result<()> {
    let refused = |key: &str, expected: &str| -> Result<()> {
        match raw.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(found)) if found == expected => Ok(()),
            Some(found) => bail!("{key} {found} is not supported, expected {expected:?}"),
        }
    };
    refused(activation, "gelu")?;
    refused("position_embedding_type", "absolute")
}

fn whole_number(raw: &Value, key: &str) -> Result<Option<usize>> {
    match raw.get(key) {
        None | Some(Value::Null) => Ok(None),
        // 2^31 bounds every table, since token ids are 32-bit
        Some(value) => match value.as_u64() {
            Some(number) if number < 1 << 31 => Ok(Some(number as usize)),
            _ => bail!("{key} is {value}, expected a whole number below 2^31"),
        },
    }
}

/// A list of numbers below `end`, empty if the key is missing.
fn numbers(raw: &Value, key: &str, end: usize) -> Result<Vec<usize>> {
    let Some(found) = raw.get(key).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    let numbers: Option<Vec<usize>> = serde_json::from_value(found.clone()).ok();
    let inside = numbers.filter(|numbers| numbers.iter().all(|&number| number < end));
    inside.with_context(|| format!("{key} is {found}, expected a list of whole numbers below {end}"))
}

fn size(raw: &Value, key: &str, default: Option<usize>) -> Result<usize> {
    match whole_number(raw, key)?.or(default) {
        Some(0) => bail!("{key} is 0, expected at least 1"),
        Some(size) => Ok(size),
        None => bail!("{key} is missing, expected a whole number"),
    }
}

fn number(raw: &Value, key: &str) -> Result<Option<f64>> {
    match raw.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => bail!("{key} is {value}, expected a number"),
        },
    }
}

fn probability(raw: &Value, key: &str) -> Result<Option<f64>> {
    let found = number(raw, key)?;
    if let Some(p) = found {
        ensure!((0.0..1.0).contains(&p), "{key} is {p}, expected a probability below 1");
    }
    Ok(found)
}
