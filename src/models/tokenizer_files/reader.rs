//! The tokenizer of a model folder.

use anyhow::Result;

use crate::models::checkpoint::config::EncoderConfig;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::sentence_config::TextLimits;
use crate::models::families::family::TokenTypes;
use crate::models::tokenizer_files::token_types;
use crate::models::tokenizer_files::vocabulary::tokenizer_json;
use crate::text::tokenizer::{Limits, Tokenizer};

/// Whether the model uses token types and its tokenizer gives them.
pub fn gives_token_types(folder: &ModelFolder, config: &EncoderConfig) -> Result<bool> {
    Ok(config.family.token_types == TokenTypes::OfTokenizer && token_types::are_given(folder)?)
}

/// Reads `tokenizer.json`, or builds it from the vocabulary files. Ids outside the model's tables are refused when
/// texts are tokenized.
pub fn read_tokenizer(folder: &ModelFolder, config: &EncoderConfig, text: &TextLimits) -> Result<Tokenizer> {
    let rows = if config.family.token_types == TokenTypes::OfTokenizer { config.types } else { usize::MAX };
    let types = token_types::are_given(folder)?.then_some(rows);
    let limits = Limits { tokens: text.max_tokens, ids: config.vocabulary, types, lower_case: text.lower_case };
    let (json, file) = match folder.read("tokenizer.json")? {
        Some(json) => (json, "tokenizer.json"),
        None => {
            let (built, file) = tokenizer_json(folder)?;
            (built.to_string().into_bytes().into(), file)
        }
    };
    Tokenizer::from_bytes(&json, limits, &folder.path(file))
}
