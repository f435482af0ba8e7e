//! How much an engine misses: its answers for a sample of rows against the referee's.

use std::collections::HashSet;

use crate::search::Neighbour;

/// Shares found, over all sampled rows together. 1 when there was nothing to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// Of the k nearest, whatever their cosine.
    pub at_k: f64,
    /// Of those among the k nearest that are at or above the floor: what mining needs.
    pub above_floor: f64,
}

/// Compares `found` with `exact`, list by list; both hold up to k neighbours without regard to the floor.
pub fn recall(found: &[Vec<Neighbour>], exact: &[Vec<Neighbour>], floor: f32) -> Recall {
    let (mut all, mut all_found, mut above, mut above_found) = (0u64, 0u64, 0u64, 0u64);
    for (found, exact) in found.iter().zip(exact) {
        let found: HashSet<u32> = found.iter().map(|neighbour| neighbour.row).collect();
        for neighbour in exact {
            let hit = u64::from(found.contains(&neighbour.row));
            all += 1;
            all_found += hit;
            if neighbour.cosine >= floor {
                above += 1;
                above_found += hit;
            }
        }
    }
    let share = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
    Recall { at_k: share(all_found, all), above_floor: share(above_found, above) }
}
