//! The tokenizer of a model folder.

use anyhow::{Result, bail};

use crate::error::hint;
use crate::models::config::EncoderConfig;
use crate::models::family::TokenTypes;
use crate::models::folder::ModelFolder;
use crate::models::sentence_config::TextLimits;
use crate::models::vocabulary::tokenizer_json;
use crate::text::tokenizer::{Limits, Tokenizer};

/// Every file that a tokenizer of these families may come from.
pub const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    SENTENCE_PIECE,
];

/// The vocabulary that some of XLM-R have alone; it is not read here.
pub const SENTENCE_PIECE: &str = "sentencepiece.bpe.model";

/// Reads `tokenizer.json`, or builds it from the vocabulary files. Ids outside the model's tables are refused where
/// texts are tokenized.
pub fn read(folder: &ModelFolder, config: &EncoderConfig, text: &TextLimits) -> Result<Tokenizer> {
    let types = if config.family.token_types == TokenTypes::OfTokenizer { config.types } else { usize::MAX };
    let limits = Limits { tokens: text.max_tokens, ids: config.vocabulary, types, lower_case: text.lower_case };
    let path = folder.path("tokenizer.json");
    let json = match folder.read("tokenizer.json")? {
        Some(json) => json,
        None => match tokenizer_json(folder, config.family)? {
            Some(built) => built.to_string().into_bytes().into(),
            None if folder.has(SENTENCE_PIECE) => {
                return Err(hint(
                    format!("{} is missing from the model folder, and {SENTENCE_PIECE} is not read", path.display()),
                    "in Python AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) writes it",
                ));
            }
            None => bail!(
                "{} is missing from the model folder, and so are vocab.txt, and vocab.json with merges.txt",
                path.display()
            ),
        },
    };
    Tokenizer::from_bytes(&json, limits, &path)
}
