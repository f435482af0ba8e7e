//! Approximate search through a Hierarchical Navigable Small World graph (Malkov & Yashunin 2018, arXiv:1603.09320).
//! The only user of `hnsw_rs`.
//!
//! The graph holds the vectors in 8 bits: a walk reads vectors at random places of memory, and a quarter of the bytes
//! is most of the time saved. What it finds is scored again from the f32 vectors, so the cosines reported are exact;
//! only which neighbours are found is approximate, and every run audits that.
//!
//! `hnsw_rs` panics on negative distances and takes a zero vector for everybody's neighbour: distances are clamped and
//! unusable vectors are never inserted.

use anyhow::Result;
use hnsw_rs::prelude::{Distance, Hnsw};
use multiversion::multiversion;
use rayon::prelude::*;

use crate::progress::Task;
use crate::search::dot::dot;
use crate::search::top_k::TopK;
use crate::search::{Neighbour, Query, Vectors};

/// Graph parameters.
#[derive(Debug, Clone, Copy)]
pub struct HnswConfig {
    /// Links a node keeps per layer (M); the ground layer keeps twice as many.
    pub links: usize,
    /// Candidates kept while inserting (efConstruction).
    pub ef_construction: usize,
    /// Candidates kept while searching (ef), at least.
    pub ef_search: usize,
    /// Insert one vector at a time: slower, and the same graph every time.
    pub deterministic: bool,
}

impl Default for HnswConfig {
    /// What `mine` uses without the `--hnsw-` flags.
    fn default() -> Self {
        Self { links: 16, ef_construction: 100, ef_search: 128, deterministic: false }
    }
}

const LAYERS: usize = 16;
const CHUNK: usize = 512;
/// Largest code: the largest component of any vector takes it.
const MOST: f32 = 127.0;

/// `1 − cosine` of unit vectors in 8 bits, never negative.
#[derive(Clone, Copy)]
struct CosineDistance {
    /// Square of a code's step.
    unit: f32,
}

impl Distance<i8> for CosineDistance {
    fn eval(&self, a: &[i8], b: &[i8]) -> f32 {
        (1.0 - dot_i8(a, b) as f32 * self.unit).max(0.0)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
}

/// A built graph over the usable rows.
pub struct HnswIndex<'a> {
    graph: Hnsw<'static, i8, CosineDistance>,
    codes: Vec<i8>,
    vectors: Vectors<'a>,
    ef_search: usize,
}

impl<'a> HnswIndex<'a> {
    /// Inserts every usable row. Progress counts rows.
    pub fn build(vectors: Vectors<'a>, usable: &[bool], config: HnswConfig, task: &Task) -> Result<Self> {
        let rows: Vec<usize> = (0..vectors.rows()).filter(|&row| usable[row]).collect();
        let largest =
            rows.iter().flat_map(|&row| vectors.row(row)).fold(f32::MIN_POSITIVE, |most, v| most.max(v.abs()));
        let step = largest / MOST;
        let codes: Vec<i8> = vectors.values.par_iter().map(|v| (v / step).round() as i8).collect();
        let distance = CosineDistance { unit: step * step };
        let graph = Hnsw::new(config.links, vectors.rows().max(1), LAYERS, config.ef_construction, distance);
        let code = |row: usize| &codes[row * vectors.width..(row + 1) * vectors.width];
        for chunk in rows.chunks(CHUNK) {
            if config.deterministic {
                chunk.iter().for_each(|&row| graph.insert_slice((code(row), row)));
            } else {
                chunk.par_iter().for_each(|&row| graph.insert_slice((code(row), row)));
            }
            task.advance(chunk.len())?;
        }
        Ok(Self { graph, codes, vectors, ef_search: config.ef_search })
    }

    /// Neighbours that the graph finds for `rows`. Progress counts rows.
    pub fn search(&self, rows: &[u32], query: Query, task: &Task) -> Result<Vec<Vec<Neighbour>>> {
        let width = self.vectors.width;
        let one = |&row: &u32| {
            let at = row as usize;
            // one more than asked for: a row finds itself
            let wanted = query.top_k + 1;
            let found =
                self.graph.search(&self.codes[at * width..(at + 1) * width], wanted, self.ef_search.max(wanted));
            let mut list = TopK::default();
            for other in found.iter().map(|neighbour| neighbour.d_id).filter(|&other| other != at) {
                let cosine = dot(self.vectors.row(at), self.vectors.row(other));
                list.push(Neighbour { row: other as u32, cosine }, query);
            }
            list.finish(query).0
        };
        let mut lists = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(CHUNK) {
            lists.par_extend(chunk.par_iter().map(one));
            task.advance(chunk.len())?;
        }
        Ok(lists)
    }
}
