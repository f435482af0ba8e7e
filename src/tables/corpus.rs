//! The questions of a version as they are kept: ids of any type, texts, and rows that were skipped.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, UInt32Array, new_empty_array};
use arrow::datatypes::UInt32Type;

use crate::tables::format::open_parquet;
use crate::tables::ids::Ids;
use crate::tables::question_rows::SkipReason;
use crate::tables::questions::{Questions, Skipped};
use crate::tables::ranking_values::RankingValues;
use crate::tables::texts::Texts;
use crate::tables::write::{Column, write_batches};

const BATCH_ROWS: usize = 65_536;

/// Key in the footer of the column whose values are kept too.
const RANKING: &str = "dupmine.ranking";

/// Writes the questions, complete or not at all.
pub fn write(path: &Path, questions: &Questions) -> Result<()> {
    let rows = questions.ids.len();
    let starts = if rows == 0 { vec![0] } else { (0..rows).step_by(BATCH_ROWS).collect() };
    let batch = |start: usize| -> Result<Vec<Column>> {
        let numbers: Vec<u32> = (start as u32..(start + BATCH_ROWS).min(rows) as u32).collect();
        let place = |row: &u32| questions.rows.binary_search(row).ok();
        let skipped = |row: &u32| {
            let at = questions.skipped.binary_search_by_key(row, |skipped| skipped.row).ok()?;
            Some(questions.skipped[at])
        };
        let texts: StringArray = numbers.iter().map(|row| place(row).map(|at| questions.texts.get(at))).collect();
        let reasons: StringArray = numbers.iter().map(|row| skipped(row).map(|found| found.reason.name())).collect();
        let input_rows: UInt32Array = numbers.iter().map(|row| skipped(row).map(|found| found.input_row)).collect();
        let is_reference = |row: &u32| place(row).is_some_and(|at| questions.is_reference.get(at) == Some(&true));
        let is_reference: BooleanArray = numbers.iter().map(|row| Some(is_reference(row))).collect();
        let column = |name, values: ArrayRef, meaning| Column::new(name, values, "", meaning);
        let mut columns = vec![
            column("id", questions.ids.pick(&numbers)?.0, "id of the row"),
            column("text", Arc::new(texts), "the question; null for a skipped row").nullable(),
            column("reason", Arc::new(reasons), "why the row was skipped").nullable(),
            column("row", Arc::new(input_rows), "row of a skipped row in the input").nullable(),
            column("is_reference", Arc::new(is_reference), "whether it came with --reference"),
        ];
        if questions.ranking.is_some() {
            let values: StringArray = numbers.iter().map(|row| questions.ranking_value(place(row)?)).collect();
            let meaning = "value of the column that decides which question represents a cluster";
            columns.push(column("ranking", Arc::new(values), meaning).nullable());
        }
        Ok(columns)
    };
    let ranking = questions.ranking.iter().map(|ranking| (RANKING.to_string(), ranking.column.clone()));
    write_batches(path, starts.into_iter().map(batch), &ranking.collect::<Vec<_>>())
}

/// Reads what [`write()`] wrote. The hash is computed again: compare it with the one that is expected.
pub fn read(path: &Path) -> Result<Questions> {
    let builder = open_parquet(path)?;
    let id_type =
        builder.schema().field_with_name("id").with_context(|| path.display().to_string())?.data_type().clone();
    let footer = builder.metadata().file_metadata().key_value_metadata();
    let column = footer.into_iter().flatten().find(|entry| entry.key == RANKING).and_then(|entry| entry.value.clone());
    let mut ranking = column.map(|column| RankingValues { column, ..RankingValues::default() });
    let reader =
        builder.with_batch_size(BATCH_ROWS).build().with_context(|| format!("cannot read {}", path.display()))?;
    let (mut ids, mut texts, mut rows, mut skipped) =
        (vec![new_empty_array(&id_type)], Texts::default(), Vec::new(), Vec::new());
    let mut is_reference = Vec::new();
    let mut row = 0;
    for batch in reader {
        let batch = batch.with_context(|| format!("{}: cannot be read", path.display()))?;
        let column =
            |name: &str| batch.column_by_name(name).with_context(|| format!("{}: no column {name:?}", path.display()));
        ids.push(column("id")?.clone());
        let (text, reason) = (column("text")?.as_string::<i32>(), column("reason")?.as_string::<i32>());
        let input_row = column("row")?.as_primitive::<UInt32Type>();
        let reference = column("is_reference")?.as_boolean();
        let values = if ranking.is_some() { Some(column("ranking")?.as_string::<i32>()) } else { None };
        for at in 0..batch.num_rows() {
            if text.is_valid(at) {
                texts.push(text.value(at));
                rows.push(row);
                is_reference.push(reference.value(at));
                if let (Some(ranking), Some(values)) = (&mut ranking, values) {
                    ranking.texts.push(if values.is_valid(at) { values.value(at) } else { "" });
                }
            } else {
                let reason = SkipReason::from_name(reason.value(at));
                let reason = reason.with_context(|| format!("{}: unknown reason", path.display()))?;
                skipped.push(Skipped { row, input_row: input_row.value(at), reason });
            }
            row += 1;
        }
    }
    if is_reference.iter().all(|is| !is) {
        is_reference.clear();
    }
    let ids = Ids::concat(&ids)?.unwrap_or_else(|| Ids::row_numbers(0));
    Questions { ids, texts, rows, skipped, is_reference, ranking, content: String::new() }.hashed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::question_rows::Rows;

    #[test]
    fn questions_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.parquet");
        let texts = [Some("a"), None, Some(" "), Some("b\u{e9}")];
        let mut rows = Rows::ranked_by(Some("votes"));
        texts.iter().zip(["7", "8", "9", ""]).for_each(|(text, value)| rows.push(*text, None, Some(value)).unwrap());
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["z", "y", "x", "w"]));
        let mut questions = Questions::new(Ids(ids), rows).unwrap();
        questions.is_reference = vec![true, false];
        let questions = questions.hashed().unwrap();
        for questions in [questions, Questions::new(Ids::row_numbers(0), Rows::default()).unwrap()] {
            write(&path, &questions).unwrap();
            let back = read(&path).unwrap();
            assert_eq!(back.content, questions.content);
            assert_eq!((&back.rows, &back.skipped), (&questions.rows, &questions.skipped));
            assert_eq!(
                (&back.is_reference, back.ids.type_name()),
                (&questions.is_reference, questions.ids.type_name())
            );
            let kept = |questions: &Questions| -> Option<(String, Vec<String>)> {
                let ranking = questions.ranking.as_ref()?;
                Some((ranking.column.clone(), ranking.texts.iter().map(String::from).collect()))
            };
            assert_eq!(kept(&back), kept(&questions));
        }
    }
}
