//! Exact search with the products on a GPU.
//!
//! As in [`crate::search::exact`], the matrix of all cosines is computed in tiles, half of it by symmetry. A tile never
//! leaves the GPU: of every 64 neighbouring scores only the largest is copied to the processor. If that reaches the
//! minimum, the 64 pairs are scored again by [`dot`] on the processor, while the GPU computes the next tile. Cosines and lists are
//! therefore those of `exact`, bit for bit, whatever the GPU rounds.

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::progress::Task;
use crate::search::dot::dot;
use crate::search::lists::Lists;
use crate::search::tiles::Tiles;
use crate::search::{Neighbour, Query, Vectors};

/// Scores that share a maximum.
const STRETCH: usize = 64;

/// The largest error of a GPU's product. Tensor cores may round the inputs to 11 bits (TF32): for unit vectors at most
/// 2 · 2⁻¹¹ · Σ|aᵢ bᵢ| ≤ 2⁻¹⁰.
const ROUNDING: f32 = 2e-3;

/// Neighbours of every row, and whether `top_k` cut off others above the floor. As
/// [`crate::search::exact::search`].
pub fn search(
    vectors: Vectors,
    usable: &[bool],
    query: Query,
    tiles: &Tiles,
    task: &Task,
) -> Result<(Vec<Vec<Neighbour>>, Vec<bool>)> {
    let (block, device) = (tiles.rows, &tiles.device);
    let lists = Lists::new(usable, block, query);
    let blocks = vectors.rows().div_ceil(block);
    let tensors: Vec<Tensor<2>> =
        (0..blocks).map(|at| block_tensor(vectors, usable, at * block, block, device)).collect();
    let pairs = (0..blocks).flat_map(|left| (left..blocks).map(move |right| (left, right)));
    let mut running = None;
    for tile in pairs.map(Some).chain([None]) {
        let started = tile.map(|(left, right)| (left, right, maxima(&tensors[left], &tensors[right])));
        device.flush().context("the GPU failed")?;
        let Some((left, right, maxima)) = std::mem::replace(&mut running, started) else { continue };
        let maxima = maxima.try_into_data().context("the GPU failed")?;
        let maxima: &[f32] = maxima.as_slice().ok().context("tiles are f32")?;
        let lowest = lists.lowest(lists.rows(right));
        let hits: Vec<(usize, usize, f32)> = (lists.rows(left).into_par_iter())
            .zip(maxima.par_chunks(block / STRETCH))
            .filter(|&(a, _)| usable[a])
            .flat_map_iter(|(a, maxima)| {
                let (lists, min_score) = (&lists, lists.min_score(a));
                let stretches = maxima.iter().enumerate();
                // a NaN maximum hides the other scores of its stretch: score the stretch again
                let reaches = move |most: f32| most >= min_score.min(lowest) - ROUNDING || most.is_nan();
                stretches.filter(move |&(_, &most)| reaches(most)).flat_map(move |(at, _)| {
                    let first = right * block + at * STRETCH;
                    let others = first.max(a + 1)..(first + STRETCH).min(vectors.rows());
                    let scored =
                        others.filter(|&b| usable[b]).map(move |b| (a, b, dot(vectors.row(a), vectors.row(b))));
                    scored.filter(move |&(_, b, cosine)| cosine >= min_score.min(lists.min_score(b)))
                })
            })
            .collect();
        lists.offer(left, right, &hits)?;
        if right + 1 == blocks {
            task.advance(lists.rows(left).len())?;
        }
        task.check()?;
    }
    lists.finish()
}

/// The largest of every stretch of a tile's scores, `[block, block / STRETCH]`.
fn maxima(left: &Tensor<2>, right: &Tensor<2>) -> Tensor<2> {
    let tile = left.clone().matmul(right.clone().transpose());
    let [block, width] = tile.dims();
    tile.reshape([block, width / STRETCH, STRETCH]).max_dim(2).reshape([block, width / STRETCH])
}

/// Rows from `first` on, filled up with zeros to a whole block, so that all tiles have one shape. Rows that are not usable
/// are zeros too: one may hold NaN, which would hide the maximum of its whole stretch.
fn block_tensor(vectors: Vectors, usable: &[bool], first: usize, block: usize, device: &Device) -> Tensor<2> {
    let last = (first + block).min(vectors.rows());
    let mut values = vectors.values[first * vectors.width..last * vectors.width].to_vec();
    for (row, _) in values.chunks_exact_mut(vectors.width).zip(&usable[first..last]).filter(|(_, usable)| !**usable) {
        row.fill(0.0);
    }
    values.resize(block * vectors.width, 0.0);
    Tensor::from_data(TensorData::new(values, [block, vectors.width]), device)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::device::plain_cpu;
    use crate::progress::Progress;
    use crate::search::exact;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_exact_search(
            rows in 1usize..300,
            seed in prop::collection::vec(-1.0f32..1.0, 300 * 8),
            top_k in 1usize..9,
            floor in -0.5f32..0.95,
        ) {
            let mut values = seed[..rows * 8].to_vec();
            for vector in values.chunks_mut(8) {
                let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
                vector.iter_mut().for_each(|v| *v /= norm.max(1e-6));
            }
            let usable: Vec<bool> = (0..rows).map(|row| row % 17 != 3).collect();
            for (vector, _) in values.chunks_mut(8).zip(&usable).filter(|(_, usable)| !**usable) {
                vector.fill(f32::NAN);
            }
            let vectors = Vectors { values: &values, width: 8 };
            let query = Query { top_k, floor };
            let tiles = |rows| Tiles { device: plain_cpu(), rows };
            let task = Progress::new(true, Arc::default()).task("search", "texts", rows);
            let found = search(vectors, &usable, query, &tiles(128), &task).unwrap();
            prop_assert_eq!(found, exact::search(vectors, &usable, query, &tiles(1024), &task).unwrap());
        }
    }
}
