//! Vectors to candidate pairs: each text's nearest neighbours above the cosine floor, every unordered pair once.

use anyhow::Result;
use rayon::slice::ParallelSliceMut;

use crate::hash::hash64;
use crate::progress::{Progress, Task};
use crate::search::audit::{Recall, recall};
use crate::search::engine::{Engine, Found, Searcher};
use crate::search::hnsw::HnswConfig;
use crate::search::tiles::Tiles;
use crate::search::{Neighbour, Query, Vectors, exact};

/// Part of the stage's fingerprint; raise it when the candidates of some vectors change.
pub const VERSION: u32 = 1;

/// Rows whose neighbours are also found by the referee.
pub const AUDIT_ROWS: usize = 1000;

/// What the stage is asked for.
#[derive(Debug, Clone, Copy)]
pub struct CandidatesConfig {
    pub engine: Engine,
    pub query: Query,
    pub hnsw: HnswConfig,
    /// Chooses the audited rows.
    pub seed: u64,
}

/// Two texts, a < b, and their cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub a: u32,
    pub b: u32,
    pub cosine: f32,
}

/// Candidates in order of (a, b), what was left out, and how much the engine missed.
pub struct Candidates {
    pub pairs: Vec<Candidate>,
    /// Vectors that are zero or not finite: they have no neighbours.
    pub unusable_vectors: usize,
    /// Of every text's k nearest, those under the floor (a pair counts once for each side); only the exact engine knows.
    pub below_floor: Option<u64>,
    /// Texts with more than k neighbours above the floor, where k decided; only the exact engine knows.
    pub full_lists: Option<usize>,
    pub recall: Recall,
}

/// Finds candidates and audits the engine. The exact engine computes `tiles`.
pub fn find(vectors: Vectors, config: &CandidatesConfig, tiles: &Tiles, progress: &Progress) -> Result<Candidates> {
    let rows = vectors.rows();
    let usable: Vec<bool> = (0..rows).map(|row| is_usable(vectors.row(row))).collect();
    let count = usable.iter().filter(|&&usable| usable).count();
    let query = Query { top_k: config.query.top_k.min(count.saturating_sub(1)), ..config.query };
    let every: Vec<u32> = (0..rows as u32).filter(|&row| usable[row as usize]).collect();
    let sample = sample_rows(&every, AUDIT_ROWS, config.seed);
    let unfloored = Query { floor: f32::MIN, ..query };

    let searcher = Searcher { engine: config.engine, hnsw: config.hnsw, tiles: tiles.clone() };
    let Found { lists, full_lists, sampled: audited } = searcher.search(vectors, &usable, query, &sample, progress)?;
    let task: Task = progress.task("audit", "texts", sample.len());
    let referee = exact::nearest_by_dot(vectors, &usable, &sample, unfloored, &task)?;
    drop(task);
    let kept: u64 = lists.iter().map(|list| list.len() as u64).sum();
    Ok(Candidates {
        recall: audit(&audited, &referee, query.floor, full_lists.is_some()),
        pairs: unordered(&lists),
        unusable_vectors: rows - count,
        below_floor: full_lists.map(|_| (count * query.top_k) as u64 - kept),
        full_lists,
    })
}

/// The exact engine never looks below the floor, so its recall@k is of what is above it too.
fn audit(found: &[Vec<Neighbour>], referee: &[Vec<Neighbour>], floor: f32, exact: bool) -> Recall {
    let all = recall(found, referee, floor);
    if exact { Recall { at_k: all.above_floor, ..all } } else { all }
}

fn is_usable(vector: &[f32]) -> bool {
    vector.iter().all(|v| v.is_finite()) && vector.iter().any(|&v| v != 0.0)
}

/// `count` rows by a seeded hash of their number: no generator state, the same sample on every machine.
fn sample_rows(rows: &[u32], count: usize, seed: u64) -> Vec<u32> {
    let key = |row: u32| hash64(&[seed.to_le_bytes(), u64::from(row).to_le_bytes()].concat());
    let mut keyed: Vec<(u64, u32)> = rows.iter().map(|&row| (key(row), row)).collect();
    keyed.sort_unstable();
    keyed.truncate(count);
    let mut sample: Vec<u32> = keyed.into_iter().map(|(_, row)| row).collect();
    sample.sort_unstable();
    sample
}

fn unordered(lists: &[Vec<Neighbour>]) -> Vec<Candidate> {
    let mut pairs: Vec<Candidate> = lists
        .iter()
        .enumerate()
        .flat_map(|(row, list)| {
            let row = row as u32;
            list.iter().map(move |n| Candidate { a: row.min(n.row), b: row.max(n.row), cosine: n.cosine })
        })
        .collect();
    pairs.par_sort_unstable_by_key(|pair| (pair.a, pair.b));
    pairs.dedup_by_key(|pair| (pair.a, pair.b));
    pairs
}
