//! What a model folder holds.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::models::checkpoint::file_names::SIAMESE_HEAD_CONFIG;
use crate::models::checkpoint::folder::ModelFolder;

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A bi-encoder: each text alone to a vector
    Bi,
    /// A cross-encoder: both texts in one sequence to a logit
    Cross,
    /// A siamese classifier: each text alone to a vector, both vectors to a class
    Siamese,
}

impl Kind {
    /// By what the folder says of itself: the kind that sentence-transformers 5.4 and later write, a siamese head, or
    /// the architecture in `config.json`.
    pub fn of(folder: &ModelFolder) -> Result<Self> {
        let named: Value = folder.json("config_sentence_transformers.json")?.unwrap_or_default();
        let config: Value = folder.require_json("config.json")?;
        let classifies =
            || config.get("architectures").is_some_and(|names| names.to_string().contains("ForSequenceClassification"));
        Ok(match named.get("model_type").and_then(Value::as_str) {
            _ if folder.has(SIAMESE_HEAD_CONFIG) => Self::Siamese,
            Some("CrossEncoder") => Self::Cross,
            _ if !folder.has("modules.json") && classifies() => Self::Cross,
            _ => Self::Bi,
        })
    }

    /// What to call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bi => "bi-encoder",
            Self::Cross => "cross-encoder",
            Self::Siamese => "siamese classifier",
        }
    }
}
