//! BERT (Devlin et al. 2019, arXiv:1810.04805): MiniLM and most bi-encoders and cross-encoders.

use crate::models::families::family::{
    COMMON_KEYS, Family, HeadActivation, HeadNames, LayerNames, Positions, TokenTypes,
};

pub const FAMILY: Family = Family {
    model_types: &["bert"],
    keys: COMMON_KEYS,
    prefix: "bert.",
    layers: "encoder.layer",
    layer: LayerNames {
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        attention_output: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: "output.LayerNorm",
    },
    head: HeadNames {
        dense_prefix: "bert.",
        dense: "pooler.dense",
        out: "classifier",
        activation: HeadActivation::Tanh,
        dropout_first: false,
    },
    classifier: "BertForSequenceClassification",
    positions: Positions::FromZero,
    token_types: TokenTypes::OfTokenizer,
    attention_output_dropout: true,
    relative_bias: false,
};
