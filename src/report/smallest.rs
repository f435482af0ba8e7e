//! The pairs with the smallest keys out of a long stream, in little memory.

use crate::run::schema::PairRow;

/// Keeps `most` pairs; ties go to the pair that comes first in the input.
pub struct Smallest {
    most: usize,
    kept: Vec<(f32, PairRow)>,
    /// A larger key can no longer be among the smallest.
    bound: f32,
}

impl Smallest {
    pub fn new(most: usize) -> Self {
        Self { most, kept: Vec::new(), bound: f32::INFINITY }
    }

    pub fn push(&mut self, key: f32, pair: PairRow) {
        if key > self.bound {
            return;
        }
        self.kept.push((key, pair));
        if self.kept.len() >= 4 * self.most.max(64) {
            self.shrink();
        }
    }

    /// The pairs, smallest key first.
    pub fn finish(mut self) -> Vec<PairRow> {
        self.shrink();
        self.kept.into_iter().map(|(_, pair)| pair).collect()
    }

    fn shrink(&mut self) {
        self.kept.sort_unstable_by(|(x, p), (y, q)| x.total_cmp(y).then((p.a, p.b).cmp(&(q.a, q.b))));
        self.kept.truncate(self.most);
        if self.kept.len() == self.most
            && let Some((last, _)) = self.kept.last()
        {
            self.bound = *last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_pairs_that_sorting_would_keep() {
        let pair = |a| PairRow { a, b: a + 1, ..PairRow::default() };
        let key = |a: u32| (a * 7919 % 1000) as f32;
        let mut smallest = Smallest::new(5);
        (0..3000).for_each(|a| smallest.push(key(a), pair(a)));
        let mut expected: Vec<u32> = (0..3000).collect();
        expected.sort_by_key(|&a| (key(a) as u32, a));
        assert_eq!(smallest.finish().iter().map(|p| p.a).collect::<Vec<_>>(), expected[..5]);
    }
}
