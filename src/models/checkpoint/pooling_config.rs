//! `Pooling/config.json`: how the vectors of a text's tokens become one vector, read and written in both layouts of
//! sentence-transformers. `network/pooling.rs` computes it.

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value, json};

/// One way to make a vector of a text's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingMode {
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
const MODES: [(PoolingMode, &str, &str); 6] = [
    (PoolingMode::Cls, "cls", "pooling_mode_cls_token"),
    (PoolingMode::Max, "max", "pooling_mode_max_tokens"),
    (PoolingMode::Mean, "mean", "pooling_mode_mean_tokens"),
    (PoolingMode::MeanSqrtLen, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    (PoolingMode::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
    (PoolingMode::LastToken, "lasttoken", "pooling_mode_lasttoken"),
];

/// How token vectors become a text vector: one mode, or several whose vectors are concatenated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolingConfig {
    /// At least one.
    pub modes: Vec<PoolingMode>,
    /// Whether the tokens of a prompt count.
    pub include_prompt: bool,
}

impl PoolingConfig {
    /// One mode over all tokens.
    pub fn of(mode: PoolingMode) -> Self {
        Self { modes: vec![mode], include_prompt: true }
    }

    /// From a `Pooling/config.json`, old layout (`pooling_mode_mean_tokens: true`) or new (`pooling_mode: "mean"`), over
    /// hidden states of width `hidden`.
    pub fn parse(config: &Value, hidden: usize) -> Result<Self> {
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
        let mut modes: Vec<PoolingMode> = match config.get("pooling_mode") {
            Some(Value::Array(names)) => names.iter().map(named).collect::<Result<_>>()?,
            Some(name) if !name.is_null() => vec![named(name)?],
            _ => {
                let is_on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
                let on = MODES.into_iter().filter(|(_, _, old)| is_on(old)).map(|(mode, ..)| mode).collect::<Vec<_>>();
                if on.is_empty() { vec![PoolingMode::Mean] } else { on }
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
        let rank = |mode: &PoolingMode| MODES.iter().position(|(known, ..)| known == mode);
        if !self.modes.is_sorted_by(|a, b| rank(a) < rank(b)) {
            let names = MODES.iter().map(|(mode, new, _)| (mode, new));
            let name = |mode: &PoolingMode| names.clone().find(|(known, _)| *known == mode).map(|(_, new)| *new);
            config.insert("pooling_mode".into(), json!(self.modes.iter().filter_map(name).collect::<Vec<_>>()));
        }
        Value::Object(config)
    }

    /// Width of the vectors over hidden states of width `hidden`.
    pub fn width(&self, hidden: usize) -> usize {
        self.modes.len() * hidden
    }
}
