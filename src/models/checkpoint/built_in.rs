//! The models inside the binary, so that `mine` works without a model folder or a network: a bi-encoder, and the
//! cross-encoder that reranks beside it. `just built-in` makes them.
//!
//! Both are trained from all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) with its token table left alone, stored in
//! few bits by [`crate::models::checkpoint::quantised`]. Table and tokenizer are here once.

use crate::models::checkpoint::folder::{BuiltInFile, ModelFolder};

/// What users write for a built-in model.
pub const NAME: &str = "built-in";

/// What users write for the cross-encoder where both kinds of model can be meant.
pub const CROSS_ENCODER_NAME: &str = "built-in-cross-encoder";

macro_rules! file {
    ($name:literal) => {
        file!($name, $name)
    };
    ($name:literal, $path:literal) => {
        ($name, include_bytes!(concat!("../../../fixtures/models/built-in/", $path)) as &[u8])
    };
}

const BI_ENCODER_FILES: &[BuiltInFile] = &[
    file!("special_tokens_map.json"),
    file!("tokenizer.json"),
    file!("model-tokens.safetensors"),
    file!("config.json", "bi-encoder/config.json"),
    file!("config_sentence_transformers.json", "bi-encoder/config_sentence_transformers.json"),
    file!("dupmine.json", "bi-encoder/dupmine.json"),
    file!("model-layers.safetensors", "bi-encoder/model-layers.safetensors"),
    file!("model.safetensors.index.json", "bi-encoder/model.safetensors.index.json"),
    file!("modules.json", "bi-encoder/modules.json"),
    file!("sentence_bert_config.json", "bi-encoder/sentence_bert_config.json"),
    file!("tokenizer_config.json", "bi-encoder/tokenizer_config.json"),
    file!("1_Pooling/config.json", "bi-encoder/1_Pooling/config.json"),
];

const CROSS_ENCODER_FILES: &[BuiltInFile] = &[
    file!("special_tokens_map.json"),
    file!("tokenizer.json"),
    file!("model-tokens.safetensors"),
    file!("config.json", "cross-encoder/config.json"),
    file!("dupmine.json", "cross-encoder/dupmine.json"),
    file!("model-layers.safetensors", "cross-encoder/model-layers.safetensors"),
    file!("model.safetensors.index.json", "cross-encoder/model.safetensors.index.json"),
    file!("tokenizer_config.json", "cross-encoder/tokenizer_config.json"),
];

/// The built-in bi-encoder.
pub const BI_ENCODER: ModelFolder = ModelFolder::BuiltIn { name: "bi-encoder", files: BI_ENCODER_FILES };

/// The built-in cross-encoder.
pub const CROSS_ENCODER: ModelFolder = ModelFolder::BuiltIn { name: "cross-encoder", files: CROSS_ENCODER_FILES };
