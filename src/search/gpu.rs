//! Exact search with the products on a GPU.
//!
//! As in [`crate::search::exact`], the matrix of all cosines is computed in tiles, half of it by symmetry. A tile never
//! leaves the GPU: of every 64 neighbouring scores only the largest is copied to the processor. If that reaches the
//! minimum, the 64 pairs are scored again by [`dot`] on the processor, while the GPU computes the next tile. Cosines and lists are
//! therefore those of `exact`, bit for bit, whatever the GPU rounds.

use std::ops::Range;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::progress::Task;
use crate::search::dot::dot;
use crate::search::lists::Lists;
use crate::search::tiles::Tiles;
use crate::search::update::{Earlier, Sides, Update};
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
    let lists = Lists::new(usable, tiles.rows, query);
    let tensors = block_tensors(vectors, usable, tiles);
    let blocks = tensors.len();
    let min_score = |row: usize| lists.min_score(row);
    let side = |block: usize| Side { vectors, rows: lists.rows(block), min_score: &min_score };
    let pairs = (0..blocks).flat_map(|left| (left..blocks).map(move |right| (left, right)));
    let start = |(left, right): (usize, usize)| maxima(&tensors[left], &tensors[right]);
    overlapped(pairs, start, &tiles.device, task, |(left, right), maxima| {
        lists.offer(left, right, &hits(maxima, tiles.rows, &side(left), &side(right), left == right))?;
        if right + 1 == blocks { task.advance(lists.rows(left).len()) } else { Ok(()) }
    })?;
    lists.finish()
}

/// The lists of `earlier` brought up to date. As [`crate::search::exact::update`].
pub fn update(
    vectors: Vectors,
    usable: &[bool],
    query: Query,
    earlier: &mut Earlier,
    tiles: &Tiles,
    task: &Task,
) -> Result<(Vec<Vec<Neighbour>>, Vec<bool>)> {
    let fresh_values = vectors.gather(&earlier.fresh);
    let fresh = Vectors { values: &fresh_values, width: vectors.width };
    let usable_fresh: Vec<bool> = earlier.fresh.iter().map(|&row| usable[row as usize]).collect();
    let update = Update::new(earlier, usable, tiles.rows, query);
    rectangle((fresh, &usable_fresh), (vectors, usable), &update, tiles, task)?;
    update.finish()
}

/// The tiles of left rows × right rows, each side with which of its rows are usable. As
/// [`crate::search::exact::rectangle`].
pub fn rectangle(
    (left, usable_left): (Vectors, &[bool]),
    (right, usable_right): (Vectors, &[bool]),
    sides: &impl Sides,
    tiles: &Tiles,
    task: &Task,
) -> Result<()> {
    let (left_tensors, right_tensors) =
        (block_tensors(left, usable_left, tiles), block_tensors(right, usable_right, tiles));
    let rows = |all: Vectors, block: usize| block * tiles.rows..((block + 1) * tiles.rows).min(all.rows());
    let (min_of_left, min_of_right) = (|row: usize| sides.min_of_left(row), |row: usize| sides.min_of_right(row));
    let blocks = right_tensors.len();
    let pairs = (0..left_tensors.len()).flat_map(|left| (0..blocks).map(move |right| (left, right)));
    let start = |(left, right): (usize, usize)| maxima(&left_tensors[left], &right_tensors[right]);
    overlapped(pairs, start, &tiles.device, task, |(left_block, right_block), maxima| {
        let left_side = Side { vectors: left, rows: rows(left, left_block), min_score: &min_of_left };
        let right_side = Side { vectors: right, rows: rows(right, right_block), min_score: &min_of_right };
        sides.offer(left_block, right_block, &hits(maxima, tiles.rows, &left_side, &right_side, false))?;
        if right_block + 1 == blocks { task.advance(left_side.rows.len()) } else { Ok(()) }
    })
}

/// Computes the maxima of tiles on the GPU, each while the processor receives those of the tile before.
fn overlapped<T: Copy>(
    tiles: impl Iterator<Item = T>,
    start: impl Fn(T) -> Tensor<2>,
    device: &Device,
    task: &Task,
    mut receive: impl FnMut(T, &[f32]) -> Result<()>,
) -> Result<()> {
    let mut running = None;
    for tile in tiles.map(Some).chain([None]) {
        let started = tile.map(|tile| (tile, start(tile)));
        device.flush().context("the GPU failed")?;
        let Some((tile, maxima)) = std::mem::replace(&mut running, started) else { continue };
        let maxima = maxima.try_into_data().context("the GPU failed")?;
        receive(tile, maxima.as_slice().ok().context("tiles are f32")?)?;
        task.check()?;
    }
    Ok(())
}

/// One side of a tile: which rows of the vectors it has, and the lowest cosine that each accepts (infinite for a row that
/// is in no list).
struct Side<'a> {
    vectors: Vectors<'a>,
    rows: Range<usize>,
    min_score: &'a (dyn Fn(usize) -> f32 + Sync),
}

/// The pairs of a tile of `block` rows that one of its rows accepts. On the diagonal each pair comes once.
fn hits(maxima: &[f32], block: usize, left: &Side, right: &Side, is_diagonal: bool) -> Vec<(usize, usize, f32)> {
    let lowest = right.rows.clone().map(right.min_score).fold(f32::INFINITY, f32::min);
    let of_row = |(a, maxima): (usize, &[f32])| {
        let min_score = (left.min_score)(a);
        // a NaN maximum hides the other scores of its stretch: score the stretch again
        let reaches = |most: f32| most >= min_score.min(lowest) - ROUNDING || most.is_nan();
        let mut found = Vec::new();
        for (at, _) in maxima.iter().enumerate().filter(|&(_, &most)| reaches(most)) {
            let first = right.rows.start + at * STRETCH;
            let last = (first + STRETCH).min(right.rows.end);
            for b in if is_diagonal { first.max(a + 1) } else { first }..last {
                let b_min = (right.min_score)(b);
                if b_min < f32::INFINITY {
                    let cosine = dot(left.vectors.row(a), right.vectors.row(b));
                    if cosine >= min_score.min(b_min) {
                        found.push((a, b, cosine));
                    }
                }
            }
        }
        found
    };
    (left.rows.clone().into_par_iter())
        .zip(maxima.par_chunks(block / STRETCH))
        .filter(|&(a, _)| (left.min_score)(a) < f32::INFINITY)
        .flat_map_iter(of_row)
        .collect()
}

/// All rows as tensors, a block each.
fn block_tensors(vectors: Vectors, usable: &[bool], tiles: &Tiles) -> Vec<Tensor<2>> {
    let first_rows = (0..vectors.rows().div_ceil(tiles.rows)).map(|block| block * tiles.rows);
    first_rows.map(|first| block_tensor(vectors, usable, first, tiles.rows, &tiles.device)).collect()
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
            kinds in prop::collection::vec(0u8..8, 300),
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
            let all = exact::search(vectors, &usable, query, &tiles(1024), &task).unwrap();
            prop_assert_eq!(&found, &all);

            // the lists of the rows that were there before, then the others come
            let is_new: Vec<bool> = (0..rows).map(|row| kinds[row] == 0).collect();
            let was_there: Vec<bool> = usable.iter().zip(&is_new).map(|(&usable, &new)| usable && !new).collect();
            let (lists, cut) = exact::search(vectors, &was_there, query, &tiles(64), &task).unwrap();
            let mut earlier = Earlier::of_kinds(&kinds[..rows], lists, cut);
            let again = update(vectors, &usable, query, &mut earlier.clone(), &tiles(128), &task).unwrap();
            prop_assert_eq!(&again, &all);
            prop_assert_eq!(exact::update(vectors, &usable, query, &mut earlier, &tiles(32), &task).unwrap(), all);
        }
    }
}
