//! Text to token ids. The only user of the `tokenizers` crate.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use rayon::prelude::*;
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::utils::truncation::{TruncationParams, TruncationStrategy};
use tokenizers::{EncodeInput, Encoding, PostProcessor};

use crate::error::{caught, quietly};

/// What a model asks of its tokenizer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest sequence, special tokens included.
    pub tokens: usize,
    /// Rows of the token table.
    pub ids: usize,
    /// Rows of the token type table; `None` for a model that gets no types from its tokenizer.
    pub types: Option<usize>,
    /// Whether texts are lower-cased first, whatever the file says.
    pub lower_case: bool,
}

/// A `tokenizer.json` with the model's own length limit in place of whatever the file says.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    limits: Limits,
    /// The file it was read from, for messages.
    origin: PathBuf,
    prompt: String,
    prompt_tokens: usize,
    /// What stands for what the vocabulary does not have.
    unknown: Option<u32>,
    /// By id: whether a token holds a letter or a digit.
    in_words: Vec<bool>,
}

/// The token ids of many sequences, back to back.
#[derive(Default)]
pub struct TokenizedTexts {
    ids: Vec<u32>,
    ends: Vec<usize>,
    /// Sequences, in order, that were longer than the model's limit and lost their end.
    pub truncated: Vec<u32>,
    /// Sequences, in order, without a word that the vocabulary knows: other scripts, emoji alone. All of them look the same
    /// to a model.
    pub unknown: Vec<u32>,
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
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizedPair {
    /// Token ids of both texts with their special tokens.
    pub ids: Vec<u32>,
    /// 0 for the first text's tokens, 1 for the second's, or 0 for all if the model gets no types; one entry per token.
    pub type_ids: Vec<u32>,
    /// Whether the pair was longer than the model's limit.
    pub truncated: bool,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; sequences longer than the limit lose their tail, pairs the tail of whichever text is
    /// longer at each step.
    pub fn from_bytes(json: &[u8], limits: Limits, origin: &Path) -> Result<Self> {
        let at = |e: &dyn std::fmt::Display| anyhow!("{}: not a tokenizer file: {e}", origin.display());
        let read = quietly(|| tokenizers::Tokenizer::from_bytes(json)).map_err(|e| at(&e))?;
        let mut inner = read.map_err(|e| at(&e))?;
        ensure!(limits.tokens > 3, "{}: max_seq_length {} leaves no room for text", origin.display(), limits.tokens);
        let size = inner.get_vocab_size(true);
        ensure!(
            size <= limits.ids,
            "{}: {size} tokens, but config.json has vocab_size {}",
            origin.display(),
            limits.ids
        );
        inner.with_padding(None);
        // a file may add any number of special tokens, and truncation panics or does nothing where they fill the limit
        let special = inner.get_post_processor().map_or(0, |p| p.added_tokens(false).max(p.added_tokens(true)));
        ensure!(
            special < limits.tokens,
            "{}: it adds {special} special tokens, but the model takes {} tokens in all",
            origin.display(),
            limits.tokens
        );
        let truncation = TruncationParams {
            max_length: limits.tokens,
            strategy: TruncationStrategy::LongestFirst,
            ..Default::default()
        };
        inner.with_truncation(Some(truncation)).map_err(|e| at(&e))?;
        if limits.lower_case {
            lower_case_first(&mut inner).map_err(|e| at(&e))?;
        }
        // a template that names what is not there panics, and it does so at any text
        quietly(|| {
            let _ = (inner.encode_fast("a", true), inner.encode_fast(("a", "b"), true));
        })
        .map_err(|e| at(&e))?;
        let unknown = ["[UNK]", "<unk>"].into_iter().find_map(|token| inner.token_to_id(token));
        let holds_word = |id: u32| inner.id_to_token(id).is_some_and(|token| token.chars().any(char::is_alphanumeric));
        let in_words = (0..limits.ids.min(size) as u32).map(holds_word).collect();
        let (origin, prompt) = (origin.to_path_buf(), String::new());
        Ok(Self { inner, limits, origin, prompt, prompt_tokens: 0, unknown, in_words })
    }

    /// Puts `prompt` before every text (not before pairs).
    pub fn with_prompt(mut self, prompt: &str) -> Result<Self> {
        if !prompt.is_empty() {
            let encoding = self.encode(prompt)?;
            // the special token that ends the prompt alone does not end it before a text
            let ends = encoding.get_special_tokens_mask().last() == Some(&1);
            self.prompt_tokens = encoding.len() - usize::from(ends);
            self.prompt = prompt.to_string();
        }
        Ok(self)
    }

    /// Tokens of the prompt at the start of every text's ids, special tokens before it included.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Sequences are cut to this many tokens, special tokens included.
    pub fn max_tokens(&self) -> usize {
        self.limits.tokens
    }

    /// Encodes a text or a pair with special tokens.
    fn encode<'s>(&self, input: impl Into<EncodeInput<'s>>) -> Result<Encoding> {
        self.encode_with(input, true)
    }

    /// Encodes a text or a pair; an id that the model has no row for is an error, wherever in the file it comes from.
    fn encode_with<'s>(&self, input: impl Into<EncodeInput<'s>>, has_special: bool) -> Result<Encoding> {
        // a damaged file may pass at loading and panic at some texts only
        let encoding = caught(AssertUnwindSafe(|| self.inner.encode_fast(input, has_special)))
            .map_err(|e| anyhow!("{}: not a tokenizer file: {e}", self.origin.display()))?
            .map_err(|e| anyhow!("cannot tokenize: {e}"))?;
        // a template may repeat a text after it was cut, and the position table ends at the limit
        ensure!(
            encoding.len() <= self.limits.tokens,
            "{}: the tokenizer gives a sequence of {} tokens, but the model takes {}",
            self.origin.display(),
            encoding.len(),
            self.limits.tokens
        );
        let within = |values: &[u32], limit: usize| values.iter().all(|&value| (value as usize) < limit);
        let types = self.limits.types.unwrap_or(usize::MAX);
        ensure!(
            within(encoding.get_ids(), self.limits.ids) && within(encoding.get_type_ids(), types),
            "the tokenizer gives token ids up to {} and token types up to {}, but the model has {} and {}",
            encoding.get_ids().iter().max().unwrap_or(&0),
            encoding.get_type_ids().iter().max().unwrap_or(&0),
            self.limits.ids,
            types
        );
        Ok(encoding)
    }

    /// Encodes a text after the prompt.
    fn encode_text(&self, text: &str) -> Result<Encoding> {
        match self.prompt.as_str() {
            "" => self.encode(text),
            prompt => self.encode(format!("{prompt}{text}")),
        }
    }

    /// Tokenizes texts on all threads; the result does not depend on how many there are.
    pub fn tokenize(&self, texts: &[&str]) -> Result<TokenizedTexts> {
        let chunks: Vec<TokenizedTexts> =
            texts.par_chunks(256).map(|chunk| self.tokenize_chunk(chunk)).collect::<Result<_>>()?;
        let mut all = TokenizedTexts::default();
        for chunk in chunks {
            let (base, before) = (all.ids.len(), all.ends.len() as u32);
            all.unknown.extend(chunk.unknown.iter().map(|text| before + text));
            all.ids.extend_from_slice(&chunk.ids);
            all.ends.extend(chunk.ends.iter().map(|end| base + end));
            all.truncated.extend(chunk.truncated.iter().map(|text| before + text));
        }
        Ok(all)
    }

    fn tokenize_chunk(&self, texts: &[&str]) -> Result<TokenizedTexts> {
        let mut out = TokenizedTexts::default();
        for (&text, number) in texts.iter().zip(0..) {
            let encoding = self.encode_text(text)?;
            if self.is_unknown(&encoding) {
                out.unknown.push(number);
            }
            if !encoding.get_overflowing().is_empty() {
                out.truncated.push(number);
            }
            out.ids.extend_from_slice(encoding.get_ids());
            out.ends.push(out.ids.len());
        }
        Ok(out)
    }

    /// Whether no word of a text is in the vocabulary: nothing is, or punctuation beside what is unknown.
    fn is_unknown(&self, encoding: &Encoding) -> bool {
        let content = encoding.get_ids().iter().zip(encoding.get_special_tokens_mask()).skip(self.prompt_tokens);
        let ids = || content.clone().filter(|(_, special)| **special == 0).map(|(id, _)| *id);
        let is_word = |id: u32| Some(id) != self.unknown && self.in_words.get(id as usize).copied().unwrap_or(true);
        let has_unknown = self.unknown.is_some_and(|unknown| ids().any(|id| id == unknown));
        ids().next().is_none() || has_unknown && !ids().any(is_word)
    }

    /// The tokens of one text as the model sees them, prompt and special tokens included.
    pub fn tokens(&self, text: &str) -> Result<Vec<String>> {
        // the fast encoding carries ids alone
        let token = |&id: &u32| self.inner.id_to_token(id).unwrap_or_else(|| format!("#{id}"));
        Ok(self.encode_text(text)?.get_ids().iter().map(token).collect())
    }

    /// The tokens of a text alone, without special tokens and prompt, and how many there were before they were cut at the
    /// model's limit. The tokenizer itself stops soon after the limit.
    pub fn content(&self, text: &str) -> Result<(Vec<u32>, usize)> {
        let encoding = self.encode_with(text, false)?;
        let cut: usize = encoding.get_overflowing().iter().map(Encoding::len).sum();
        Ok((encoding.get_ids().to_vec(), encoding.len() + cut))
    }

    /// Tokenizes pairs on all threads, in order.
    pub fn tokenize_pairs(&self, pairs: &[(&str, &str)]) -> Result<Vec<TokenizedPair>> {
        let one = |&(a, b): &(&str, &str)| {
            let encoding = self.encode((a, b))?;
            let type_ids = match self.limits.types {
                Some(_) => encoding.get_type_ids().to_vec(),
                None => vec![0; encoding.len()],
            };
            Ok(TokenizedPair {
                ids: encoding.get_ids().to_vec(),
                type_ids,
                truncated: !encoding.get_overflowing().is_empty(),
            })
        };
        pairs.par_iter().map(one).collect()
    }
}

/// Puts a lower-casing step before the normaliser unless it has one, as sentence-transformers does for `do_lower_case`.
fn lower_case_first(tokenizer: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
    let own = match tokenizer.get_normalizer() {
        Some(own) if lower_cases(own) => return Ok(()),
        own => own.cloned(),
    };
    let steps = std::iter::once(Lowercase.into()).chain(own).collect();
    tokenizer.with_normalizer(Some(Sequence::new(steps)))?;
    Ok(())
}

fn lower_cases(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::Lowercase(_) => true,
        NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
        NormalizerWrapper::Sequence(steps) => steps.as_ref().iter().any(lower_cases),
        _ => false,
    }
}
