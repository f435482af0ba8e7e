//! Pairs of texts to token ids, each text tokenized once.
//!
//! Mining scores a text in many pairs and in both orders. Nearly every tokenizer joins two texts in the same way: special
//! tokens, the first text, special tokens, the second text, special tokens. That way is learnt from examples; a tokenizer with
//! another way tokenizes every pair.

use std::collections::HashMap;

use anyhow::Result;
use rayon::prelude::*;

use crate::text::tokenizer::{Content, TokenizedPair, Tokenizer};

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

/// Texts from which the template is learnt and on which it must then hold.
const EXAMPLES: [(&str, &str); 4] = [("a", "b"), ("what is it", "c"), ("d", "how do i do it"), ("", "e")];

impl PairTemplate {
    /// Learns how `tokenizer` joins texts; `None` if this cannot be said by a template.
    fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let content = |text: &str| tokenizer.content(text).ok();
        let whole = tokenizer.tokenize_pairs(&EXAMPLES).ok()?;
        let template =
            Self::learn(&whole[0], &content(EXAMPLES[0].0)?, &content(EXAMPLES[0].1)?, tokenizer.max_tokens())?;
        let holds = |(&(a, b), whole): (&(&str, &str), &TokenizedPair)| {
            let joined = template.join(&content(a)?, &content(b)?);
            Some(joined == *whole)
        };
        EXAMPLES.iter().zip(&whole).all(|example| holds(example) == Some(true)).then_some(template)
    }

    fn learn(whole: &TokenizedPair, a: &Content, b: &Content, limit: usize) -> Option<Self> {
        let place = |ids: &[u32]| whole.ids.windows(ids.len().max(1)).position(|window| window == ids);
        let tokens: Vec<Token> = whole.ids.iter().copied().zip(whole.type_ids.iter().copied()).collect();
        let first = place(&a.ids)?;
        let second = place(&b.ids).filter(|&second| second >= first + a.ids.len())?;
        Some(Self {
            before: tokens[..first].to_vec(),
            between: tokens[first + a.ids.len()..second].to_vec(),
            after: tokens[second + b.ids.len()..].to_vec(),
            types: [tokens[first].1, tokens[second].1],
            limit,
        })
    }

    fn special(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// Tokens that are kept of two texts: of the longer one first, until both fit.
    fn kept(&self, a: &Content, b: &Content) -> [usize; 2] {
        let most = self.limit.saturating_sub(self.special());
        if a.length + b.length <= most {
            return [a.length, b.length];
        }
        let (shorter, longer) = (a.length.min(b.length), a.length.max(b.length));
        let longer = if shorter > most { shorter } else { longer.min(shorter.max(most - shorter)) };
        let (shorter, longer) =
            if shorter + longer > most { (most / 2, most / 2 + most % 2) } else { (shorter, longer) };
        if a.length > b.length { [longer, shorter] } else { [shorter, longer] }
    }

    fn length(&self, a: &Content, b: &Content) -> usize {
        let [first, second] = self.kept(a, b);
        self.special() + first + second
    }

    fn join(&self, a: &Content, b: &Content) -> TokenizedPair {
        let [first, second] = self.kept(a, b);
        let typed = |ids: &[u32], kind: u32| ids.iter().map(move |&id| (id, kind)).collect::<Vec<_>>();
        let parts = [
            self.before.clone(),
            typed(&a.ids[..first], self.types[0]),
            self.between.clone(),
            typed(&b.ids[..second], self.types[1]),
            self.after.clone(),
        ];
        let (ids, type_ids) = parts.into_iter().flatten().unzip();
        TokenizedPair { ids, type_ids, truncated: first + second < a.length + b.length }
    }
}

/// Texts that were tokenized for pairs, by number.
pub struct PairTokens {
    template: Option<PairTemplate>,
    contents: HashMap<u32, Content>,
    /// Whole pairs, for a tokenizer without a template.
    pairs: HashMap<(u32, u32), TokenizedPair>,
}

impl PairTokens {
    /// None yet, for pairs of `tokenizer`.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self { template: PairTemplate::of(tokenizer), contents: HashMap::new(), pairs: HashMap::new() }
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
        let mut missing: Vec<u32> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
        missing.par_sort_unstable();
        missing.dedup();
        missing.retain(|number| !self.contents.contains_key(number));
        let contents: Vec<Content> =
            missing.par_iter().map(|&number| tokenizer.content(text(number))).collect::<Result<_>>()?;
        self.contents.extend(missing.into_iter().zip(contents));
        Ok(())
    }

    /// Tokens of a pair that was added.
    pub fn length(&self, (a, b): (u32, u32)) -> usize {
        match &self.template {
            Some(template) => template.length(&self.contents[&a], &self.contents[&b]),
            None => self.pairs[&(a, b)].ids.len(),
        }
    }

    /// A pair that was added, as the model takes it.
    pub fn pair(&self, (a, b): (u32, u32)) -> TokenizedPair {
        match &self.template {
            Some(template) => template.join(&self.contents[&a], &self.contents[&b]),
            None => self.pairs[&(a, b)].clone(),
        }
    }
}
