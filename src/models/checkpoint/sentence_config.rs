//! The configuration files of sentence-transformers around an encoder: which modules follow it, the length limit,
//! prompts and the similarity the model was made for. Both layouts, up to 5.3 and from 5.4.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::file_names::LIMIT_FILES;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::pooling_config::{PoolingConfig, PoolingMode};

/// What follows the encoder.
pub struct Modules {
    pub pooling: PoolingConfig,
    /// Folders of the dense layers in order, and whether a Normalize module stands before each.
    pub dense: Vec<(String, bool)>,
    /// Whether a Normalize module comes last.
    pub normalises: bool,
}

#[derive(Deserialize)]
struct ModuleEntry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

impl Modules {
    /// Reads `modules.json`; a plain encoder without one gets mean pooling, as in Python.
    pub fn read(folder: &ModelFolder, hidden: usize) -> Result<Self> {
        let at = folder.path("modules.json");
        let Some(entries) = folder.json::<Vec<ModuleEntry>>("modules.json")? else {
            let config: Value = folder.require_json("config.json")?;
            let architecture = config.get("architectures").map(Value::to_string).unwrap_or_default();
            ensure!(
                !architecture.contains("Classification"),
                "{} is a cross-encoder ({architecture}), expected a bi-encoder",
                folder.name()
            );
            return Ok(Self { pooling: PoolingConfig::of(PoolingMode::Mean), dense: Vec::new(), normalises: false });
        };
        let (mut pooling, mut dense, mut normalises) = (None, Vec::new(), false);
        for (place, ModuleEntry { kind, path }) in entries.into_iter().enumerate() {
            match kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" if place == 0 && path.is_empty() => {}
                "Pooling" if pooling.is_none() => {
                    let file = format!("{path}/config.json");
                    let config: Value = folder.require_json(&file)?;
                    let read = PoolingConfig::parse(&config, hidden);
                    pooling = Some(read.with_context(|| folder.path(&file).display().to_string())?);
                }
                "Dense" if pooling.is_some() => dense.push((path, std::mem::take(&mut normalises))),
                "Normalize" if pooling.is_some() => normalises = true,
                _ => bail!(
                    "{}: module {kind:?} at path {path:?} is not supported in place {place}, expected Transformer (at \
                     the top), Pooling, then any of Dense and Normalize",
                    at.display()
                ),
            }
        }
        let pooling = pooling.with_context(|| format!("{}: no Pooling module", at.display()))?;
        Ok(Self { pooling, dense, normalises })
    }
}

/// Contents of the file with `max_seq_length`, empty without one.
pub fn limit_settings(folder: &ModelFolder) -> Result<Map<String, Value>> {
    for file in LIMIT_FILES {
        if let Some(found) = folder.json(file)? {
            return Ok(found);
        }
    }
    Ok(Map::new())
}

/// Truncation and lower-casing before texts are tokenized.
pub struct TextLimits {
    /// Longest sequence in tokens, special tokens included.
    pub max_tokens: usize,
    pub lower_case: bool,
}

impl TextLimits {
    /// What the folder asks for, within what the position table holds.
    pub fn read(folder: &ModelFolder, config: &EncoderConfig) -> Result<Self> {
        let settings = limit_settings(folder)?;
        let tokenizer: Map<String, Value> = folder.json("tokenizer_config.json")?.unwrap_or_default();
        let limit = |value: Option<&Value>| value.and_then(Value::as_f64).filter(|limit| *limit >= 1.0);
        let asked = limit(settings.get("max_seq_length")).or(limit(tokenizer.get("model_max_length")));
        let room = config.max_tokens();
        Ok(Self {
            max_tokens: asked.map_or(room, |asked| asked.min(room as f64) as usize),
            lower_case: settings.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

/// `config_sentence_transformers.json`.
#[derive(Debug, Default, Deserialize)]
pub struct SentenceConfig {
    #[serde(default)]
    prompts: Map<String, Value>,
    default_prompt_name: Option<String>,
    similarity_fn_name: Option<String>,
    /// Components that are kept of every vector (Matryoshka representations).
    pub truncate_dim: Option<usize>,
    /// Of a cross-encoder, 5.4 and later.
    pub activation_fn: Option<String>,
}

/// The similarity that a model was trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Similarity {
    Cosine,
    Dot,
    Euclidean,
    Manhattan,
}

impl SentenceConfig {
    /// Reads and checks the file; a folder without one has no prompts and the default similarity.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        const FILE: &str = "config_sentence_transformers.json";
        let config: Self = folder.json(FILE)?.unwrap_or_default();
        let at = folder.path(FILE);
        ensure!(config.truncate_dim != Some(0), "{}: truncate_dim is 0, expected at least 1", at.display());
        config.prompt().and(config.similarity().map(drop)).with_context(|| at.display().to_string())?;
        Ok(config)
    }

    /// The text that goes before every text; empty without a default prompt.
    pub fn prompt(&self) -> Result<&str> {
        let Some(name) = self.default_prompt_name.as_deref() else { return Ok("") };
        match self.prompts.get(name) {
            Some(Value::String(prompt)) => Ok(prompt),
            Some(Value::Null) => Ok(""),
            _ => bail!("default_prompt_name is {name:?}, which is not in prompts"),
        }
    }

    /// The similarity the model was made for.
    pub fn similarity(&self) -> Result<Similarity> {
        Ok(match self.similarity_fn_name.as_deref() {
            None | Some("cosine") => Similarity::Cosine,
            Some("dot" | "dot_product") => Similarity::Dot,
            Some("euclidean") => Similarity::Euclidean,
            Some("manhattan") => Similarity::Manhattan,
            Some(other) => bail!("similarity_fn_name is {other:?}, expected cosine, dot, euclidean or manhattan"),
        })
    }
}
