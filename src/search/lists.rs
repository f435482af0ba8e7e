//! Every row's list of neighbours, filled from many tiles at the same time.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::search::top_k::TopK;
use crate::search::{Neighbour, Query};

/// The lists, locked a block of rows at a time, and the lowest cosine that each row still accepts.
pub struct Lists {
    block: usize,
    query: Query,
    min_scores: Vec<AtomicU32>,
    kept: Vec<Mutex<Vec<TopK>>>,
}

impl Lists {
    /// Empty lists, in blocks of `block` rows. Rows that are not `usable` accept nothing.
    pub fn new(usable: &[bool], block: usize, query: Query) -> Self {
        let min_score = |&usable: &bool| AtomicU32::new(if usable { query.floor } else { f32::INFINITY }.to_bits());
        let min_scores: Vec<AtomicU32> = usable.iter().map(min_score).collect();
        let kept = (min_scores.chunks(block)).map(|rows| Mutex::new(vec![TopK::default(); rows.len()])).collect();
        Self { block, query, min_scores, kept }
    }

    /// Continues from lists that an earlier search found, each with whether `top_k` cut it. A list that was not cut still
    /// accepts everything above the floor: only so is it known whether it is cut now.
    pub fn resume(found: Vec<Vec<Neighbour>>, cut: &[bool], usable: &[bool], block: usize, query: Query) -> Self {
        let min_score = |((list, &cut), &usable): ((&Vec<Neighbour>, &bool), &bool)| match (usable, cut) {
            (false, _) => f32::INFINITY,
            (true, true) => list.last().map_or(query.floor, |last| last.cosine),
            (true, false) => query.floor,
        };
        let min_scores: Vec<AtomicU32> =
            found.iter().zip(cut).zip(usable).map(|row| AtomicU32::new(min_score(row).to_bits())).collect();
        let mut top = found.into_iter().zip(cut).map(|(list, &cut)| TopK::resume(list, cut));
        let blocks = cut.len().div_ceil(block);
        let kept = (0..blocks).map(|_| Mutex::new(top.by_ref().take(block).collect())).collect();
        Self { block, query, min_scores, kept }
    }

    /// Rows of a block.
    pub fn rows(&self, block: usize) -> Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.min_scores.len())
    }

    /// The cosine below which a row accepts nothing. It only rises.
    pub fn min_score(&self, row: usize) -> f32 {
        f32::from_bits(self.min_scores[row].load(Ordering::Relaxed))
    }

    /// Adds pairs `(a, b, cosine)` to the lists of both; all `a` are in block `left`, all `b` in block `right`.
    pub fn offer(&self, left: usize, right: usize, hits: &[(usize, usize, f32)]) -> Result<()> {
        self.offer_to(left, hits.iter().map(|&(a, b, cosine)| (a, Neighbour { row: b as u32, cosine })))?;
        self.offer_to(right, hits.iter().map(|&(a, b, cosine)| (b, Neighbour { row: a as u32, cosine })))
    }

    /// Adds neighbours to the lists of rows that are all in one block.
    pub fn offer_to(&self, block: usize, hits: impl Iterator<Item = (usize, Neighbour)>) -> Result<()> {
        let mut lists = self.kept[block].lock().ok().context("a search worker failed")?;
        for (row, neighbour) in hits {
            if let Some(raised) = lists[row - block * self.block].push(neighbour, self.query) {
                self.min_scores[row].store(raised.to_bits(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Neighbours of every row, and whether k cut off others above the floor.
    pub fn finish(self) -> Result<(Vec<Vec<Neighbour>>, Vec<bool>)> {
        let mut cut_lists = Vec::with_capacity(self.min_scores.len());
        let mut lists = Vec::with_capacity(self.min_scores.len());
        for block in self.kept {
            for top in block.into_inner().ok().context("a search worker failed")? {
                let (list, cut) = top.finish(self.query);
                cut_lists.push(cut);
                lists.push(list);
            }
        }
        Ok((lists, cut_lists))
    }
}
