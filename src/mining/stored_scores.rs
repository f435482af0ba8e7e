//! Scores in the store, by pairs of the texts of this run.

use anyhow::{Context, Result, bail};
use rayon::slice::ParallelSliceMut;

use crate::progress::Progress;
use crate::store::segments::Segments;
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;

/// One score of an ordered pair of texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    pub pair: (u32, u32),
    pub logit: f32,
    pub truncated: bool,
}

/// Scores that an earlier run computed.
pub struct Stored {
    /// By pair.
    pub scores: Vec<Score>,
    pub segments: Segments,
    /// Scores that were computed since.
    pub computed: usize,
}

impl Stored {
    /// Reads the scores of all pairs of `keys`. `live` are the keys that some kept version needs.
    pub fn read(mut segments: Segments, keys: &[TextKey], live: &[TextKey], progress: &Progress) -> Result<Self> {
        let mut scores = Vec::new();
        segments.read(&|line| progress.warn(line), |columns| {
            let [first, second, logits, truncated] = columns_of(columns)?;
            let (Column::Keys(first), Column::Keys(second)) = (first, second) else { bail!("no keys of pairs") };
            let (Column::Floats(logits), Column::Flags(truncated)) = (logits, truncated) else { bail!("no scores") };
            let is_live = |key: &TextKey| live.binary_search(key).is_ok();
            let mut live_rows = 0;
            for (((a, b), logit), truncated) in first.iter().zip(&second).zip(logits).zip(truncated) {
                live_rows += usize::from(is_live(a) && is_live(b));
                if let (Ok(a), Ok(b)) = (keys.binary_search(a), keys.binary_search(b)) {
                    scores.push(Score { pair: (a as u32, b as u32), logit, truncated });
                }
            }
            Ok(live_rows)
        })?;
        scores.par_sort_by_key(|score| score.pair);
        scores.dedup_by_key(|score| score.pair);
        Ok(Self { scores, segments, computed: 0 })
    }

    /// The score of a pair in this order.
    pub fn find(&self, pair: (u32, u32)) -> Option<Score> {
        self.scores.binary_search_by_key(&pair, |score| score.pair).ok().map(|at| self.scores[at])
    }
}

/// The four columns of a segment of scores: first and second text, logit, whether the pair was cut.
pub fn columns_of(columns: Columns) -> Result<[Column; 4]> {
    let columns: Vec<Column> = columns.into_iter().map(|(_, column)| column).collect();
    columns.try_into().ok().context("not the columns of scores")
}
