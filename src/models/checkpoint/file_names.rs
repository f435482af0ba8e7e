//! Names of the files in a model folder that several readers share.

/// The protocol buffer that XLM-R and CamemBERT keep their vocabulary in.
pub const SENTENCE_PIECE: &str = "sentencepiece.bpe.model";

/// Every file that a tokenizer of the supported families may come from. The first three belong to every tokenizer, the others
/// are read only without a `tokenizer.json`.
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

/// Names of the file with `max_seq_length`, newest first.
pub const LIMIT_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_mpnet_config.json",
    "sentence_camembert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_albert_config.json",
];

/// The folder of a siamese classifier's head inside the model folder.
pub const SIAMESE_HEAD: &str = "siamese_head";

/// The head's configuration. A folder with this file is a siamese classifier.
pub const SIAMESE_HEAD_CONFIG: &str = "siamese_head/config.json";
