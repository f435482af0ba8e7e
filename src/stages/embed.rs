//! Unique texts to unit vectors, shard by shard.

use anyhow::Result;
use rayon::prelude::*;

use crate::models::bi_encoder::BiEncoder;
use crate::progress::Task;
use crate::text::batch;
use crate::text::tokenizer::TokenizedTexts;

/// Part of the stage's fingerprint; raise it when the vectors of some text change.
pub const VERSION: u32 = 1;

/// Texts of a shard: what an interruption costs at most (some seconds on a CPU).
pub const SHARD_TEXTS: usize = 4096;

/// Neighbours in length that stay together, so that batches inside a shard need little padding.
const GROUP_TEXTS: usize = 64;

/// Tokens of a batch. Small enough that a batch's hidden states stay in a core's cache.
const BATCH_TOKENS: usize = 1024;

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

/// Vectors of one shard's texts, row-major `[texts, D]` in the shard's order. One batch a worker at a time: on a CPU
/// independent batches use the cores better than one batch split among them.
pub fn embed(model: &BiEncoder, tokenized: &TokenizedTexts, texts: &[u32], task: &Task) -> Result<Vec<f32>> {
    let width = model.dimensions();
    let lengths: Vec<u32> = texts.iter().map(|&text| tokenized.ids(text as usize).len() as u32).collect();
    let plan = batch::plan(&lengths, BATCH_TOKENS);
    let embed_batch = |range: &std::ops::Range<usize>| -> Result<Vec<f32>> {
        let rows: Vec<&[u32]> =
            plan.order[range.clone()].iter().map(|&at| tokenized.ids(texts[at as usize] as usize)).collect();
        let vectors = model.embed(&rows)?;
        task.advance(rows.len())?;
        Ok(vectors)
    };
    let batches: Vec<Vec<f32>> = plan.batches.par_iter().with_max_len(1).map(embed_batch).collect::<Result<_>>()?;
    let mut vectors = vec![0.0; texts.len() * width];
    for (&at, vector) in plan.order.iter().zip(batches.iter().flat_map(|batch| batch.chunks_exact(width))) {
        vectors[at as usize * width..(at as usize + 1) * width].copy_from_slice(vector);
    }
    Ok(vectors)
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
