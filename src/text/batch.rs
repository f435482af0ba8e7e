//! Batches by token budget: which texts share a forward pass.
//!
//! A batch costs `rows × longest row`, so texts are sorted by token length first and a batch is closed when one more
//! text would pass the budget. The plan is a function of the lengths alone: the same corpus gives the same batches,
//! and so the same vectors bit for bit, whatever the device or the number of threads.

use std::ops::Range;

/// The order in which texts are batched and where each batch ends.
#[derive(Debug, PartialEq)]
pub struct BatchPlan {
    /// Text indices, shortest first, ties by index.
    pub order: Vec<u32>,
    /// Ranges of `order`, consecutive and covering all of it.
    pub batches: Vec<Range<usize>>,
}

/// Plans batches over `lengths` (tokens per text, special tokens included): `rows × longest row ≤ token_budget`,
/// save that a text longer than the budget has a batch of its own.
pub fn plan(lengths: &[u32], token_budget: usize) -> BatchPlan {
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    order.sort_unstable_by_key(|&i| (lengths[i as usize], i));
    let mut batches = Vec::new();
    let mut start = 0;
    for (at, &text) in order.iter().enumerate() {
        let longest = lengths[text as usize] as usize;
        if at > start && (at - start + 1) * longest > token_budget {
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
        fn covers_every_text_once_within_the_budget(lengths in prop::collection::vec(1u32..300, 0..400), budget in 1usize..5000) {
            let plan = plan(&lengths, budget);
            let mut seen = plan.order.clone();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
            let mut next = 0;
            for batch in &plan.batches {
                prop_assert_eq!(batch.start, next);
                next = batch.end;
                let longest = lengths[plan.order[batch.end - 1] as usize] as usize;
                prop_assert!(batch.len() == 1 || batch.len() * longest <= budget);
            }
            prop_assert_eq!(next, lengths.len());
        }
    }
}
