//! Which examples share a batch in each epoch: a function of the seed and the epoch alone, so that a resumed run finds
//! its place by counting.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::training::dataset::Example;

/// How examples are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// In random order.
    Shuffled,
    /// In random order, but near others of like length, so that little of a batch is padding.
    Lengths,
    /// No two examples of a batch from one cluster of duplicates: what ranking needs.
    NoDuplicates,
}

/// Batches whose examples are sorted by length together.
const LENGTH_WINDOW: usize = 32;

/// The batches of one epoch, as example numbers. `lengths` are tokens an example.
pub fn of_epoch(
    examples: &[Example],
    lengths: &[u32],
    grouping: Grouping,
    batch_size: usize,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<u32>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(epoch as u64));
    let mut order: Vec<u32> = (0..examples.len() as u32).collect();
    order.shuffle(&mut random);
    match grouping {
        Grouping::Shuffled => order.chunks(batch_size).map(<[u32]>::to_vec).collect(),
        Grouping::Lengths => {
            for window in order.chunks_mut(batch_size * LENGTH_WINDOW) {
                window.sort_by_key(|&example| lengths[example as usize]);
            }
            let mut batches: Vec<Vec<u32>> = order.chunks(batch_size).map(<[u32]>::to_vec).collect();
            batches.shuffle(&mut random);
            batches
        }
        Grouping::NoDuplicates => without_duplicates(examples, &order, batch_size),
    }
}

/// Fills batches in order; an example whose cluster is in the batch already waits for the next one. At the end of an
/// epoch, when few examples are left or those of few clusters, a batch under half the size ranks too little and is left out.
fn without_duplicates(examples: &[Example], order: &[u32], batch_size: usize) -> Vec<Vec<u32>> {
    let mut waiting: Vec<u32> = Vec::new();
    let mut rest = order.iter().copied();
    let mut batches: Vec<Vec<u32>> = Vec::new();
    loop {
        let mut batch = Vec::with_capacity(batch_size);
        let (mut questions, mut negatives) = (HashSet::new(), HashSet::new());
        let mut try_add = |example: u32, batch: &mut Vec<u32>| {
            let Example { cluster, negative_clusters, .. } = &examples[example as usize];
            let clashes = questions.contains(cluster)
                || negatives.contains(cluster)
                || negative_clusters.iter().any(|negative| questions.contains(negative));
            if !clashes {
                questions.insert(*cluster);
                negatives.extend(negative_clusters.iter().copied());
                batch.push(example);
            }
            !clashes
        };
        let mut still_waiting = Vec::new();
        for example in waiting {
            if batch.len() == batch_size || !try_add(example, &mut batch) {
                still_waiting.push(example);
            }
        }
        while batch.len() < batch_size {
            let Some(example) = rest.next() else { break };
            if !try_add(example, &mut batch) {
                still_waiting.push(example);
            }
        }
        waiting = still_waiting;
        if batch.len() * 2 < batch_size && !batches.is_empty() || batch.len() < 2 {
            return batches;
        }
        batches.push(batch);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example(cluster: u32, negative: u32) -> Example {
        Example { cluster, negative_clusters: vec![negative], ..Example::default() }
    }

    proptest! {
        #[test]
        fn ranking_batches_never_hold_a_cluster_twice(clusters in prop::collection::vec((0u32..30, 0u32..60), 2..300), size in 2usize..20, seed in 0u64..5) {
            let examples: Vec<Example> = clusters.iter().map(|&(c, n)| example(c, if n == c { n + 100 } else { n })).collect();
            let lengths = vec![1; examples.len()];
            let batches = of_epoch(&examples, &lengths, Grouping::NoDuplicates, size, seed, 0);
            let mut seen = HashSet::new();
            for batch in &batches {
                prop_assert!(batch.len() <= size && batch.len() >= 2);
                let questions: HashSet<u32> = batch.iter().map(|&e| examples[e as usize].cluster).collect();
                prop_assert_eq!(questions.len(), batch.len());
                for &e in batch {
                    prop_assert!(seen.insert(e));
                    prop_assert!(!questions.contains(&examples[e as usize].negative_clusters[0]));
                }
            }
        }

        #[test]
        fn other_groupings_hold_every_example_once(count in 1usize..500, size in 1usize..40, epoch in 0usize..3) {
            let examples: Vec<Example> = (0..count as u32).map(|c| example(c, 1_000)).collect();
            let lengths: Vec<u32> = (0..count as u32).map(|i| i * 7 % 40).collect();
            for grouping in [Grouping::Shuffled, Grouping::Lengths] {
                let batches = of_epoch(&examples, &lengths, grouping, size, 1, epoch);
                prop_assert_eq!(&batches, &of_epoch(&examples, &lengths, grouping, size, 1, epoch));
                let mut all = batches.concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..count as u32).collect::<Vec<_>>());
            }
        }
    }
}
