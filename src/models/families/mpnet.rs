//! MPNet (Song et al. 2020, arXiv:2004.09297): BERT's layers with a relative attention bias shared by all of them.

use crate::models::families::family::{COMMON_KEYS, Family, HeadNames, LayerNames, Positions, TokenTypes};
use crate::models::families::roberta;

pub const FAMILY: Family = Family {
    model_types: &["mpnet"],
    keys: COMMON_KEYS,
    prefix: "mpnet.",
    layers: "encoder.layer",
    layer: LayerNames {
        query: "attention.attn.q",
        key: "attention.attn.k",
        value: "attention.attn.v",
        attention_output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        intermediate: "intermediate.dense",
        output: "output.dense",
        output_norm: "output.LayerNorm",
    },
    head: HeadNames { ..roberta::FAMILY.head },
    classifier: "MPNetForSequenceClassification",
    positions: Positions::After(1),
    token_types: TokenTypes::None,
    attention_output_dropout: true,
    relative_bias: true,
};
