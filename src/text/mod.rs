//! From strings to token ids: normalisation, tokenisation, batches by token budget.

pub mod batch;
pub mod normalise;
pub mod tokenizer;
