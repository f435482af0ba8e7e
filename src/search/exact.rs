//! Exact search by blocked matrix products.
//!
//! The matrix of all cosines is computed in tiles, half of it by symmetry, and never stored: [`tile`] scans a tile for values
//! at or above what its rows still accept, and scores only those again by [`dot`]. [`search`] goes over all tiles and keeps
//! the lists. On a CPU this beats an HNSW index of equal recall up to some 10⁶ rows (see BENCHMARKS.md).

use std::ops::Range;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::progress::Task;
use crate::search::dot::dot;
use crate::search::lists::Lists;
use crate::search::tiles::Tiles;
use crate::search::top_k::TopK;
use crate::search::update::{Earlier, Sides, Update};
use crate::search::{Neighbour, Query, Vectors};

/// Rows that a thread of the referee takes at a time.
const REFEREE_ROWS: usize = 1024;

/// A tile's own rounding: what it scores this little below the minimum is scored again before it is refused.
const ROUNDING: f32 = 1e-5;

/// Neighbours of every row, and whether `top_k` cut off others above the floor.
///
/// `usable[r]` false keeps row r out of every list and leaves its own empty. Progress counts rows.
pub fn search(
    vectors: Vectors,
    usable: &[bool],
    query: Query,
    tiles: &Tiles,
    task: &Task,
) -> Result<(Vec<Vec<Neighbour>>, Vec<bool>)> {
    let rows = vectors.rows();
    let blocks = rows.div_ceil(tiles.rows);
    let tensors: Vec<Tensor<2>> =
        (0..blocks).map(|block| block_tensor(vectors, block_rows(rows, block, tiles.rows), &tiles.device)).collect();
    let lists = Lists::new(usable, tiles.rows, query);
    let side = |block: usize| {
        let rows = lists.rows(block);
        let values = &vectors.values[rows.start * vectors.width..rows.end * vectors.width];
        let min_scores = rows.map(|row| lists.min_score(row)).collect();
        Side { vectors: Vectors { values, width: vectors.width }, product: &tensors[block], min_scores }
    };
    for left in 0..blocks {
        (left..blocks).into_par_iter().with_max_len(1).try_for_each(|right| -> Result<()> {
            task.check()?;
            let mut hits = tile(&side(left), &side(right), left == right)?;
            let (first_a, first_b) = (lists.rows(left).start, lists.rows(right).start);
            hits.iter_mut().for_each(|(a, b, _)| (*a, *b) = (first_a + *a, first_b + *b));
            lists.offer(left, right, &hits)
        })?;
        task.advance(lists.rows(left).len())?;
    }
    lists.finish()
}

/// The lists of `earlier` brought up to date: tiles of fresh rows × all rows. Progress counts fresh rows.
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
    let update = Update::new(earlier, usable, tiles.rows, query);
    rectangle(fresh, vectors, &update, tiles, task)?;
    update.finish()
}

/// The tiles of left rows × right rows. Progress counts left rows.
pub fn rectangle(left: Vectors, right: Vectors, sides: &impl Sides, tiles: &Tiles, task: &Task) -> Result<()> {
    let side = |vectors: Vectors<'_>, block: usize| {
        let rows = block_rows(vectors.rows(), block, tiles.rows);
        (block_tensor(vectors, rows.clone(), &tiles.device), rows)
    };
    for left_block in 0..left.rows().div_ceil(tiles.rows) {
        let (left_product, left_rows) = side(left, left_block);
        (0..right.rows().div_ceil(tiles.rows)).into_par_iter().with_max_len(1).try_for_each(|block| -> Result<()> {
            task.check()?;
            let (product, right_rows) = side(right, block);
            let left_side = Side {
                vectors: left.part(left_rows.clone()),
                product: &left_product,
                min_scores: left_rows.clone().map(|row| sides.min_of_left(row)).collect(),
            };
            let right_side = Side {
                vectors: right.part(right_rows.clone()),
                product: &product,
                min_scores: right_rows.clone().map(|row| sides.min_of_right(row)).collect(),
            };
            let mut hits = tile(&left_side, &right_side, false)?;
            hits.iter_mut().for_each(|(a, b, _)| (*a, *b) = (left_rows.start + *a, right_rows.start + *b));
            sides.offer(left_block, block, &hits)
        })?;
        task.advance(left_rows.len())?;
    }
    Ok(())
}

/// The rows on one side of a tile.
pub struct Side<'a> {
    pub vectors: Vectors<'a>,
    /// The same vectors on the device that multiplies.
    pub product: &'a Tensor<2>,
    /// The lowest cosine that each row still accepts; infinite for a row that is in no list.
    pub min_scores: Vec<f32>,
}

/// One tile of the matrix of all cosines: every pair that one of its rows accepts, as (row of `left`, row of `right`,
/// cosine). On the diagonal both sides are the same rows, and each pair comes once.
pub fn tile(left: &Side, right: &Side, is_diagonal: bool) -> Result<Vec<(usize, usize, f32)>> {
    let scores = left.product.clone().matmul(right.product.clone().transpose()).into_data();
    let scores: &[f32] = scores.as_slice().ok().context("tiles are f32")?;
    let lowest = right.min_scores.iter().copied().fold(f32::INFINITY, f32::min);
    let is_usable = |min_score: f32| min_score < f32::INFINITY;
    let mut hits = Vec::new();
    for ((a, &a_min), scores) in left.min_scores.iter().enumerate().zip(scores.chunks_exact(right.min_scores.len())) {
        // an unusable row accepts nothing, but the other row's minimum may be lower
        if !is_usable(a_min) {
            continue;
        }
        scan(scores, a_min.min(lowest) - ROUNDING, |b, score| {
            let b_min = right.min_scores[b];
            if (!is_diagonal || b > a) && is_usable(b_min) && score >= a_min.min(b_min) - ROUNDING {
                hits.push((a, b, dot(left.vectors.row(a), right.vectors.row(b))));
            }
        });
    }
    Ok(hits)
}

/// Neighbours of some rows among all, each pair scored by [`dot`] directly: the referee of the other engines.
pub fn nearest_by_dot(
    vectors: Vectors,
    usable: &[bool],
    rows: &[u32],
    query: Query,
    task: &Task,
) -> Result<Vec<Vec<Neighbour>>> {
    let one_block = |block: usize| -> Result<Vec<TopK>> {
        task.check()?;
        let mut lists = vec![TopK::default(); rows.len()];
        let mut min_scores = vec![query.floor; rows.len()];
        for other in block_rows(vectors.rows(), block, REFEREE_ROWS).filter(|&other| usable[other]) {
            for ((&row, list), min_score) in rows.iter().zip(&mut lists).zip(&mut min_scores) {
                let cosine = dot(vectors.row(row as usize), vectors.row(other));
                if row as usize != other && cosine >= *min_score {
                    *min_score = list.push(Neighbour { row: other as u32, cosine }, query).unwrap_or(*min_score);
                }
            }
        }
        Ok(lists)
    };
    let merge = |mut all: Vec<TopK>, more: Vec<TopK>| {
        for (list, more) in all.iter_mut().zip(more) {
            for neighbour in more.finish(query).0 {
                list.push(neighbour, query);
            }
        }
        all
    };
    let blocks = vectors.rows().div_ceil(REFEREE_ROWS);
    let lists = (0..blocks)
        .into_par_iter()
        .map(one_block)
        .try_reduce(|| vec![TopK::default(); rows.len()], |all, more| Ok(merge(all, more)))?;
    Ok(lists.into_iter().map(|list| list.finish(query).0).collect())
}

/// The rows of a block of `size` rows.
fn block_rows(rows: usize, block: usize, size: usize) -> Range<usize> {
    block * size..((block + 1) * size).min(rows)
}

fn block_tensor(vectors: Vectors, rows: Range<usize>, device: &Device) -> Tensor<2> {
    let values = vectors.values[rows.start * vectors.width..rows.end * vectors.width].to_vec();
    Tensor::from_data(TensorData::new(values, [rows.len(), vectors.width]), device)
}

/// Calls `hit` for every score at or above `min_score`. Most stretches have none, which one vectorised pass tells.
fn scan(scores: &[f32], min_score: f32, mut hit: impl FnMut(usize, f32)) {
    const STRETCH: usize = 64;
    for (at, stretch) in scores.chunks(STRETCH).enumerate() {
        if stretch.iter().fold(false, |any, &score| any | (score >= min_score)) {
            for (offset, &score) in stretch.iter().enumerate().filter(|&(_, &score)| score >= min_score) {
                hit(at * STRETCH + offset, score);
            }
        }
    }
}
