//! The bi-encoder inside the binary, so that `mine` works without a model folder or a network.
//!
//! all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) in the 8-bit form of [`crate::models::quantised`], made by
//! `just built-in`.

use crate::models::folder::{BuiltInFile, ModelFolder};

const BI_ENCODER_FILES: &[BuiltInFile] = &[
    ("config.json", include_bytes!("../../fixtures/models/built-in/config.json")),
    (
        "config_sentence_transformers.json",
        include_bytes!("../../fixtures/models/built-in/config_sentence_transformers.json"),
    ),
    ("dupmine.json", include_bytes!("../../fixtures/models/built-in/dupmine.json")),
    ("model.safetensors", include_bytes!("../../fixtures/models/built-in/model.safetensors")),
    ("modules.json", include_bytes!("../../fixtures/models/built-in/modules.json")),
    ("sentence_bert_config.json", include_bytes!("../../fixtures/models/built-in/sentence_bert_config.json")),
    ("special_tokens_map.json", include_bytes!("../../fixtures/models/built-in/special_tokens_map.json")),
    ("tokenizer.json", include_bytes!("../../fixtures/models/built-in/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../fixtures/models/built-in/tokenizer_config.json")),
    ("1_Pooling/config.json", include_bytes!("../../fixtures/models/built-in/1_Pooling/config.json")),
];

/// The built-in bi-encoder.
pub const BI_ENCODER: ModelFolder = ModelFolder::BuiltIn { name: "all-MiniLM-L6-v2", files: BI_ENCODER_FILES };
