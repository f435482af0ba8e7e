//! Pairs of texts to token ids, each text tokenized once.
//!
//! Mining scores a text in many pairs and in both orders. Nearly every tokenizer joins two texts in the same way: special
//! tokens, the first text, special tokens, the second text, special tokens. That way is learnt from examples; a tokenizer with
//! another way tokenizes every pair.

use std::collections::HashMap;

use anyhow::Result;
use rayon::prelude::*;

use crate::text::tokenizer::{TokenizedPair, Tokenizer};

/// Token and token type.
type Token = (u32, u32);

/// How a tokenizer joins two texts.
#[derive(Debug, Clone, PartialEq)]
struct PairTemplate {
    before: Vec<Token>,
    between: Vec<Token>,
    after: Vec<Token>,
    /// Token types of the two texts.
    types: [u32; 2],
    /// Most tokens of a pair, special tokens included.
    limit: usize,
}

/// The tokens of a text without special tokens.
#[derive(Debug, Clone, Copy)]
struct Content<'a> {
    /// At most as many as the model takes.
    ids: &'a [u32],
    /// Tokens before they were cut.
    length: usize,
}

/// Texts from which the template is learnt and on which it must then hold.
const EXAMPLES: [(&str, &str); 4] = [("a", "b"), ("what is it", "c"), ("d", "how do i do it"), ("", "e")];

impl PairTemplate {
    /// Learns how `tokenizer` joins texts; `None` if this cannot be said by a template.
    fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let whole = tokenizer.tokenize_pairs(&EXAMPLES).ok()?;
        let contents: Vec<_> = EXAMPLES
            .iter()
            .map(|(a, b)| Some((tokenizer.content(a).ok()?, tokenizer.content(b).ok()?)))
            .collect::<Option<_>>()?;
        let ((first, _), (second, _)) = &contents[0];
        let template = Self::learn(&whole[0], [first, second], tokenizer.max_tokens())?;
        let joined = contents.iter().map(|((a, of_a), (b, of_b))| {
            template.join(Content { ids: a, length: *of_a }, Content { ids: b, length: *of_b })
        });
        joined.zip(&whole).all(|(joined, whole)| joined == *whole).then_some(template)
    }

    fn learn(whole: &TokenizedPair, [a, b]: [&[u32]; 2], limit: usize) -> Option<Self> {
        let place = |ids: &[u32], from: usize| {
            let at = whole.ids.get(from..)?.windows(ids.len().max(1)).position(|window| window == ids)?;
            Some(from + at)
        };
        let tokens: Vec<Token> = whole.ids.iter().copied().zip(whole.type_ids.iter().copied()).collect();
        let first = place(a, 0)?;
        let second = place(b, first + a.len())?;
        Some(Self {
            before: tokens[..first].to_vec(),
            between: tokens[first + a.len()..second].to_vec(),
            after: tokens[second + b.len()..].to_vec(),
            types: [tokens[first].1, tokens[second].1],
            limit,
        })
    }

    fn special_tokens(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// Tokens that are kept of two texts: of the longer one first, until both fit.
    fn kept(&self, a: Content, b: Content) -> [usize; 2] {
        let most = self.limit.saturating_sub(self.special_tokens());
        if a.length + b.length <= most {
            return [a.length, b.length];
        }
        let (shorter, longer) = (a.length.min(b.length), a.length.max(b.length));
        let longer = if shorter > most { shorter } else { longer.min(shorter.max(most - shorter)) };
        let (shorter, longer) =
            if shorter + longer > most { (most / 2, most / 2 + most % 2) } else { (shorter, longer) };
        if a.length > b.length { [longer, shorter] } else { [shorter, longer] }
    }

    fn length(&self, a: Content, b: Content) -> usize {
        let [first, second] = self.kept(a, b);
        self.special_tokens() + first + second
    }

    fn join(&self, a: Content, b: Content) -> TokenizedPair {
        let [first, second] = self.kept(a, b);
        let length = self.special_tokens() + first + second;
        let (mut ids, mut type_ids) = (Vec::with_capacity(length), Vec::with_capacity(length));
        let special = |tokens: &[Token], ids: &mut Vec<u32>, type_ids: &mut Vec<u32>| {
            ids.extend(tokens.iter().map(|token| token.0));
            type_ids.extend(tokens.iter().map(|token| token.1));
        };
        special(&self.before, &mut ids, &mut type_ids);
        ids.extend_from_slice(&a.ids[..first]);
        type_ids.resize(ids.len(), self.types[0]);
        special(&self.between, &mut ids, &mut type_ids);
        ids.extend_from_slice(&b.ids[..second]);
        type_ids.resize(ids.len(), self.types[1]);
        special(&self.after, &mut ids, &mut type_ids);
        TokenizedPair { ids, type_ids, truncated: first + second < a.length + b.length }
    }
}

/// Token ids that are kept at most: 256 MB.
const MOST_IDS: usize = 1 << 26;

/// Where the tokens of a text lie among all, and how many it had before it was cut.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    kept: u32,
    length: u32,
}

/// Texts that were tokenized for pairs, by number.
pub struct PairTokens {
    template: Option<PairTemplate>,
    /// Of all texts, end to end.
    ids: Vec<u32>,
    spans: HashMap<u32, Span>,
    /// Whole pairs, without a template.
    pairs: HashMap<(u32, u32), TokenizedPair>,
}

impl PairTokens {
    /// None yet, for pairs of `tokenizer`.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self { template: PairTemplate::of(tokenizer), ..Self::whole() }
    }

    /// None yet; the tokenizer will be asked for every pair.
    pub fn whole() -> Self {
        Self { template: None, ids: Vec::new(), spans: HashMap::new(), pairs: HashMap::new() }
    }

    /// Whether each text is tokenized once.
    pub fn is_per_text(&self) -> bool {
        self.template.is_some()
    }

    /// Tokenizes what these pairs need and is not there yet, on all threads.
    pub fn add<'t>(
        &mut self,
        tokenizer: &Tokenizer,
        pairs: &[(u32, u32)],
        text: impl Fn(u32) -> &'t str + Sync,
    ) -> Result<()> {
        if self.template.is_none() {
            let texts: Vec<(&str, &str)> = pairs.iter().map(|&(a, b)| (text(a), text(b))).collect();
            self.pairs = pairs.iter().copied().zip(tokenizer.tokenize_pairs(&texts)?).collect();
            return Ok(());
        }
        if self.ids.len() > MOST_IDS {
            (self.ids, self.spans) = (Vec::new(), HashMap::new());
        }
        let mut missing: Vec<u32> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
        missing.par_sort_unstable();
        missing.dedup();
        missing.retain(|number| !self.spans.contains_key(number));
        let contents: Vec<(Vec<u32>, usize)> =
            missing.par_iter().map(|&number| tokenizer.content(text(number))).collect::<Result<_>>()?;
        for (number, (ids, length)) in missing.into_iter().zip(contents) {
            let span = Span { start: self.ids.len(), kept: ids.len() as u32, length: length as u32 };
            self.ids.extend(ids);
            self.spans.insert(number, span);
        }
        Ok(())
    }

    /// Tokens of a pair of the last [`PairTokens::add`].
    pub fn length(&self, (a, b): (u32, u32)) -> usize {
        match &self.template {
            Some(template) => template.length(self.content(a), self.content(b)),
            None => self.pairs[&(a, b)].ids.len(),
        }
    }

    /// A pair of the last [`PairTokens::add`], as the model takes it.
    pub fn pair(&self, (a, b): (u32, u32)) -> TokenizedPair {
        match &self.template {
            Some(template) => template.join(self.content(a), self.content(b)),
            None => self.pairs[&(a, b)].clone(),
        }
    }

    /// Whether a pair of the last [`PairTokens::add`] is longer than the model's limit.
    pub fn is_truncated(&self, (a, b): (u32, u32)) -> bool {
        match &self.template {
            Some(template) => {
                let (a, b) = (self.content(a), self.content(b));
                template.kept(a, b).iter().sum::<usize>() < a.length + b.length
            }
            None => self.pairs[&(a, b)].truncated,
        }
    }

    fn content(&self, number: u32) -> Content<'_> {
        let Span { start, kept, length } = self.spans[&number];
        Content { ids: &self.ids[start..start + kept as usize], length: length as usize }
    }
}
