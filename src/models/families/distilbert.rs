//! DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT's layers under other names, without token types.

use crate::models::families::family::{
    ConfigKeys, Family, HeadActivation, HeadNames, LayerNames, Positions, TokenTypes,
};

pub const FAMILY: Family = Family {
    model_types: &["distilbert"],
    keys: ConfigKeys {
        hidden: "dim",
        intermediate: "hidden_dim",
        layers: "n_layers",
        heads: "n_heads",
        activation: "activation",
        dropout: "dropout",
        attention_dropout: "attention_dropout",
        classifier_dropout: "seq_classif_dropout",
    },
    prefix: "distilbert.",
    layers: "transformer.layer",
    layer: LayerNames {
        query: "attention.q_lin",
        key: "attention.k_lin",
        value: "attention.v_lin",
        attention_output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        intermediate: "ffn.lin1",
        output: "ffn.lin2",
        output_norm: "output_layer_norm",
    },
    head: HeadNames {
        dense_prefix: "",
        dense: "pre_classifier",
        out: "classifier",
        activation: HeadActivation::Relu,
        dropout_first: false,
    },
    classifier: "DistilBertForSequenceClassification",
    positions: Positions::FromZero,
    token_types: TokenTypes::None,
    attention_output_dropout: false,
    relative_bias: false,
};
