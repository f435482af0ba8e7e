//! Both engines against brute force.

use std::sync::Arc;

use dupmine::device::plain_cpu;
use dupmine::mining::candidates::{self, Candidate, SearchConfig, unordered};
use dupmine::mining::neighbour_lists::Counts;
use dupmine::progress::Progress;
use dupmine::search::engine::Engine;
use dupmine::search::hnsw::HnswConfig;
use dupmine::search::tiles::Tiles;
use dupmine::search::{Query, Vectors};
use proptest::prelude::*;

fn progress() -> Progress {
    Progress::new(true, Arc::default())
}

fn config(engine: Engine, top_k: usize, floor: f32) -> SearchConfig {
    let hnsw = HnswConfig { links: 24, ef_construction: 200, ef_search: 192, deterministic: false };
    SearchConfig { engine, query: Query { top_k, floor }, reserve: 0, hnsw, seed: 1 }
}

struct Found {
    pairs: Vec<Candidate>,
    counts: Counts,
}

fn search(values: &[f32], width: usize, config: &SearchConfig) -> Found {
    let found = candidates::search(
        Vectors { values, width },
        config,
        None,
        (&Tiles { device: plain_cpu(), rows: 1024 }, None),
        &progress(),
    )
    .unwrap();
    Found { pairs: unordered(&found.lists, usize::MAX), counts: found.counts }
}

fn normalise(values: &mut [f32], width: usize) {
    for vector in values.chunks_mut(width) {
        let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        if norm > 0.0 {
            vector.iter_mut().for_each(|v| *v /= norm);
        }
    }
}

/// Clustered vectors from a small generator: some rows close to each other, most far.
fn vectors(rows: usize, width: usize, mut state: u64) -> Vec<f32> {
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let centres: Vec<f32> = (0..rows.div_ceil(5) * width).map(|_| next()).collect();
    let mut values: Vec<f32> = (0..rows * width)
        .map(|at| centres[at / width % rows.div_ceil(5) * width + at % width] + 0.8 * next())
        .collect();
    normalise(&mut values, width);
    values
}

/// Every pair by the definition: in either's k nearest, at or above the floor.
fn brute_force(values: &[f32], width: usize, top_k: usize, floor: f32) -> Vec<(u32, u32)> {
    let rows = values.len() / width;
    let row = |at: usize| &values[at * width..(at + 1) * width];
    let usable = |at: usize| row(at).iter().any(|&v| v != 0.0);
    let mut pairs = Vec::new();
    for a in (0..rows).filter(|&a| usable(a)) {
        let mut others: Vec<(f32, usize)> = (0..rows)
            .filter(|&b| b != a && usable(b))
            .map(|b| (dupmine::search::dot::dot(row(a), row(b)), b))
            .collect();
        others.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        pairs
            .extend(others.iter().take(top_k).filter(|o| o.0 >= floor).map(|o| (a.min(o.1) as u32, a.max(o.1) as u32)));
    }
    pairs.sort();
    pairs.dedup();
    pairs
}

fn keys(pairs: &[Candidate]) -> Vec<(u32, u32)> {
    pairs.iter().map(|pair| (pair.a, pair.b)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn exact_search_is_brute_force(rows in 0usize..60, top_k in 1usize..80, floor in -1.0f32..1.0, seed in 0u64..1000) {
        let mut values = vectors(rows, 24, seed);
        if rows > 3 {
            values[24..48].fill(0.0);
        }
        let found = search(&values, 24, &config(Engine::Exact, top_k, floor));
        prop_assert_eq!(keys(&found.pairs), brute_force(&values, 24, top_k, floor));
        prop_assert_eq!(found.counts.recall_above_min_cosine, 1.0);
        prop_assert_eq!(found.counts.unusable_vectors, usize::from(rows > 3));
    }
}

#[test]
fn exact_search_over_several_blocks_is_brute_force() {
    let values = vectors(2500, 32, 7);
    for (top_k, floor) in [(10, 0.5), (3, -1.0), (100, 0.7)] {
        let found = search(&values, 32, &config(Engine::Exact, top_k, floor));
        assert_eq!(keys(&found.pairs), brute_force(&values, 32, top_k, floor), "k {top_k}, floor {floor}");
    }
}

#[test]
fn hnsw_finds_nearly_all_above_the_floor_with_exact_cosines() {
    let values = vectors(3000, 64, 3);
    let exact = search(&values, 64, &config(Engine::Exact, 20, 0.5));
    let found = search(&values, 64, &config(Engine::Hnsw, 20, 0.5));
    let all: std::collections::HashMap<(u32, u32), f32> =
        exact.pairs.iter().map(|pair| ((pair.a, pair.b), pair.cosine)).collect();
    assert!(exact.pairs.len() > 2000, "{}", exact.pairs.len());
    assert!(found.pairs.iter().all(|pair| all.get(&(pair.a, pair.b)) == Some(&pair.cosine)));
    let share = found.pairs.len() as f64 / exact.pairs.len() as f64;
    assert!(share > 0.99, "{share}");
    assert!(
        (found.counts.recall_above_min_cosine - share).abs() < 0.01,
        "the audit says {:?}, the truth is {share}",
        found.counts
    );
}

#[test]
fn the_audit_sees_a_bad_index() {
    let values = vectors(3000, 64, 3);
    let mut config = config(Engine::Hnsw, 20, 0.5);
    config.hnsw = HnswConfig { links: 2, ef_construction: 2, ef_search: 1, deterministic: true };
    let found = search(&values, 64, &config);
    assert!(found.counts.recall_above_min_cosine < 0.99, "{:?}", found.counts);
}

#[test]
fn zero_and_non_finite_vectors_have_no_neighbours() {
    let mut values = vectors(50, 16, 1);
    values[..16].fill(0.0);
    values[16] = f32::NAN;
    values[32] = f32::INFINITY;
    for engine in [Engine::Exact, Engine::Hnsw] {
        let found = search(&values, 16, &config(engine, 60, -1.0));
        assert_eq!(found.counts.unusable_vectors, 3);
        assert!(found.pairs.iter().all(|pair| pair.a > 2));
        assert_eq!(found.pairs.len(), 47 * 46 / 2);
    }
}
