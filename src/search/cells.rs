//! Exact search in cells, so that many machines can compute them: a cell is one block of rows × another.
//!
//! [`compute`] makes the lists of one cell, in which every row keeps more neighbours than it may have in the end. [`search`]
//! and [`update`] put the cells' lists together: the result is that of [`crate::search::exact`], whatever the blocks are.

use anyhow::Result;

use crate::device::is_plain_cpu;
use crate::progress::Task;
use crate::search::lists::Lists;
use crate::search::tiles::Tiles;
use crate::search::update::{ACCEPTS_NOTHING, Earlier, Sides, Update};
use crate::search::{Neighbour, Query, Vectors, exact, gpu};

/// A row may meet itself in a cell, and one neighbour more than it may keep tells that its list was cut.
const MORE_IN_A_CELL: usize = 2;

/// Blocks that a corpus is cut into at least, unless their rows are fewer than [`LEAST_ROWS`]: 36 cells.
const LEAST_BLOCKS: usize = 8;
const LEAST_ROWS: usize = 1024;
/// A block of so many rows, 50 MB of 384 dimensions, is cut no further until there are [`MOST_BLOCKS`]: a cell takes seconds
/// and reads two blocks.
const USUAL_ROWS: usize = 32_768;
const MOST_BLOCKS: usize = 128;
/// 1.6 GB.
const MOST_ROWS: usize = 1 << 20;

/// Rows on one side of a cell.
#[derive(Clone)]
pub struct Block<'a> {
    pub vectors: Vectors<'a>,
    /// The lowest cosine that each row accepts: infinite for a row that is in no list, [`ACCEPTS_NOTHING`] for one that takes
    /// none into its own.
    pub min_scores: Vec<f32>,
    /// Which rows of the left side enter the lists of the right side.
    pub gives: Vec<bool>,
}

/// The lists of a cell's rows, in the numbers of the rows of the other block. On the diagonal, the lists of its rows are all
/// on the left.
#[derive(Debug, Clone, PartialEq)]
pub struct CellLists {
    pub left: Vec<Vec<Neighbour>>,
    pub right: Vec<Vec<Neighbour>>,
}

/// The blocks of a search. Without right ones, each pair of left blocks is a cell, each block with itself included.
pub struct Grid<'a> {
    pub left: Vec<Block<'a>>,
    pub right: Option<Vec<Block<'a>>>,
}

impl Grid<'_> {
    /// Whether a cell is a block with itself.
    pub fn is_diagonal(&self, left: usize, right: usize) -> bool {
        self.right.is_none() && left == right
    }

    /// Numbers of the left and the right block of every cell.
    pub fn cells(&self) -> Vec<(usize, usize)> {
        let left = self.left.len();
        match &self.right {
            Some(right) => (0..left).flat_map(|a| (0..right.len()).map(move |b| (a, b))).collect(),
            None => (0..left).flat_map(|a| (a..left).map(move |b| (a, b))).collect(),
        }
    }
}

/// Who computes the cells of a grid.
pub trait Cells {
    /// Hands the lists of every cell to `receive`, in any order. `query` is what each cell is asked for.
    fn compute(
        &self,
        grid: &Grid,
        query: Query,
        receive: &mut dyn FnMut((usize, usize), CellLists) -> Result<()>,
    ) -> Result<()>;
}

/// As [`exact::search`].
pub fn search(
    vectors: Vectors,
    usable: &[bool],
    query: Query,
    cells: &dyn Cells,
) -> Result<(Vec<Vec<Neighbour>>, Vec<bool>)> {
    let block = block_rows(vectors.rows());
    let lists = Lists::new(usable, block, query);
    let min_score = |row: usize| if usable[row] { query.floor } else { f32::INFINITY };
    let left = blocks(vectors, block, min_score, |_| true);
    cells.compute(&Grid { left, right: None }, of_a_cell(query), &mut |(left, right), found| {
        lists.offer_to(left, numbered(&found.left, left * block, right * block).map(to_neighbour))?;
        lists.offer_to(right, numbered(&found.right, right * block, left * block).map(to_neighbour))
    })?;
    lists.finish()
}

/// As [`exact::update`].
pub fn update(
    vectors: Vectors,
    usable: &[bool],
    query: Query,
    earlier: &mut Earlier,
    cells: &dyn Cells,
) -> Result<(Vec<Vec<Neighbour>>, Vec<bool>)> {
    let (fresh_values, fresh, is_new) = (vectors.gather(&earlier.fresh), earlier.fresh.clone(), earlier.is_new.clone());
    let fresh_vectors = Vectors { values: &fresh_values, width: vectors.width };
    // blocks of the same size on both sides: `Update` numbers both by it
    let block = block_rows(vectors.rows());
    let takes_new = earlier.takes_new.clone();
    let update = Update::new(earlier, usable, block, query);
    let min_of_fresh = |place: usize| if usable[fresh[place] as usize] { query.floor } else { f32::INFINITY };
    let min_of_row = |row: usize| match (usable[row], takes_new[row]) {
        (false, _) => f32::INFINITY,
        (true, false) => ACCEPTS_NOTHING,
        (true, true) => query.floor,
    };
    let grid = Grid {
        left: blocks(fresh_vectors, block, min_of_fresh, |place| is_new[place]),
        right: Some(blocks(vectors, block, min_of_row, |_| true)),
    };
    cells.compute(&grid, of_a_cell(query), &mut |(left, right), found| {
        update.offer_to_fresh(left, numbered(&found.left, left * block, right * block))?;
        let known = numbered(&found.right, right * block, left * block);
        update.offer_to_known(right, known.map(|(row, place, cosine)| (place, row, cosine)))
    })?;
    update.finish()
}

/// The lists of one cell; without a right block those of the left block with itself.
pub fn compute(left: &Block, right: Option<&Block>, query: Query, tiles: &Tiles, task: &Task) -> Result<CellLists> {
    let is_usable = |block: &Block| block.min_scores.iter().map(|min| *min < f32::INFINITY).collect::<Vec<bool>>();
    let on_cpu = is_plain_cpu(&tiles.device);
    let Some(right) = right else {
        let search = if on_cpu { exact::search } else { gpu::search };
        let (lists, _) = search(left.vectors, &is_usable(left), query, tiles, task)?;
        return Ok(CellLists { left: lists, right: Vec::new() });
    };
    let accepts = |block: &Block| block.min_scores.iter().map(|min| *min < ACCEPTS_NOTHING).collect::<Vec<bool>>();
    let pair = Pair {
        left,
        right,
        left_lists: Lists::new(&accepts(left), tiles.rows, query),
        right_lists: Lists::new(&accepts(right), tiles.rows, query),
    };
    match on_cpu {
        true => exact::rectangle(left.vectors, right.vectors, &pair, tiles, task)?,
        false => {
            let usable = (is_usable(left), is_usable(right));
            gpu::rectangle((left.vectors, &usable.0), (right.vectors, &usable.1), &pair, tiles, task)?;
        }
    }
    Ok(CellLists { left: pair.left_lists.finish()?.0, right: pair.right_lists.finish()?.0 })
}

/// The lists of both blocks of a cell while its tiles are computed.
struct Pair<'a> {
    left: &'a Block<'a>,
    right: &'a Block<'a>,
    left_lists: Lists,
    right_lists: Lists,
}

impl Sides for Pair<'_> {
    fn min_of_left(&self, row: usize) -> f32 {
        min_score(self.left.min_scores[row], &self.left_lists, row)
    }

    fn min_of_right(&self, row: usize) -> f32 {
        min_score(self.right.min_scores[row], &self.right_lists, row)
    }

    fn offer(&self, left: usize, right: usize, hits: &[(usize, usize, f32)]) -> Result<()> {
        let accepts = |min_scores: &[f32], row: usize| min_scores[row] < ACCEPTS_NOTHING;
        let to_left = hits.iter().filter(|&&(a, ..)| accepts(&self.left.min_scores, a));
        self.left_lists.offer_to(left, to_left.map(|&(a, b, cosine)| to_neighbour((a, b, cosine))))?;
        let to_right = hits.iter().filter(|&&(a, b, _)| self.left.gives[a] && accepts(&self.right.min_scores, b));
        self.right_lists.offer_to(right, to_right.map(|&(a, b, cosine)| to_neighbour((b, a, cosine))))
    }
}

/// The lowest cosine that a row accepts by now, of those in a list.
fn min_score(asked: f32, lists: &Lists, row: usize) -> f32 {
    if asked < ACCEPTS_NOTHING { lists.min_score(row) } else { asked }
}

/// What each cell is asked for, so that its lists suffice for `query`.
fn of_a_cell(query: Query) -> Query {
    Query { top_k: query.top_k + MORE_IN_A_CELL, ..query }
}

/// Rows of a block for a corpus of `rows`: a function of it alone, so that a run that was killed finds the same cells again.
fn block_rows(rows: usize) -> usize {
    let few = rows.div_ceil(LEAST_BLOCKS).clamp(LEAST_ROWS, USUAL_ROWS);
    few.max(rows.div_ceil(MOST_BLOCKS)).min(MOST_ROWS).next_multiple_of(LEAST_ROWS)
}

fn blocks<'a>(
    vectors: Vectors<'a>,
    block: usize,
    min_score: impl Fn(usize) -> f32,
    gives: impl Fn(usize) -> bool,
) -> Vec<Block<'a>> {
    let starts = (0..vectors.rows()).step_by(block);
    let of = |start: usize| {
        let rows = start..(start + block).min(vectors.rows());
        Block {
            vectors: vectors.part(rows.clone()),
            min_scores: rows.clone().map(&min_score).collect(),
            gives: rows.map(&gives).collect(),
        }
    };
    starts.map(of).collect()
}

/// Every entry of some lists as (row, other row, cosine), in the numbers of the corpus.
fn numbered(
    lists: &[Vec<Neighbour>],
    first: usize,
    first_of_other: usize,
) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
    lists.iter().enumerate().flat_map(move |(at, list)| {
        list.iter().map(move |near| (first + at, first_of_other + near.row as usize, near.cosine))
    })
}

fn to_neighbour((row, other, cosine): (usize, usize, f32)) -> (usize, Neighbour) {
    (row, Neighbour { row: other as u32, cosine })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::device::plain_cpu;
    use crate::progress::Progress;

    /// Computes the cells here, the last one first.
    struct Here(usize);

    impl Cells for Here {
        fn compute(
            &self,
            grid: &Grid,
            query: Query,
            receive: &mut dyn FnMut((usize, usize), CellLists) -> Result<()>,
        ) -> Result<()> {
            let task = Progress::new(true, Arc::default()).task("search", "texts", 0);
            let tiles = Tiles { device: plain_cpu(), rows: self.0 };
            for (left, right) in grid.cells().into_iter().rev() {
                let others = grid.right.as_ref().unwrap_or(&grid.left);
                let other = (!grid.is_diagonal(left, right)).then(|| &others[right]);
                receive((left, right), compute(&grid.left[left], other, query, &tiles, &task)?)?;
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn equals_exact_search(
            rows in 1usize..2600,
            seed in any::<u64>(),
            top_k in 1usize..9,
            floor in 0.2f32..0.95,
            kinds in prop::collection::vec(0u8..8, 2600),
        ) {
            // few directions, so that there are many neighbours and ties
            let value = |row: usize, at: usize| {
                f32::from(crate::hash::hash64(&[seed.to_le_bytes(), ((row % 900) as u64).to_le_bytes(), (at as u64).to_le_bytes()].concat()) as u8) - 128.0
            };
            let mut values: Vec<f32> = (0..rows).flat_map(|row| (0..4).map(move |at| value(row, at))).collect();
            for vector in values.chunks_mut(4) {
                let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
                vector.iter_mut().for_each(|v| *v /= norm.max(1e-6));
            }
            let usable: Vec<bool> = (0..rows).map(|row| row % 17 != 3).collect();
            let vectors = Vectors { values: &values, width: 4 };
            let query = Query { top_k, floor };
            let tiles = Tiles { device: plain_cpu(), rows: 256 };
            let task = Progress::new(true, Arc::default()).task("search", "texts", rows);
            let all = exact::search(vectors, &usable, query, &tiles, &task).unwrap();
            prop_assert_eq!(&search(vectors, &usable, query, &Here(512)).unwrap(), &all);

            let is_new: Vec<bool> = (0..rows).map(|row| kinds[row] == 0).collect();
            let was_there: Vec<bool> = usable.iter().zip(&is_new).map(|(&usable, &new)| usable && !new).collect();
            let (lists, cut) = exact::search(vectors, &was_there, query, &tiles, &task).unwrap();
            let mut earlier = Earlier::of_kinds(&kinds[..rows], lists, cut);
            prop_assert_eq!(update(vectors, &usable, query, &mut earlier, &Here(300)).unwrap(), all);
        }
    }
}
