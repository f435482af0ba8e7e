//! Which engine finds neighbours, and one search through whichever it is.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::device::is_plain_cpu;
use crate::progress::Progress;
use crate::search::cells::{self, Cells};
use crate::search::hnsw::{HnswConfig, HnswIndex};
use crate::search::tiles::Tiles;
use crate::search::update::Earlier;
use crate::search::{Neighbour, Query, Vectors, exact, gpu};

/// Up to this many texts `auto` searches exactly. Measured on two cores: see BENCHMARKS.md.
pub const AUTO_EXACT_TEXTS: usize = 1_000_000;

/// Which engine finds neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// HNSW graph: approximate, for corpora of millions.
    Hnsw,
    /// Every pair by blocked matrix products.
    Exact,
    /// Exact up to a million texts, HNSW beyond.
    Auto,
}

impl Engine {
    /// What `auto` means for a corpus of `texts`.
    pub fn resolve(self, texts: usize) -> Self {
        match self {
            Self::Auto if texts <= AUTO_EXACT_TEXTS => Self::Exact,
            Self::Auto => Self::Hnsw,
            chosen => chosen,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Hnsw => "hnsw",
            Self::Exact => "exact",
            Self::Auto => "auto",
        }
    }
}

/// An engine and what it works with.
pub struct Searcher<'a> {
    pub engine: Engine,
    /// Read if the engine is HNSW.
    pub hnsw: HnswConfig,
    /// Read if the engine is exact.
    pub tiles: Tiles,
    /// Who computes the cells of an exact search, if not this machine.
    pub cells: Option<&'a dyn Cells>,
}

/// What a search found.
pub struct Found {
    /// Neighbours of every row, the nearest first.
    pub lists: Vec<Vec<Neighbour>>,
    /// Rows whose list `top_k` cut off others above the floor; only the exact engine knows.
    pub cut_lists: Option<Vec<bool>>,
    /// Neighbours of the sampled rows. HNSW finds them without regard to the floor; the exact engine never looks below it.
    pub sampled: Vec<Vec<Neighbour>>,
}

impl Searcher<'_> {
    /// Neighbours of every usable row among the usable rows, and of the rows of `sample` as the auditor needs them.
    pub fn search(
        &self,
        vectors: Vectors,
        usable: &[bool],
        query: Query,
        sample: &[u32],
        progress: &Progress,
    ) -> Result<Found> {
        match self.engine.resolve(vectors.rows()) {
            Engine::Exact | Engine::Auto => {
                let (lists, cut) = match self.cells {
                    Some(cells) => cells::search(vectors, usable, query, cells)?,
                    None => {
                        let task = progress.task("search", "texts", vectors.rows());
                        let search = if is_plain_cpu(&self.tiles.device) { exact::search } else { gpu::search };
                        search(vectors, usable, query, &self.tiles, &task)?
                    }
                };
                let sampled = sample.iter().map(|&row| lists[row as usize].clone()).collect();
                Ok(Found { lists, cut_lists: Some(cut), sampled })
            }
            Engine::Hnsw => self.through_hnsw(vectors, usable, query, sample, progress),
        }
    }

    /// The lists of an earlier search brought up to date, exactly, whatever engine found them.
    pub fn update(
        &self,
        vectors: Vectors,
        usable: &[bool],
        query: Query,
        mut earlier: Earlier,
        sample: &[u32],
        progress: &Progress,
    ) -> Result<Found> {
        let (lists, cut) = match self.cells {
            Some(cells) => cells::update(vectors, usable, query, &mut earlier, cells)?,
            None => {
                let task = progress.task("search", "new texts", earlier.fresh.len());
                let update = if is_plain_cpu(&self.tiles.device) { exact::update } else { gpu::update };
                update(vectors, usable, query, &mut earlier, &self.tiles, &task)?
            }
        };
        let sampled = sample.iter().map(|&row| lists[row as usize].clone()).collect();
        Ok(Found { lists, cut_lists: Some(cut), sampled })
    }

    fn through_hnsw(
        &self,
        vectors: Vectors,
        usable: &[bool],
        query: Query,
        sample: &[u32],
        progress: &Progress,
    ) -> Result<Found> {
        let every: Vec<u32> = (0..vectors.rows() as u32).filter(|&row| usable[row as usize]).collect();
        let task = progress.task("index", "texts", every.len());
        let index = HnswIndex::build(vectors, usable, self.hnsw, &task)?;
        drop(task);
        let task = progress.task("search", "texts", every.len());
        let found = index.search(&every, query, &task)?;
        drop(task);
        let sampled = match sample {
            [] => Vec::new(),
            rows => {
                let unfloored = Query { floor: f32::MIN, ..query };
                index.search(rows, unfloored, &progress.task("audit", "texts", rows.len()))?
            }
        };
        let mut lists = vec![Vec::new(); vectors.rows()];
        for (&row, list) in every.iter().zip(found) {
            lists[row as usize] = list;
        }
        Ok(Found { lists, cut_lists: None, sampled })
    }
}
