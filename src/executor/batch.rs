//! Batches by token budget: which texts share a forward pass.
//!
//! A batch costs `rows × longest row`, so texts are sorted by token length first and a batch is closed when one more
//! text would pass the budget. The plan is a function of the lengths alone: the same corpus gives the same batches,
//! and so the same vectors bit for bit, whatever the device or the number of threads.

use std::ops::Range;

/// How batches are cut for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Most tokens of a batch, padding included.
    pub tokens: usize,
    pub shapes: Shapes,
    /// Shards whose texts are batched together.
    pub shards: usize,
}

/// Which texts may share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shapes {
    /// Texts of any length, padded to the longest.
    Any,
    /// Texts of one length: no padding, and no mask in attention.
    Unpadded,
    /// Batches of few shapes: a GPU compiles and tunes its kernels for each shape it meets.
    Few,
}

impl Cut {
    /// A batch's hidden states stay in a core's cache.
    pub const CPU: Self = Self { tokens: 1024, shapes: Shapes::Any, shards: 1 };
    /// The same for libtorch, whose attention is twice as fast without a mask.
    pub const TCH: Self = Self { tokens: 1024, shapes: Shapes::Unpadded, shards: 4 };
    /// Enough to fill a large card.
    pub const GPU: Self = Self { tokens: 65_536, shapes: Shapes::Few, shards: 16 };

    /// The padded length of a text of `length` tokens.
    pub fn padded(self, length: usize) -> usize {
        match (self.shapes, length) {
            (Shapes::Any | Shapes::Unpadded, _) => length,
            (Shapes::Few, ..=64) => length.next_multiple_of(8),
            (Shapes::Few, _) => length.next_multiple_of(64),
        }
    }

    /// The padded number of rows of a batch of `rows` texts, each padded to `length` tokens. A product of one row is
    /// added up in another order than one of several, so on the processor a text alone would have other last bits
    /// than in company.
    pub fn padded_rows(self, rows: usize, length: usize) -> usize {
        match self.shapes {
            Shapes::Any => rows.max(2),
            Shapes::Unpadded => rows,
            Shapes::Few => rows.next_power_of_two().min((self.tokens / length.max(1)).max(rows)),
        }
    }
}

/// The order in which texts are batched and where each batch ends.
#[derive(Debug, PartialEq)]
pub struct BatchPlan {
    /// Text indices, shortest first, ties by index.
    pub order: Vec<u32>,
    /// Ranges of `order`, consecutive and covering all of it.
    pub batches: Vec<Range<usize>>,
}

/// Plans batches over `lengths` (tokens per text, special tokens included): `rows × longest row ≤ cut.tokens` with
/// the longest padded, save that a text longer than the budget has a batch of its own. But for [`Shapes::Any`], all rows
/// of a batch have the same padded length.
pub fn plan(lengths: &[u32], cut: Cut) -> BatchPlan {
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    order.sort_unstable_by_key(|&i| (lengths[i as usize], i));
    let mut batches = Vec::new();
    let mut start = 0;
    for (at, &text) in order.iter().enumerate() {
        let padded = |text: u32| cut.padded(lengths[text as usize] as usize);
        let longest = padded(text);
        let other_shape = cut.shapes != Shapes::Any && at > start && padded(order[at - 1]) != longest;
        if at > start && (other_shape || (at - start + 1) * longest > cut.tokens) {
            batches.push(start..at);
            start = at;
        }
    }
    if start < order.len() {
        batches.push(start..order.len());
    }
    BatchPlan { order, batches }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn covers_every_text_once_within_the_budget(
            lengths in prop::collection::vec(1u32..300, 0..400),
            tokens in 1usize..5000,
            shapes in prop::sample::select(vec![Shapes::Any, Shapes::Unpadded, Shapes::Few]),
        ) {
            let cut = Cut { tokens, shapes, shards: 1 };
            let plan = plan(&lengths, cut);
            let mut seen = plan.order.clone();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
            let mut next = 0;
            for batch in &plan.batches {
                prop_assert_eq!(batch.start, next);
                next = batch.end;
                let padded = |at: usize| cut.padded(lengths[plan.order[at] as usize] as usize);
                let longest = padded(batch.end - 1);
                prop_assert!(batch.len() == 1 || batch.len() * longest <= tokens);
                prop_assert!(shapes == Shapes::Any || padded(batch.start) == longest);
                let rows = cut.padded_rows(batch.len(), longest);
                prop_assert!(rows >= batch.len() && (rows <= batch.len().max(2) || rows * longest <= tokens));
            }
            prop_assert_eq!(next, lengths.len());
        }
    }
}
