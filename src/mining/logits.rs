//! Pairs of texts to logits of the cross-encoder.

use anyhow::Result;

use crate::executor::batch;
use crate::executor::replicas::Replicas;
use crate::models::cross_encoder::{self, CrossEncoder};
use crate::models::network::token_batch::TokenBatch;
use crate::progress::Task;
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;
use crate::text::pairs::PairTokens;
use crate::text::tokenizer::TokenizedPair;

/// The scores of a partition.
#[derive(Debug, PartialEq)]
pub struct PairScores {
    /// One a pair, the first text of the pair before the second.
    pub logits: Vec<f32>,
    /// Pairs that were cut at the model's limit.
    pub truncated: Vec<bool>,
}

impl PairScores {
    /// The columns that are stored; `keys` are those of the pairs.
    pub fn into_columns(self, keys: &[(TextKey, TextKey)]) -> Columns {
        vec![
            ("first".into(), Column::Keys(keys.iter().map(|pair| pair.0).collect())),
            ("second".into(), Column::Keys(keys.iter().map(|pair| pair.1).collect())),
            ("logit".into(), Column::Floats(self.logits)),
            ("truncated".into(), Column::Flags(self.truncated)),
        ]
    }
}

/// The text of a number.
pub type TextOf<'a, 't> = dyn Fn(u32) -> &'t str + Sync + 'a;

/// The logits of pairs of texts, in their order. After each batch, the pairs of which `is_done` (number and logit) says so
/// count in the task. `text` gives the text of a number; `tokens` keeps what was tokenized.
pub fn score<'t>(
    models: &Replicas<CrossEncoder>,
    tokens: &mut PairTokens,
    (pairs, text): (&[(u32, u32)], &TextOf<'_, 't>),
    is_done: &dyn Fn(usize, f32) -> bool,
    task: &Task,
) -> Result<PairScores> {
    tokens.add(&models.first().tokenizer, pairs, text)?;
    let tokens = &*tokens;
    let lengths: Vec<u32> = pairs.iter().map(|&pair| tokens.length(pair) as u32).collect();
    let plan = batch::plan(&lengths, models.tuning.batch);
    let pairs_of = |batch: usize| &plan.order[plan.batches[batch].clone()];
    let mut logits = vec![0.0; pairs.len()];
    models.run(
        plan.batches.len(),
        |batch| {
            let pairs: Vec<TokenizedPair> = pairs_of(batch).iter().map(|&at| tokens.pair(pairs[at as usize])).collect();
            let batch = TokenBatch::of_pairs(&pairs.iter().collect::<Vec<_>>());
            batch.pad_to(models.tuning.batch, models.first().tokenizer.max_tokens())
        },
        |encoder, batch| encoder.model.forward(batch),
        |_, _, logits| cross_encoder::read_logits(logits),
        |batch, computed| {
            let mut done = 0;
            for (&at, logit) in pairs_of(batch).iter().zip(computed) {
                logits[at as usize] = logit;
                done += usize::from(is_done(at as usize, logit));
            }
            task.advance(done)
        },
    )?;
    Ok(PairScores { logits, truncated: pairs.iter().map(|&pair| tokens.is_truncated(pair)).collect() })
}
