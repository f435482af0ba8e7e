//! Text to token ids. The only user of the `tokenizers` crate.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use rayon::prelude::*;
use tokenizers::utils::truncation::{TruncationParams, TruncationStrategy};

/// A `tokenizer.json` with the model's own length limit in place of whatever the file says.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_tokens: usize,
}

/// The token ids of many sequences, back to back.
#[derive(Default)]
pub struct TokenizedTexts {
    ids: Vec<u32>,
    ends: Vec<usize>,
    /// How many sequences were longer than the model's limit and lost their tail.
    pub truncated: usize,
}

impl TokenizedTexts {
    /// Token ids of sequence `index`, special tokens included.
    pub fn ids(&self, index: usize) -> &[u32] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.ids[start..self.ends[index]]
    }

    /// Tokens per sequence, special tokens included.
    pub fn lengths(&self) -> Vec<u32> {
        (0..self.ends.len()).map(|i| self.ids(i).len() as u32).collect()
    }
}

/// One tokenized pair of texts for a cross-encoder.
pub struct TokenizedPair {
    /// Token ids of both texts with their special tokens.
    pub ids: Vec<u32>,
    /// 0 for the first text's tokens, 1 for the second's; one entry per token.
    pub type_ids: Vec<u32>,
    /// Whether the pair was longer than the model's limit.
    pub truncated: bool,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; sequences longer than `max_tokens` (special tokens included) lose their tail,
    /// pairs the tail of whichever text is longer at each step.
    pub fn from_bytes(json: &[u8], max_tokens: usize, origin: &Path) -> Result<Self> {
        let at = |e: &dyn std::fmt::Display| anyhow!("{}: not a tokenizer file: {e}", origin.display());
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(|e| at(&e))?;
        ensure!(max_tokens > 3, "{}: max_seq_length {max_tokens} leaves no room for text", origin.display());
        inner.with_padding(None);
        let truncation = TruncationParams {
            max_length: max_tokens,
            strategy: TruncationStrategy::LongestFirst,
            ..Default::default()
        };
        inner.with_truncation(Some(truncation)).map_err(|e| at(&e))?;
        Ok(Self { inner, max_tokens })
    }

    /// Sequences are cut to this many tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Rows the token table must have for this tokenizer.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Tokenizes texts on all threads; the result does not depend on how many there are.
    pub fn tokenize(&self, texts: &[&str]) -> Result<TokenizedTexts> {
        let chunks: Vec<TokenizedTexts> =
            texts.par_chunks(256).map(|chunk| self.tokenize_chunk(chunk)).collect::<Result<_>>()?;
        let mut all = TokenizedTexts::default();
        for chunk in chunks {
            let base = all.ids.len();
            all.ids.extend_from_slice(&chunk.ids);
            all.ends.extend(chunk.ends.iter().map(|end| base + end));
            all.truncated += chunk.truncated;
        }
        Ok(all)
    }

    fn tokenize_chunk(&self, texts: &[&str]) -> Result<TokenizedTexts> {
        let mut out = TokenizedTexts::default();
        for &text in texts {
            let encoding = self.inner.encode_fast(text, true).map_err(|e| anyhow!("cannot tokenize {text:?}: {e}"))?;
            out.truncated += usize::from(!encoding.get_overflowing().is_empty());
            out.ids.extend_from_slice(encoding.get_ids());
            out.ends.push(out.ids.len());
        }
        Ok(out)
    }

    /// The tokens of one text as the model sees them, special tokens included.
    pub fn tokens(&self, text: &str) -> Result<Vec<String>> {
        let encoding = self.inner.encode(text, true).map_err(|e| anyhow!("cannot tokenize {text:?}: {e}"))?;
        Ok(encoding.get_tokens().to_vec())
    }

    /// Tokenizes pairs on all threads, in order.
    pub fn tokenize_pairs(&self, pairs: &[(&str, &str)]) -> Result<Vec<TokenizedPair>> {
        let one = |&(a, b): &(&str, &str)| {
            let encoding =
                self.inner.encode_fast((a, b), true).map_err(|e| anyhow!("cannot tokenize {a:?} with {b:?}: {e}"))?;
            Ok(TokenizedPair {
                ids: encoding.get_ids().to_vec(),
                type_ids: encoding.get_type_ids().to_vec(),
                truncated: !encoding.get_overflowing().is_empty(),
            })
        };
        pairs.par_iter().map(one).collect()
    }
}
