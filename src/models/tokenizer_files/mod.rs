//! The tokenizer of a model folder: `tokenizer.json` as it is, or built from older files as transformers builds it.

pub mod reader;
mod sentence_piece;
mod special_tokens;
mod token_types;
mod vocabulary;
