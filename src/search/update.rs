//! Lists of an earlier search brought up to date: what both exact engines do with the tiles of new rows × all rows.
//!
//! A list that was not cut has every neighbour above the floor. A list that was cut has the nearest ones, as many as there
//! are of them: what comes after its last is not known. Both stay true if rows go, and if new rows come and only those
//! nearer than the last of a cut list are let in.

use anyhow::Result;

use crate::search::lists::Lists;
use crate::search::top_k::is_nearer;
use crate::search::{Neighbour, Query};

/// The lowest cosine of a row whose own list is not asked: only the other row of the pair decides.
pub const ACCEPTS_NOTHING: f32 = f32::MAX;

/// What the tiles of left rows × right rows are computed for.
pub trait Sides: Sync {
    /// The lowest cosine that a left row accepts; infinite if it is in no list.
    fn min_of_left(&self, row: usize) -> f32;

    /// The lowest cosine that a right row accepts; infinite if it is in no list.
    fn min_of_right(&self, row: usize) -> f32;

    /// Adds pairs (left row, right row, cosine): all left rows are in block `left`, all right rows in block `right`.
    fn offer(&self, left: usize, right: usize, hits: &[(usize, usize, f32)]) -> Result<()>;
}

/// Lists of an earlier search, in the numbers that rows have now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Earlier {
    /// Row → its list without the rows that went; empty for `fresh` rows.
    pub lists: Vec<Vec<Neighbour>>,
    /// Row → whether `top_k` cut its list, or may have.
    pub cut: Vec<bool>,
    /// Rows that are searched among all, ascending.
    pub fresh: Vec<u32>,
    /// Of the fresh rows, those that are new: the lists of other rows do not know them.
    pub is_new: Vec<bool>,
    /// Row → whether its list takes new rows in. False for fresh rows, and for rows that have no list.
    pub takes_new: Vec<bool>,
}

#[cfg(test)]
impl Earlier {
    /// For tests: a row of kind 0 is new, one of kind 1 is searched again, the others keep their lists.
    pub fn of_kinds(kinds: &[u8], mut lists: Vec<Vec<Neighbour>>, mut cut: Vec<bool>) -> Self {
        let fresh: Vec<u32> = (0..kinds.len() as u32).filter(|&row| kinds[row as usize] <= 1).collect();
        for &row in &fresh {
            lists[row as usize].clear();
            cut[row as usize] = false;
        }
        Self {
            is_new: fresh.iter().map(|&row| kinds[row as usize] == 0).collect(),
            takes_new: kinds.iter().map(|kind| *kind > 1).collect(),
            fresh,
            lists,
            cut,
        }
    }
}

/// The lists while tiles are computed.
pub struct Update<'a> {
    earlier: &'a Earlier,
    usable: &'a [bool],
    /// Lists of the fresh rows, by their place in `fresh`.
    fresh: Lists,
    /// Lists of all rows.
    all: Lists,
    /// Row → the last of its list, if that was cut.
    last_of_cut: Vec<Option<Neighbour>>,
}

impl<'a> Update<'a> {
    /// Takes the lists out of `earlier`.
    pub fn new(earlier: &'a mut Earlier, usable: &'a [bool], block: usize, query: Query) -> Self {
        let lists = std::mem::take(&mut earlier.lists);
        let earlier = &*earlier;
        let last = |(list, &cut): (&Vec<Neighbour>, &bool)| list.last().copied().filter(|_| cut);
        let last_of_cut = lists.iter().zip(&earlier.cut).map(last).collect();
        let usable_fresh: Vec<bool> = earlier.fresh.iter().map(|&row| usable[row as usize]).collect();
        let fresh = Lists::new(&usable_fresh, block, query);
        let all = Lists::resume(lists, &earlier.cut, usable, block, query);
        Self { earlier, usable, fresh, all, last_of_cut }
    }

    /// Adds pairs (place of a fresh row, row, cosine) to the lists of the fresh rows, which are all in block `left`.
    pub fn offer_to_fresh(&self, left: usize, hits: impl Iterator<Item = (usize, usize, f32)>) -> Result<()> {
        let others = hits.filter(|&(place, row, _)| self.earlier.fresh[place] as usize != row);
        self.fresh.offer_to(left, others.map(|(place, row, cosine)| (place, Neighbour { row: row as u32, cosine })))
    }

    /// Adds the same to the lists of the other rows, which are all in block `right`.
    pub fn offer_to_known(&self, right: usize, hits: impl Iterator<Item = (usize, usize, f32)>) -> Result<()> {
        let is_let_in =
            |neighbour: Neighbour, row: usize| self.last_of_cut[row].is_none_or(|last| is_nearer(&neighbour, &last));
        let known = hits.filter_map(|(place, row, cosine)| {
            let neighbour = Neighbour { row: self.earlier.fresh[place], cosine };
            let is_asked = self.earlier.is_new[place] && self.earlier.takes_new[row] && neighbour.row as usize != row;
            (is_asked && is_let_in(neighbour, row)).then_some((row, neighbour))
        });
        self.all.offer_to(right, known)
    }

    /// Neighbours of every row, and whether k cut off others above the floor.
    pub fn finish(self) -> Result<(Vec<Vec<Neighbour>>, Vec<bool>)> {
        let (mut lists, mut cut) = self.all.finish()?;
        let (fresh, cut_fresh) = self.fresh.finish()?;
        for ((&row, list), is_cut) in self.earlier.fresh.iter().zip(fresh).zip(cut_fresh) {
            lists[row as usize] = list;
            cut[row as usize] = is_cut;
        }
        Ok((lists, cut))
    }
}

impl Sides for Update<'_> {
    fn min_of_left(&self, place: usize) -> f32 {
        self.fresh.min_score(place)
    }

    fn min_of_right(&self, row: usize) -> f32 {
        match (self.usable[row], self.earlier.takes_new[row]) {
            (false, _) => f32::INFINITY,
            (true, false) => ACCEPTS_NOTHING,
            (true, true) => self.all.min_score(row),
        }
    }

    fn offer(&self, left: usize, right: usize, hits: &[(usize, usize, f32)]) -> Result<()> {
        self.offer_to_fresh(left, hits.iter().copied())?;
        self.offer_to_known(right, hits.iter().copied())
    }
}
