//! Vectors to candidate pairs: each text's nearest neighbours above the cosine floor, every unordered pair once.

use anyhow::Result;
use burn::tensor::Device;
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use crate::device::is_plain_cpu;
use crate::hash::hash64;
use crate::progress::{Progress, Task};
use crate::search::audit::{Recall, recall};
use crate::search::hnsw::{HnswConfig, HnswIndex};
use crate::search::{Neighbour, Query, Vectors, exact, gpu};

/// Part of the stage's fingerprint; raise it when the candidates of some vectors change.
pub const VERSION: u32 = 1;

/// Up to this many texts `auto` searches exactly. Measured on two cores: see BENCHMARKS.md.
pub const AUTO_EXACT_TEXTS: usize = 1_000_000;

/// Rows whose neighbours are also found by the referee.
pub const AUDIT_ROWS: usize = 1000;

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

/// Finds candidates and audits the engine. The exact engine runs on `device`, a GPU or the plain processor.
pub fn find(vectors: Vectors, config: &CandidatesConfig, device: &Device, progress: &Progress) -> Result<Candidates> {
    let rows = vectors.rows();
    let usable: Vec<bool> = (0..rows).map(|row| is_usable(vectors.row(row))).collect();
    let count = usable.iter().filter(|&&usable| usable).count();
    let query = Query { top_k: config.query.top_k.min(count.saturating_sub(1)), ..config.query };
    let every: Vec<u32> = (0..rows as u32).filter(|&row| usable[row as usize]).collect();
    let sample = sample_rows(&every, AUDIT_ROWS, config.seed);
    let unfloored = Query { floor: f32::MIN, ..query };

    let (lists, full_lists, audited) = match config.engine.resolve(rows) {
        Engine::Exact | Engine::Auto => {
            let task = progress.task("search", "texts", rows);
            let search = if is_plain_cpu(device) { exact::search } else { gpu::search };
            let (lists, full) = search(vectors, &usable, query, device, &task)?;
            let audited = sample.iter().map(|&row| lists[row as usize].clone()).collect::<Vec<_>>();
            (lists, Some(full), audited)
        }
        Engine::Hnsw => {
            let task = progress.task("index", "texts", count);
            let index = HnswIndex::build(vectors, &usable, config.hnsw, &task)?;
            drop(task);
            let task = progress.task("search", "texts", count);
            let found = index.search(&every, query, &task)?;
            drop(task);
            let audited = index.search(&sample, unfloored, &progress.task("audit", "texts", sample.len()))?;
            let mut lists = vec![Vec::new(); rows];
            for (&row, list) in every.iter().zip(found) {
                lists[row as usize] = list;
            }
            (lists, None, audited)
        }
    };
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
