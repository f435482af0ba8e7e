//! From strings to token ids: normalisation, tokenisation, batches by token budget; and back to a person's eyes.

pub mod key;
pub mod normalise;
pub mod pairs;
pub mod tokenizer;
pub mod visible;
