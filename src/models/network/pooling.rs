//! From hidden states of tokens to one vector per text (sentence-transformers' `Pooling`).

use anyhow::{Result, bail, ensure};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde_json::{Map, Value, json};

use crate::models::network::token_batch::TokenBatch;

/// One way to make a vector of a text's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The first token's vector.
    Cls,
    /// The largest value of every component.
    Max,
    Mean,
    /// The sum over the square root of the number of tokens.
    MeanSqrtLen,
    /// The mean with weights 1, 2, 3, … in order of position.
    WeightedMean,
    LastToken,
}

/// Every mode with its name (5.4 and later) and its key (before), in the order in which the old layout concatenates.
const MODES: [(Mode, &str, &str); 6] = [
    (Mode::Cls, "cls", "pooling_mode_cls_token"),
    (Mode::Max, "max", "pooling_mode_max_tokens"),
    (Mode::Mean, "mean", "pooling_mode_mean_tokens"),
    (Mode::MeanSqrtLen, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    (Mode::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
    (Mode::LastToken, "lasttoken", "pooling_mode_lasttoken"),
];

/// How token vectors become a text vector: one mode, or several whose vectors are concatenated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    modes: Vec<Mode>,
    /// Whether the tokens of a prompt count.
    pub include_prompt: bool,
}

impl Pooling {
    /// One mode over all tokens.
    pub fn of(mode: Mode) -> Self {
        Self { modes: vec![mode], include_prompt: true }
    }

    /// From a `Pooling/config.json`, old layout (`pooling_mode_mean_tokens: true`) or new (`pooling_mode: "mean"`), over
    /// hidden states of width `hidden`.
    pub fn from_config(config: &Value, hidden: usize) -> Result<Self> {
        for key in ["word_embedding_dimension", "embedding_dimension"] {
            let width = config.get(key).filter(|width| !width.is_null());
            ensure!(
                width.is_none_or(|width| width.as_u64() == Some(hidden as u64)),
                "{key} is {}, but the encoder's hidden size is {hidden}",
                width.unwrap_or(&Value::Null)
            );
        }
        let named = |name: &Value| match MODES.iter().find(|(_, new, _)| name.as_str() == Some(*new)) {
            Some(&(mode, ..)) => Ok(mode),
            None => {
                let known: Vec<&str> = MODES.iter().map(|(_, new, _)| *new).collect();
                bail!("pooling_mode {name} is not known, expected {}", known.join(", "))
            }
        };
        let mut modes: Vec<Mode> = match config.get("pooling_mode") {
            Some(Value::Array(names)) => names.iter().map(named).collect::<Result<_>>()?,
            Some(name) if !name.is_null() => vec![named(name)?],
            _ => {
                let is_on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
                let on = MODES.into_iter().filter(|(_, _, old)| is_on(old)).map(|(mode, ..)| mode).collect::<Vec<_>>();
                if on.is_empty() { vec![Mode::Mean] } else { on }
            }
        };
        ensure!(!modes.is_empty() && modes.len() <= MODES.len(), "pooling_mode has {} names", modes.len());
        modes.shrink_to_fit();
        let include_prompt = config.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
        Ok(Self { modes, include_prompt })
    }

    /// The `Pooling/config.json` that every version of sentence-transformers reads. An order of concatenation other
    /// than the old layout's needs the new key as well.
    pub fn to_config(&self, hidden: usize) -> Value {
        let mut config = Map::from_iter([("word_embedding_dimension".to_string(), json!(hidden))]);
        config.extend(MODES.iter().map(|(mode, _, old)| (old.to_string(), json!(self.modes.contains(mode)))));
        config.insert("include_prompt".into(), json!(self.include_prompt));
        let rank = |mode: &Mode| MODES.iter().position(|(known, ..)| known == mode);
        if !self.modes.is_sorted_by(|a, b| rank(a) < rank(b)) {
            let names = MODES.iter().map(|(mode, new, _)| (mode, new));
            let name = |mode: &Mode| names.clone().find(|(known, _)| *known == mode).map(|(_, new)| *new);
            config.insert("pooling_mode".into(), json!(self.modes.iter().filter_map(name).collect::<Vec<_>>()));
        }
        Value::Object(config)
    }

    /// Width of the vectors over hidden states of width `hidden`.
    pub fn width(&self, hidden: usize) -> usize {
        self.modes.len() * hidden
    }

    /// `[R, H]` hidden states to `[B, modes · H]`. The first `prompt_tokens` of every row are those of the prompt.
    pub fn forward(&self, hidden: Tensor<2>, batch: &TokenBatch, prompt_tokens: usize) -> Tensor<2> {
        let first = if self.include_prompt { 0 } else { prompt_tokens };
        let rows = Rows { batch, first, device: hidden.device() };
        let mut pooled: Vec<Tensor<2>> = self.modes.iter().map(|&mode| rows.pool(mode, hidden.clone())).collect();
        match (pooled.pop(), pooled.is_empty()) {
            (Some(only), true) => only,
            (last, _) => Tensor::cat(pooled.into_iter().chain(last).collect(), 1),
        }
    }
}

/// The tokens of a batch that count: of every row those from `first` to its length.
struct Rows<'a> {
    batch: &'a TokenBatch,
    first: usize,
    device: Device,
}

impl Rows<'_> {
    fn pool(&self, mode: Mode, hidden: Tensor<2>) -> Tensor<2> {
        match mode {
            // a row that holds nothing but the prompt gives its first token, as in Python
            Mode::Cls => self.token(hidden, |length| if self.first < length { self.first } else { 0 }),
            Mode::LastToken => self.token(hidden, |length| length.saturating_sub(1)),
            Mode::Max => self.max(hidden),
            Mode::Mean => self.weighted(hidden, |_, count| 1.0 / count),
            Mode::MeanSqrtLen => self.weighted(hidden, |_, count| 1.0 / count.sqrt()),
            Mode::WeightedMean => {
                let (first, last) = (self.first as f32, |count: f32| self.first as f32 + count);
                // the sum of first + 1 ..= last
                self.weighted(hidden, move |token, count| {
                    (token + 1) as f32 / ((first + 1.0 + last(count)) * count / 2.0)
                })
            }
        }
    }

    /// One token of every row, by the row's length.
    fn token(&self, hidden: Tensor<2>, of: impl Fn(usize) -> usize) -> Tensor<2> {
        let [rows, tokens] = self.batch.dims();
        let at = self.batch.lengths().iter().enumerate().map(|(row, &length)| (row * tokens + of(length)) as i32);
        let at: Tensor<1, Int> = Tensor::from_data(TensorData::new(at.collect::<Vec<_>>(), [rows]), &self.device);
        hidden.select(0, at)
    }

    /// Sum of every row's tokens with the weight of each, from its position and the number that count.
    fn weighted(&self, hidden: Tensor<2>, weight: impl Fn(usize, f32) -> f32) -> Tensor<2> {
        let ([rows, tokens], [_, width]) = (self.batch.dims(), hidden.dims());
        let mut weights = vec![0.0f32; rows * tokens];
        for (row, &length) in weights.chunks_exact_mut(tokens.max(1)).zip(self.batch.lengths()) {
            let count = length.saturating_sub(self.first) as f32;
            for (token, value) in row.iter_mut().enumerate().take(length).skip(self.first) {
                *value = weight(token, count);
            }
        }
        let weights: Tensor<3> = Tensor::from_data(TensorData::new(weights, [rows, 1, tokens]), &self.device);
        weights.matmul(hidden.reshape([rows, tokens, width])).reshape([rows, width])
    }

    /// Largest value of every component over the tokens that count; there is one, the separator at the end.
    fn max(&self, hidden: Tensor<2>) -> Tensor<2> {
        let ([rows, tokens], [_, width]) = (self.batch.dims(), hidden.dims());
        let hidden: Tensor<3> = hidden.reshape([rows, tokens, width]);
        let counts = |length: usize, token: usize| (self.first..length).contains(&token);
        let left_out: Vec<bool> = (self.batch.lengths().iter())
            .flat_map(|&length| (0..tokens).map(move |token| !counts(length, token)))
            .collect();
        let left_out: Tensor<3, Bool> = Tensor::from_data(TensorData::new(left_out, [rows, tokens, 1]), &self.device);
        hidden.mask_fill(left_out.expand([rows, tokens, width]), f32::MIN).max_dim(1).reshape([rows, width])
    }
}
