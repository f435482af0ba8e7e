//! RoBERTa (Liu et al. 2019, arXiv:1907.11692), with DistilRoBERTa (fewer layers), XLM-R and CamemBERT: BERT's layers,
//! positions that start after the padding id, one token type, and a head without a pooler.

use crate::models::families::bert;
use crate::models::families::family::{Family, HeadActivation, HeadNames, Positions, TokenTypes};

pub const FAMILY: Family = Family {
    model_types: &["roberta", "xlm-roberta", "camembert"],
    prefix: "roberta.",
    head: HeadNames {
        dense_prefix: "",
        dense: "classifier.dense",
        out: "classifier.out_proj",
        activation: HeadActivation::Tanh,
        dropout_first: true,
    },
    classifier: "RobertaForSequenceClassification",
    positions: Positions::AfterPadTokenId,
    token_types: TokenTypes::Zero,
    ..bert::FAMILY
};
