//! The best k of a stream of neighbours, in bounded memory, whatever order they come in.

use std::cmp::Ordering;

use crate::search::{Neighbour, Query};

/// Keeps up to twice `k` neighbours and throws the worse half away when full.
#[derive(Debug, Clone, Default)]
pub struct TopK {
    kept: Vec<Neighbour>,
    cut: bool,
}

/// Nearest first; ties to the smaller row, so that the order is total.
fn nearer(a: &Neighbour, b: &Neighbour) -> Ordering {
    b.cosine.total_cmp(&a.cosine).then(a.row.cmp(&b.row))
}

/// Whether `a` comes before `b` in a list.
pub fn is_nearer(a: &Neighbour, b: &Neighbour) -> bool {
    nearer(a, b) == Ordering::Less
}

impl TopK {
    /// Continues from the best `k` that a search found before; `cut` says whether it knew of more.
    pub fn resume(kept: Vec<Neighbour>, cut: bool) -> Self {
        Self { kept, cut }
    }

    /// Offers a neighbour; returns the cosine below which no other can enter, when that rose.
    pub fn push(&mut self, neighbour: Neighbour, query: Query) -> Option<f32> {
        if neighbour.cosine < query.floor || query.top_k == 0 {
            return None;
        }
        self.kept.push(neighbour);
        if self.kept.len() < 2 * query.top_k {
            return None;
        }
        self.kept.select_nth_unstable_by(query.top_k - 1, nearer);
        self.kept.truncate(query.top_k);
        self.cut = true;
        self.kept.last().map(|worst| worst.cosine)
    }

    /// The best k, nearest first, and whether others at or above the floor had to give way.
    pub fn finish(mut self, query: Query) -> (Vec<Neighbour>, bool) {
        self.kept.sort_unstable_by(nearer);
        let cut = self.cut || self.kept.len() > query.top_k;
        self.kept.truncate(query.top_k);
        self.kept.shrink_to_fit();
        (self.kept, cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_sorting(cosines in prop::collection::vec(0u8..20, 0..200), top_k in 1usize..12) {
            let query = Query { top_k, floor: 0.3 };
            let all: Vec<Neighbour> = cosines.iter().enumerate()
                .map(|(row, &c)| Neighbour { row: row as u32, cosine: f32::from(c) / 20.0 }).collect();
            let mut top = TopK::default();
            for &neighbour in &all {
                top.push(neighbour, query);
            }
            let mut expected: Vec<Neighbour> = all.into_iter().filter(|n| n.cosine >= query.floor).collect();
            expected.sort_by(nearer);
            let cut = expected.len() > top_k;
            expected.truncate(top_k);
            prop_assert_eq!(top.finish(query), (expected, cut));
        }
    }
}
