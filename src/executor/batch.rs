//! Batches by token budget: which texts share a forward pass.
//!
//! A batch costs `rows × longest row`, so texts are sorted by token length first and a batch is closed when one more
//! text would pass the budget. The plan depends only on the lengths: on one kind of device the same corpus gives
//! the same batches, and so the same vectors bit for bit, with any number of threads.

use std::ops::Range;

/// How large a batch may be, and which texts may share one. `tuning.rs` has the shape for each kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Most tokens of a batch, padding included.
    pub max_tokens: usize,
    pub lengths: Lengths,
}

/// Which lengths the texts of a batch may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// Any lengths; texts are padded to the longest.
    Mixed,
    /// One length: no padding, and no mask in attention.
    Equal,
    /// One length after rounding up, and a rounded number of rows: a GPU compiles and tunes its kernels for each shape, so
    /// there must be few shapes.
    Rounded,
    /// Any lengths, end to end without padding in the same number of rows for every batch: one shape.
    Packed,
}

/// Rows of every packed batch, unless the user gives another number: enough to fill a large card.
pub const PACKED_ROWS: usize = 32_768;

/// The shape of a packed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedShape {
    /// Tokens, those that fill up included.
    pub rows: usize,
    /// Texts, those that fill up included.
    pub slots: usize,
}

impl PackedShape {
    /// Rows of a text on average at least, or slots would be computed for nothing.
    const ROWS_OF_A_SLOT: usize = 8;

    /// The shape of batches of at most `max_tokens`, or of so many `tokens` and `texts` if these are more.
    pub fn new(max_tokens: usize, tokens: usize, texts: usize) -> Self {
        let rows = max_tokens.max(tokens).next_multiple_of(64);
        Self { rows, slots: (max_tokens / Self::ROWS_OF_A_SLOT).max(texts) }
    }
}

impl BatchShape {
    /// The padded length of a text of `length` tokens.
    pub fn padded_length(self, length: usize) -> usize {
        match (self.lengths, length) {
            (Lengths::Mixed | Lengths::Equal | Lengths::Packed, _) => length,
            (Lengths::Rounded, ..=64) => length.next_multiple_of(8),
            (Lengths::Rounded, _) => length.next_multiple_of(64),
        }
    }

    /// The padded number of rows of a batch of `rows` texts, each padded to `length` tokens. On the CPU a product of one row
    /// is added up in another order than a product of several: without a second row, the last bits of a text's vector
    /// would depend on whether it is alone in its batch.
    pub fn padded_rows(self, rows: usize, length: usize) -> usize {
        match self.lengths {
            Lengths::Mixed => rows.max(2),
            Lengths::Equal | Lengths::Packed => rows,
            Lengths::Rounded => rows.next_power_of_two().min((self.max_tokens / length.max(1)).max(rows)),
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

/// Plans batches over `lengths` (tokens per text, special tokens included): `rows × longest row ≤ max_tokens` with the
/// longest row padded. A text longer than the budget gets a batch of its own. Unless lengths are [`Lengths::Mixed`], all
/// rows of a batch have the same padded length. Packed texts count their own tokens, without padding.
pub fn plan(lengths: &[u32], shape: BatchShape) -> BatchPlan {
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    order.sort_unstable_by_key(|&i| (lengths[i as usize], i));
    let mut batches = Vec::new();
    let (mut start, mut packed) = (0, 0);
    for (at, &text) in order.iter().enumerate() {
        let padded = |text: u32| shape.padded_length(lengths[text as usize] as usize);
        let longest = padded(text);
        let is_full = match shape.lengths {
            Lengths::Mixed => (at - start + 1) * longest > shape.max_tokens,
            Lengths::Equal | Lengths::Rounded => {
                at > start && padded(order[at - 1]) != longest || (at - start + 1) * longest > shape.max_tokens
            }
            Lengths::Packed => {
                let most = PackedShape::new(shape.max_tokens, 0, 1);
                packed + longest.max(1) > most.rows || at - start == most.slots
            }
        };
        if at > start && is_full {
            batches.push(start..at);
            (start, packed) = (at, 0);
        }
        packed += longest.max(1);
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
            max_tokens in 1usize..5000,
            mix in prop::sample::select(vec![Lengths::Mixed, Lengths::Equal, Lengths::Rounded, Lengths::Packed]),
        ) {
            let shape = BatchShape { max_tokens, lengths: mix };
            let plan = plan(&lengths, shape);
            let mut seen = plan.order.clone();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
            let mut next = 0;
            for batch in &plan.batches {
                prop_assert_eq!(batch.start, next);
                next = batch.end;
                let padded = |at: usize| shape.padded_length(lengths[plan.order[at] as usize] as usize);
                let longest = padded(batch.end - 1);
                if mix == Lengths::Packed {
                    let (tokens, most) = (batch.clone().map(padded).sum::<usize>(), PackedShape::new(max_tokens, 0, 1));
                    prop_assert!(batch.len() == 1 || tokens <= most.rows && batch.len() <= most.slots);
                    continue;
                }
                prop_assert!(batch.len() == 1 || batch.len() * longest <= max_tokens);
                prop_assert!(mix == Lengths::Mixed || padded(batch.start) == longest);
                let rows = shape.padded_rows(batch.len(), longest);
                prop_assert!(rows >= batch.len() && (rows <= batch.len().max(2) || rows * longest <= max_tokens));
            }
            prop_assert_eq!(next, lengths.len());
        }
    }
}
