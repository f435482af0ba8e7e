//! What sets the encoder families apart: names in `config.json`, names of tensors, and how tokens get their positions.
//!
//! All families are the post-norm transformer of `network/layer.rs`. Names that differ between families stand in
//! the tables of this folder alone; reading and writing use the same table.

/// A family of checkpoints. Each file of this folder has one constant of this type.
#[derive(Debug)]
pub struct Family {
    /// Values of `model_type` in `config.json`.
    pub model_types: &'static [&'static str],
    pub keys: ConfigKeys,
    /// Before the encoder's tensors in a checkpoint with a head; checkpoints without one have bare names.
    pub prefix: &'static str,
    /// Before a layer's number.
    pub layers: &'static str,
    pub layer: LayerNames,
    pub head: HeadNames,
    /// `architectures` of a checkpoint with a head.
    pub classifier: &'static str,
    pub positions: Positions,
    pub token_types: TokenTypes,
    /// Whether dropout follows the attention's output projection.
    pub attention_output_dropout: bool,
    /// Whether a learnt bias of the distance is added to every attention score.
    pub relative_bias: bool,
}

/// Keys of `config.json` that differ between families.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKeys {
    pub hidden: &'static str,
    pub intermediate: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub activation: &'static str,
    pub dropout: &'static str,
    pub attention_dropout: &'static str,
    pub classifier_dropout: &'static str,
}

/// Names inside a layer, without `.weight` and `.bias`.
#[derive(Debug, Clone, Copy)]
pub struct LayerNames {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub intermediate: &'static str,
    pub output: &'static str,
    pub output_norm: &'static str,
}

/// The two layers of a classification head, and what stands between them.
#[derive(Debug, Clone, Copy)]
pub struct HeadNames {
    /// Before the first layer's name; empty unless that layer counts as part of the encoder.
    pub dense_prefix: &'static str,
    pub dense: &'static str,
    pub out: &'static str,
    pub activation: HeadActivation,
    /// Whether dropout also precedes the first layer.
    pub dropout_first: bool,
}

/// Between the layers of a classification head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadActivation {
    Tanh,
    Relu,
}

/// Which row of the position table a token takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// 0, 1, 2, …
    FromZero,
    /// After `pad_token_id` of `config.json`.
    AfterPadTokenId,
    /// After this padding id, whatever `config.json` says.
    After(usize),
}

/// Which row of the token type table a token takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTypes {
    /// There is no table.
    None,
    /// Row 0: the table has been kept, the tokenizer does not use it.
    Zero,
    /// As the tokenizer says: 0 in the first text, 1 in the second, or 0 for all if its class gives no types.
    OfTokenizer,
}

/// BERT's keys, which most families use.
pub const COMMON_KEYS: ConfigKeys = ConfigKeys {
    hidden: "hidden_size",
    intermediate: "intermediate_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    activation: "hidden_act",
    dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    classifier_dropout: "classifier_dropout",
};
