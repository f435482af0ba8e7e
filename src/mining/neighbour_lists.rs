//! Neighbour lists in the store: those of exactly a corpus, and those of an earlier corpus in the numbers of this one.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::mining::plan::CORPUS;
use crate::progress::Progress;
use crate::search::Neighbour;
use crate::search::update::Earlier;
use crate::store::identity::Identity;
use crate::store::root::Store;
use crate::store::segments::Segments;
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;

/// Texts of a segment of lists.
const SEGMENT_TEXTS: usize = 16_384;

/// The nearest neighbours of every text, what was left out, and how much the engine missed.
pub struct Neighbours {
    /// With the reserve beyond `top_k`.
    pub lists: Vec<Vec<Neighbour>>,
    /// Texts that have, or may have, neighbours above the floor beyond their list.
    pub cut: Vec<bool>,
    pub counts: Counts,
}

impl Neighbours {
    /// Empties the lists of texts of a reference: pairs within it are not wanted.
    pub fn clear(&mut self, is_reference: &[bool]) {
        for (text, _) in is_reference.iter().enumerate().filter(|(_, is)| **is) {
            self.lists[text].clear();
            self.cut[text] = false;
        }
    }
}

/// What a search leaves besides its lists.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Vectors that are zero or not finite: they have no neighbours.
    pub unusable_vectors: usize,
    /// Of every text's k nearest, those below the minimum cosine (a pair counts once for each side); only exact search knows.
    pub below_min_cosine: Option<u64>,
    /// Texts with more than k neighbours above the minimum cosine; only exact search knows. After a deletion it may count
    /// some that have exactly k.
    pub cut_lists: Option<usize>,
    pub recall_at_k: f64,
    pub recall_above_min_cosine: f64,
}

/// Recorded beside the lists when all of them are stored.
#[derive(Serialize, Deserialize)]
struct Record {
    texts: usize,
    counts: Counts,
}

/// Stores the lists of all texts; `keys` are theirs.
pub fn write(
    store: &Store,
    identity: &Identity,
    segments: &mut Segments,
    found: &Neighbours,
    keys: &[TextKey],
) -> Result<()> {
    for texts in (0..keys.len()).collect::<Vec<_>>().chunks(SEGMENT_TEXTS) {
        segments.append(columns(found, texts, keys))?;
    }
    // last: lists without it are those of a search that did not end
    store.write_record(identity, &Record { texts: keys.len(), counts: found.counts })
}

/// The stored lists of all `keys`, `None` if one is missing.
pub fn stored(
    store: &Store,
    identity: &Identity,
    segments: &mut Segments,
    keys: &[TextKey],
    progress: &Progress,
) -> Result<Option<Neighbours>> {
    let Some(Record { counts, .. }) = store.record(identity)? else { return Ok(None) };
    let mut found = Neighbours { lists: vec![Vec::new(); keys.len()], cut: vec![false; keys.len()], counts };
    let mut seen = 0;
    segments.read(&|line| progress.warn(line), |columns| {
        let number = |key: &TextKey| keys.binary_search(key).ok();
        let segment = Segment::of_columns(columns)?;
        segment.lists(|text, cut, list| {
            let unknown = "a list names a text that is not there";
            let entry =
                |(key, cosine): (&TextKey, f32)| Ok(Neighbour { row: number(key).context(unknown)? as u32, cosine });
            let text = number(text).context(unknown)?;
            found.lists[text] = list.map(entry).collect::<Result<_>>()?;
            found.cut[text] = cut;
            Ok(())
        })?;
        seen += segment.texts.len();
        Ok(segment.texts.len())
    })?;
    Ok((seen == keys.len()).then_some(found))
}

/// Lists of the corpus that was searched last, as far as its texts are among `keys`. `None` if there are none that are
/// complete.
pub fn earlier(
    store: &Store,
    identity: &Identity,
    keys: &[TextKey],
    top_k: usize,
    progress: &Progress,
) -> Result<Option<Earlier>> {
    for other in store.differing_in(identity, CORPUS)? {
        let Some(Record { texts, .. }) = store.record(&other)? else { continue };
        let mut carried = Carried {
            lists: vec![Vec::new(); keys.len()],
            cut: vec![false; keys.len()],
            has_list: vec![false; keys.len()],
        };
        let mut seen = 0;
        store.segments(&other)?.read(&|line| progress.warn(line), |columns| {
            let segment = Segment::of_columns(columns)?;
            segment.lists(|text, cut, list| {
                if let Ok(text) = keys.binary_search(text) {
                    carried.add(text, cut, list, keys);
                }
                Ok(())
            })?;
            seen += segment.texts.len();
            Ok(segment.texts.len())
        })?;
        if seen == texts {
            return Ok(Some(carried.into_earlier(top_k)));
        }
    }
    Ok(None)
}

/// Lists of an earlier corpus, by the numbers of the texts of this one.
struct Carried {
    lists: Vec<Vec<Neighbour>>,
    cut: Vec<bool>,
    has_list: Vec<bool>,
}

impl Carried {
    fn add<'a>(&mut self, text: usize, cut: bool, list: impl Iterator<Item = (&'a TextKey, f32)>, keys: &[TextKey]) {
        let stays =
            |(key, cosine): (&TextKey, f32)| Some(Neighbour { row: keys.binary_search(key).ok()? as u32, cosine });
        self.lists[text] = list.filter_map(stays).collect();
        self.lists[text].shrink_to_fit();
        self.cut[text] = cut;
        self.has_list[text] = true;
    }

    fn into_earlier(self, top_k: usize) -> Earlier {
        let Self { mut lists, mut cut, has_list } = self;
        // what comes after a cut is not known: such a list that has too few left is searched again
        let is_fresh = |text: usize| !has_list[text] || (cut[text] && lists[text].len() < top_k);
        let fresh: Vec<u32> = (0..lists.len() as u32).filter(|&text| is_fresh(text as usize)).collect();
        let mut takes_new = vec![true; lists.len()];
        for &text in &fresh {
            lists[text as usize].clear();
            cut[text as usize] = false;
            takes_new[text as usize] = false;
        }
        let is_new = fresh.iter().map(|&text| !has_list[text as usize]).collect();
        Earlier { lists, cut, fresh, is_new, takes_new }
    }
}

/// The lists of some texts as columns.
fn columns(found: &Neighbours, texts: &[usize], keys: &[TextKey]) -> Columns {
    let entries = || texts.iter().flat_map(|&text| &found.lists[text]);
    let mut end = 0;
    let ends = texts.iter().map(|&text| {
        end += found.lists[text].len() as u32;
        end
    });
    let ends: Vec<u32> = ends.collect();
    let list = |values: Column| Column::Lists { ends: ends.clone(), values: Box::new(values) };
    vec![
        ("text".into(), Column::Keys(texts.iter().map(|&text| keys[text]).collect())),
        ("cut".into(), Column::Flags(texts.iter().map(|&text| found.cut[text]).collect())),
        ("neighbour".into(), list(Column::Keys(entries().map(|near| keys[near.row as usize]).collect()))),
        ("cosine".into(), list(Column::Floats(entries().map(|near| near.cosine).collect()))),
    ]
}

/// A segment as it was stored.
struct Segment {
    texts: Vec<TextKey>,
    cut: Vec<bool>,
    ends: Vec<u32>,
    neighbours: Vec<TextKey>,
    cosines: Vec<f32>,
}

impl Segment {
    /// The inverse of [`columns`].
    fn of_columns(columns: Columns) -> Result<Self> {
        let Ok(
            [
                (_, Column::Keys(texts)),
                (_, Column::Flags(cut)),
                (_, Column::Lists { ends, values: neighbours }),
                (_, Column::Lists { values: cosines, .. }),
            ],
        ) = <[(String, Column); 4]>::try_from(columns)
        else {
            bail!("not the columns of neighbour lists");
        };
        let (Column::Keys(neighbours), Column::Floats(cosines)) = (*neighbours, *cosines) else {
            bail!("not the columns of neighbour lists");
        };
        Ok(Self { texts, cut, ends, neighbours, cosines })
    }

    /// Calls `receive` with every text, whether its list was cut, and the list.
    fn lists(
        &self,
        mut receive: impl FnMut(
            &TextKey,
            bool,
            std::iter::Zip<std::slice::Iter<'_, TextKey>, std::iter::Copied<std::slice::Iter<'_, f32>>>,
        ) -> Result<()>,
    ) -> Result<()> {
        let mut start = 0;
        for ((text, &cut), &end) in self.texts.iter().zip(&self.cut).zip(&self.ends) {
            let entries = start..end as usize;
            let list = self.neighbours[entries.clone()].iter().zip(self.cosines[entries].iter().copied());
            receive(text, cut, list)?;
            start = end as usize;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_texts_and_cut_lists_with_too_few_left_are_searched_again() {
        let keys: Vec<TextKey> = {
            let mut keys: Vec<TextKey> = ["a", "b", "c", "d"].map(TextKey::of).to_vec();
            keys.sort_unstable();
            keys
        };
        let gone = TextKey::of("gone");
        let mut carried = Carried { lists: vec![Vec::new(); 4], cut: vec![false; 4], has_list: vec![false; 4] };
        let mut add = |text: usize, cut: bool, list: &[(&TextKey, f32)]| {
            carried.add(text, cut, list.iter().copied(), &keys);
        };
        add(0, true, &[(&keys[1], 0.9), (&gone, 0.8)]);
        add(1, false, &[(&keys[0], 0.9), (&gone, 0.7)]);
        add(2, true, &[(&keys[1], 0.6), (&keys[0], 0.5), (&gone, 0.4)]);
        let earlier = carried.into_earlier(2);
        assert_eq!((earlier.fresh, earlier.is_new), (vec![0, 3], vec![false, true]));
        assert_eq!(earlier.takes_new, [false, true, true, false]);
        assert_eq!(earlier.cut, [false, false, true, false]);
        assert_eq!(earlier.lists.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 2, 0]);
    }
}
