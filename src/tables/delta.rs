//! Changes to a corpus: rows that add, replace or delete questions by their ids.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::error::hint;
use crate::tables::id_index::IdIndex;
use crate::tables::ids::Ids;
use crate::tables::question_rows::{ReadOptions, Rows};
use crate::tables::questions::{FileRows, Questions, read_rows};

/// What the rows did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Ids that were added or got another row.
    pub upserted: usize,
    /// Ids that are gone.
    pub deleted: usize,
    /// Deletions of ids that were not there.
    pub unknown: usize,
}

/// Reads changes and applies them to `corpus`. If an id occurs in several rows, the last one counts. The result is the
/// corpus that a whole input with these rows would be, but the rows of skipped questions are numbered by their ids.
pub fn apply(corpus: &Questions, files: &[PathBuf], options: &ReadOptions) -> Result<(Questions, Applied)> {
    let of_corpus = corpus.ranking.as_ref().map(|ranking| &ranking.column);
    if let Some(column) = options.ranking.as_ref().filter(|column| of_corpus != Some(column)) {
        return Err(hint(
            format!("--keep {column}: the run before did not read this column, so questions that stay have no value"),
            "run once with this --keep and the whole input, without --delta",
        ));
    }
    let options = ReadOptions { are_changes: true, ..options.clone() };
    let FileRows { rows, ids, .. } = read_rows(files, &options)?;
    let ids = match ids {
        Some(ids) => ids.with_type_of(&corpus.ids).context("the changes do not fit the corpus")?,
        None if rows.seen == 0 => corpus.ids.pick(&[])?,
        None => {
            return Err(hint(
                format!("changes need ids: the input has no column {:?}", options.id()),
                "name the column that holds them with --id-column",
            ));
        }
    };
    merge(corpus, &ids, &rows)
}

fn merge(corpus: &Questions, ids: &Ids, changes: &Rows) -> Result<(Questions, Applied)> {
    // the index keeps the last row of each id
    let last = IdIndex::new(ids.clone())?.find_all(ids)?;
    let is_last = |row: u32| last[row as usize] == Some(row);
    let before = IdIndex::new(corpus.ids.clone())?.find_all(ids)?;
    let mut is_replaced = vec![false; corpus.ids.len()];
    before.iter().flatten().for_each(|&row| is_replaced[row as usize] = true);

    let mut rows = Rows::ranked_by(changes.ranking.as_ref().map(|ranking| ranking.column.as_str()));
    let mut kept = Vec::new();
    let (mut next, mut next_skipped) = (0, 0);
    for row in 0..corpus.ids.len() as u32 {
        let skipped = corpus.skipped.get(next_skipped).filter(|skipped| skipped.row == row);
        if !is_replaced[row as usize] {
            kept.push(row);
            match skipped {
                Some(skipped) => rows.skip(skipped.reason),
                None => rows.push(Some(corpus.texts.get(next)), None, corpus.ranking_value(next))?,
            }
        }
        match skipped {
            Some(_) => next_skipped += 1,
            None => next += 1,
        }
    }
    let mut applied = Applied { upserted: 0, deleted: 0, unknown: 0 };
    for &row in changes.deleted.iter().filter(|&&row| is_last(row)) {
        let was_there = before[row as usize].is_some();
        applied.deleted += usize::from(was_there);
        applied.unknown += usize::from(!was_there);
    }
    let mut added: Vec<(u32, Option<usize>)> = changes.rows.iter().zip(0..).map(|(&row, at)| (row, Some(at))).collect();
    added.extend(changes.skipped.iter().map(|&(row, _)| (row, None)));
    added.retain(|&(row, _)| is_last(row));
    added.sort_unstable();
    applied.upserted = added.len();
    for &(row, text) in &added {
        match text {
            Some(at) => {
                let value = changes.ranking.as_ref().and_then(|ranking| ranking.of(at));
                rows.push(Some(changes.texts.get(at)), None, value)?;
            }
            None => {
                let reason = changes.skipped.iter().find(|(skipped, _)| *skipped == row).map(|(_, reason)| *reason);
                rows.skip(reason.context("a skipped row has a reason")?);
            }
        }
    }
    let added: Vec<u32> = added.into_iter().map(|(row, _)| row).collect();
    let mut merged = Questions::new(corpus.ids.pick(&kept)?.join(&ids.pick(&added)?)?, rows)?;
    merged.skipped.iter_mut().for_each(|skipped| skipped.input_row = skipped.row);
    Ok((merged, applied))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::question_rows::SkipReason;

    fn corpus(rows: &[(i64, Option<&str>)]) -> Questions {
        let mut pushed = Rows::default();
        rows.iter().for_each(|(_, text)| pushed.push(*text, None, None).unwrap());
        Questions::new(Ids::of_numbers(rows.iter().map(|(id, _)| *id)), pushed).unwrap()
    }

    fn named(questions: &Questions) -> Vec<(String, Option<&str>)> {
        let row = |row: u32| (questions.ids.display(row as usize), questions.text_of_row(row));
        (0..questions.ids.len() as u32).map(row).collect()
    }

    #[test]
    fn the_result_is_the_corpus_with_the_last_row_of_every_id() {
        let before = corpus(&[(5, Some("five")), (1, Some("one")), (3, None), (9, Some("nine"))]);
        let mut changes = Rows::default();
        let rows = [
            (7, Some("seven"), None),
            (1, Some("uno"), Some("upsert")),
            (9, None, Some("delete")),
            (2, Some("two"), None),
            (8, None, Some("delete")),
            (2, Some(" "), Some("upsert")),
            (3, Some("three"), None),
            (7, Some("sept"), None),
        ];
        rows.iter().for_each(|(_, text, op)| changes.push(*text, *op, None).unwrap());
        let ids = Ids::of_numbers(rows.iter().map(|(id, ..)| *id));
        let (after, applied) = merge(&before, &ids, &changes).unwrap();
        assert_eq!(applied, Applied { upserted: 4, deleted: 1, unknown: 1 });
        let whole =
            corpus(&[(1, Some("uno")), (2, Some(" ")), (3, Some("three")), (5, Some("five")), (7, Some("sept"))]);
        assert_eq!((named(&after), &after.content), (named(&whole), &whole.content));
        assert_eq!(after.skipped[0].reason, SkipReason::Blank);
        // once more changes nothing
        let (again, applied) = merge(&after, &ids, &changes).unwrap();
        assert_eq!((again.content, applied.deleted), (after.content, 0));
        let error = changes.push(Some("x"), Some("remove"), None).unwrap_err().to_string();
        assert_eq!(error, "column \"op\" holds \"remove\", expected \"upsert\" or \"delete\"");
    }

    #[test]
    fn questions_that_stay_keep_their_values() {
        let ranked = |rows: &[(i64, &str, &str)]| {
            let mut pushed = Rows::ranked_by(Some("votes"));
            rows.iter().for_each(|(_, text, votes)| pushed.push(Some(text), None, Some(votes)).unwrap());
            (Ids::of_numbers(rows.iter().map(|(id, ..)| *id)), pushed)
        };
        let (ids, rows) = ranked(&[(1, "one", "5"), (2, "two", ""), (3, "three", "7.0")]);
        let before = Questions::new(ids, rows).unwrap();
        let (ids, changes) = ranked(&[(3, "three", "8"), (9, "nine", "n/a")]);
        let (after, _) = merge(&before, &ids, &changes).unwrap();
        let (ids, rows) = ranked(&[(9, "nine", "n/a"), (3, "three", "8"), (2, "two", ""), (1, "one", "5.0")]);
        assert_eq!(after.content, Questions::new(ids, rows).unwrap().content);
        assert_ne!(after.content, before.content);
        let values: Vec<Option<&str>> = (0..4).map(|at| after.ranking_value(at)).collect();
        assert_eq!(values, [Some("5"), None, Some("8"), Some("n/a")]);
        let options = ReadOptions { ranking: Some("score".into()), ..ReadOptions::default() };
        let error = crate::error::render(&apply(&before, &[], &options).unwrap_err());
        assert!(error.contains("--keep score: the run before did not read this column"), "{error}");
        assert!(error.contains("hint: run once with this --keep and the whole input"), "{error}");
    }
}
