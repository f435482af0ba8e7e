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

// `static`, not `const`: a `const` array of bytes is copied into every unit of code that uses it
static SPECIAL_TOKENS_MAP: &[u8] = include_bytes!("../../../fixtures/models/built-in/special_tokens_map.json");
static TOKENIZER: &[u8] = include_bytes!("../../../fixtures/models/built-in/tokenizer.json");
static TOKEN_TABLE: &[u8] = include_bytes!("../../../fixtures/models/built-in/model-tokens.safetensors");

macro_rules! file {
    ($name:literal, $folder:literal) => {
        ($name, include_bytes!(concat!("../../../fixtures/models/built-in/", $folder, "/", $name)) as &[u8])
    };
}

static BI_ENCODER_FILES: [BuiltInFile; 12] = [
    ("special_tokens_map.json", SPECIAL_TOKENS_MAP),
    ("tokenizer.json", TOKENIZER),
    ("model-tokens.safetensors", TOKEN_TABLE),
    file!("config.json", "bi-encoder"),
    file!("config_sentence_transformers.json", "bi-encoder"),
    file!("dupmine.json", "bi-encoder"),
    file!("model-layers.safetensors", "bi-encoder"),
    file!("model.safetensors.index.json", "bi-encoder"),
    file!("modules.json", "bi-encoder"),
    file!("sentence_bert_config.json", "bi-encoder"),
    file!("tokenizer_config.json", "bi-encoder"),
    file!("1_Pooling/config.json", "bi-encoder"),
];

static CROSS_ENCODER_FILES: [BuiltInFile; 8] = [
    ("special_tokens_map.json", SPECIAL_TOKENS_MAP),
    ("tokenizer.json", TOKENIZER),
    ("model-tokens.safetensors", TOKEN_TABLE),
    file!("config.json", "cross-encoder"),
    file!("dupmine.json", "cross-encoder"),
    file!("model-layers.safetensors", "cross-encoder"),
    file!("model.safetensors.index.json", "cross-encoder"),
    file!("tokenizer_config.json", "cross-encoder"),
];

/// The built-in bi-encoder.
pub const BI_ENCODER: ModelFolder = ModelFolder::BuiltIn { name: "bi-encoder", files: &BI_ENCODER_FILES };

/// The built-in cross-encoder.
pub const CROSS_ENCODER: ModelFolder = ModelFolder::BuiltIn { name: "cross-encoder", files: &CROSS_ENCODER_FILES };
