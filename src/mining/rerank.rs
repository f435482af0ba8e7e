//! Candidates to probabilities with a cross-encoder, which reads both texts at once.
//!
//! A cross-encoder is not symmetric: one order alone can be 0.3 away from the other, so the mean logit of both decides.
//! But each call is dear: the second order runs only where the first leaves the decision open, and pairs go from the
//! most promising down, so that a budget is spent where the duplicates are.

use anyhow::Result;
use rayon::slice::ParallelSliceMut;

use crate::calibration::decision::Decision;
use crate::executor::batch;
use crate::executor::replicas::Replicas;
use crate::mining::candidates::Candidate;
use crate::models::cross_encoder::{self, CrossEncoder};
use crate::models::network::token_batch::TokenBatch;
use crate::progress::Task;
use crate::tables::questions::Texts;

/// Part of the stage's fingerprint; raise it when the scores of some pair change.
pub const VERSION: u32 = 2;

/// Pairs of a shard: what an interruption costs at most.
pub const SHARD_PAIRS: usize = 2048;

/// Logits of one candidate; `None` where the cross-encoder was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scores {
    pub logit_ab: Option<f32>,
    pub logit_ba: Option<f32>,
}

impl Scores {
    /// Mean of the logits there are.
    pub fn logit(self) -> Option<f32> {
        match (self.logit_ab, self.logit_ba) {
            (Some(ab), Some(ba)) => Some((ab + ba) / 2.0),
            (one, other) => one.or(other),
        }
    }

    /// The probability that they and the cosine make.
    pub fn probability(self, decision: &Decision, cosine: f32) -> Option<f32> {
        self.logit().map(|logit| decision.probability(f64::from(logit), f64::from(cosine)) as f32)
    }
}

/// Candidate numbers from the most promising (highest cosine) down, ties in order of the pair.
pub fn promising_first(candidates: &[Candidate]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..candidates.len() as u32).collect();
    order.par_sort_unstable_by(|&x, &y| {
        candidates[y as usize].cosine.total_cmp(&candidates[x as usize].cosine).then(x.cmp(&y))
    });
    order
}

/// Which text comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ab,
    Ba,
}

/// One logit per candidate, in their order, and which pairs were cut at the model's length.
pub fn score(
    models: &Replicas<CrossEncoder>,
    texts: &Texts,
    candidates: &[Candidate],
    order: Order,
    task: &Task,
) -> Result<(Vec<f32>, Vec<bool>)> {
    let pairs: Vec<(&str, &str)> = candidates
        .iter()
        .map(|pair| (texts.get(pair.a as usize), texts.get(pair.b as usize)))
        .map(|(a, b)| if order == Order::Ab { (a, b) } else { (b, a) })
        .collect();
    let tokenized = models.first().tokenizer.tokenize_pairs(&pairs)?;
    let truncated = tokenized.iter().map(|pair| pair.truncated).collect();
    let lengths: Vec<u32> = tokenized.iter().map(|pair| pair.ids.len() as u32).collect();
    let plan = batch::plan(&lengths, models.tuning.batch);
    let texts_of = |batch: usize| &plan.order[plan.batches[batch].clone()];
    let mut logits = vec![0.0; candidates.len()];
    models.run(
        plan.batches.len(),
        |batch| {
            let pairs: Vec<_> = texts_of(batch).iter().map(|&at| &tokenized[at as usize]).collect();
            TokenBatch::of_pairs(&pairs).pad_to(models.tuning.batch, models.first().tokenizer.max_tokens())
        },
        |encoder, batch| encoder.model.forward(batch),
        |_, _, logits| cross_encoder::read_logits(logits),
        |batch, computed| {
            for (&at, logit) in texts_of(batch).iter().zip(computed) {
                logits[at as usize] = logit;
            }
            task.check()
        },
    )?;
    Ok((logits, truncated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_promising_come_first_and_ties_keep_their_order() {
        let pair = |a, b, cosine| Candidate { a, b, cosine };
        let candidates = [pair(0, 1, 0.7), pair(0, 2, 0.9), pair(1, 2, 0.7)];
        assert_eq!(promising_first(&candidates), [1, 0, 2]);
    }
}
