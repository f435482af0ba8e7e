//! Whether a tokenizer tells the model which tokens belong to the second text of a pair, as transformers 5 decides it.
//!
//! The template of `tokenizer.json` always has token types. Python passes them on only if `model_input_names` of
//! `tokenizer_config.json` has `token_type_ids`, or, without that key, if the tokenizer's class has it; otherwise the
//! model gets zeros. `TokenizersBackend` and `PreTrainedTokenizerFast` do not have it, nor has a class that transformers
//! does not know.

use anyhow::Result;
use serde_json::{Map, Value};

use crate::models::checkpoint::folder::ModelFolder;

/// The classes whose `model_input_names` have `token_type_ids` or those it stands for (transformers 5.23).
const CLASSES_WITH_TYPES: [&str; 12] = [
    "BertTokenizer",
    "ConvBertTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DebertaTokenizer",
    "DebertaV2Tokenizer",
    "ElectraTokenizer",
    "FNetTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
];

/// `tokenizer_class` of `tokenizer_config.json`, else of `config.json`, else the family's own: `None`.
pub fn class(folder: &ModelFolder) -> Result<Option<String>> {
    let text = |from: &Map<String, Value>| from.get("tokenizer_class").and_then(Value::as_str).map(str::to_string);
    let own: Map<String, Value> = folder.json("tokenizer_config.json")?.unwrap_or_default();
    match text(&own) {
        Some(asked) => Ok(Some(asked)),
        None => Ok(text(&folder.require_json("config.json")?)),
    }
}

/// Whether the model gets token types. A BERT that names no class has a `BertTokenizer`.
pub fn are_given(folder: &ModelFolder) -> Result<bool> {
    let own: Map<String, Value> = folder.json("tokenizer_config.json")?.unwrap_or_default();
    if let Some(names) = own.get("model_input_names").and_then(Value::as_array) {
        return Ok(names.iter().any(|name| name == "token_type_ids"));
    }
    let class = class(folder)?;
    Ok(class.is_none_or(|class| CLASSES_WITH_TYPES.contains(&class.strip_suffix("Fast").unwrap_or(&class))))
}
