//! Unique texts to unit vectors, shard by shard.

use std::ops::Range;

use anyhow::Result;

use crate::executor::batch;
use crate::executor::replicas::Replicas;
use crate::models::bi_encoder::{self, BiEncoder};
use crate::models::network::token_batch::TokenBatch;
use crate::progress::Task;
use crate::text::tokenizer::TokenizedTexts;

/// Part of the stage's fingerprint; raise it when the vectors of some text change.
pub const VERSION: u32 = 4;

/// Texts of a shard: what an interruption costs at most (some seconds on a CPU).
pub const SHARD_TEXTS: usize = 4096;

/// Neighbours in length that stay together, so that batches inside a shard need little padding.
const GROUP_TEXTS: usize = 64;

/// Splits texts into shards that each hold the whole range of lengths, so that progress is even. The split depends on
/// the token counts alone.
pub fn shards(lengths: &[u32]) -> Vec<Vec<u32>> {
    let count = lengths.len().div_ceil(SHARD_TEXTS);
    let mut shards = vec![Vec::new(); count];
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    order.sort_unstable_by_key(|&text| (lengths[text as usize], text));
    for (group, texts) in order.chunks(GROUP_TEXTS).enumerate() {
        shards[group % count].extend_from_slice(texts);
    }
    shards
}

/// Shards that are batched together, and where their vectors gather.
struct Group<'a> {
    shards: &'a [(usize, Vec<u32>)],
    /// Texts of all shards, in their order.
    texts: Vec<u32>,
    /// Numbers into `texts`, in the order of the batches.
    order: Vec<u32>,
    batches_left: usize,
    vectors: Vec<f32>,
}

/// Computes shards (their numbers and texts) and hands each to `finished` when it is complete: its number, its texts,
/// and their vectors, row-major `[texts, D]` in the same order; zero for texts of which the vocabulary has nothing, or all
/// of them would be duplicates of each other.
pub fn embed(
    models: &Replicas<BiEncoder>,
    tokenized: &TokenizedTexts,
    shards: &[(usize, Vec<u32>)],
    task: &Task,
    mut finished: impl FnMut(usize, &[u32], &[f32]) -> Result<()>,
) -> Result<()> {
    let (width, shape) = (models.first().dimensions(), models.tuning.batch);
    let together = (models.tuning.embed_partition_texts / SHARD_TEXTS).max(1);
    let limit = models.first().tokenizer.max_tokens();
    let mut groups: Vec<Group> = Vec::new();
    let mut jobs: Vec<(usize, Range<usize>)> = Vec::new();
    for shards in shards.chunks(together) {
        let texts: Vec<u32> = shards.iter().flat_map(|(_, texts)| texts).copied().collect();
        let lengths: Vec<u32> = texts.iter().map(|&text| tokenized.ids(text as usize).len() as u32).collect();
        let plan = batch::plan(&lengths, shape);
        jobs.extend(plan.batches.iter().map(|range| (groups.len(), range.clone())));
        groups.push(Group { shards, texts, order: plan.order, batches_left: plan.batches.len(), vectors: Vec::new() });
    }
    let rows: Vec<Vec<&[u32]>> = jobs
        .iter()
        .map(|(group, range)| (&groups[*group], range.clone()))
        .map(|(group, range)| group.order[range].iter().map(|&at| group.texts[at as usize]).collect::<Vec<u32>>())
        .map(|texts| texts.into_iter().map(|text| tokenized.ids(text as usize)).collect())
        .collect();
    models.run(
        jobs.len(),
        |job| TokenBatch::of_texts(&rows[job]).pad_to(shape, limit),
        |encoder, batch| encoder.model.forward(batch),
        |_, _, vectors| bi_encoder::read_vectors(vectors),
        |job, vectors| {
            let (group, range) = (&mut groups[jobs[job].0], jobs[job].1.clone());
            task.advance(range.len())?;
            group.vectors.resize(group.texts.len() * width, 0.0);
            // rows that only fill a batch's shape come last, and have no place
            for (&at, vector) in group.order[range].iter().zip(vectors.chunks_exact(width)) {
                if tokenized.unknown.binary_search(&group.texts[at as usize]).is_err() {
                    group.vectors[at as usize * width..(at as usize + 1) * width].copy_from_slice(vector);
                }
            }
            group.batches_left -= 1;
            if group.batches_left > 0 {
                return Ok(());
            }
            let mut rest = std::mem::take(&mut group.vectors);
            for (number, texts) in group.shards {
                let after = rest.split_off(texts.len() * width);
                finished(*number, texts, &rest)?;
                rest = after;
            }
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_hold_every_text_once_and_the_same_mix_of_lengths() {
        let lengths: Vec<u32> = (0..20_000u32).map(|i| 3 + i * 7 % 40).collect();
        let shards = shards(&lengths);
        let mut all: Vec<u32> = shards.concat();
        all.sort_unstable();
        assert_eq!(all, (0..20_000).collect::<Vec<_>>());
        let mean =
            |texts: &Vec<u32>| texts.iter().map(|&t| lengths[t as usize] as f64).sum::<f64>() / texts.len() as f64;
        assert!(
            shards.iter().all(|shard| (mean(shard) - 22.5).abs() < 1.0 && shard.len() <= SHARD_TEXTS + GROUP_TEXTS)
        );
    }
}
