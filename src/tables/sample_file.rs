//! Pairs of a run drawn for a person to label, and read back with the labels.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{BooleanArray, Float32Array, Float64Array, StringArray, UInt32Array, UInt64Array};

use crate::atomic_file::{folder_of, make_folder_of, publish, temporary_in};
use crate::tables::columns::{self, CellKind, Wanted};
use crate::tables::ids::Ids;
use crate::tables::labelled_pairs::parse_label;
use crate::tables::write::{self, Column};

/// A drawn pair. Questions are input rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledPair {
    pub a: u32,
    pub b: u32,
    pub question1: String,
    pub question2: String,
    pub cosine: f32,
    pub probability: Option<f32>,
    /// What the run decided; undecided pairs count as not called duplicates.
    pub predicted: bool,
    pub stratum: u32,
    /// Pairs of the run in the stratum, and how many of them were drawn.
    pub stratum_pairs: u64,
    pub stratum_drawn: u64,
}

/// A row of a sample that a person has labelled.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSample {
    /// Ids of the two questions as text; empty if the file has none.
    pub ids: [String; 2],
    pub stratum: u32,
    pub stratum_pairs: u64,
    pub predicted: bool,
    /// What decides about the pair: its probability, or the cosine in a file without probabilities. `None` if the pair has
    /// none.
    pub score: Option<f64>,
    /// `None` where the person left it empty.
    pub is_duplicate: Option<bool>,
}

/// Writes the sample twice, as CSV for a person and as Parquet, with an empty column `is_duplicate`. Its columns
/// question1, question2 and is_duplicate are those of a pairs file: labelled, it is training data as it stands.
pub fn write(csv: &Path, parquet: &Path, ids: &Ids, rows: &[SampledPair]) -> Result<()> {
    make_folder_of(csv)?;
    write_csv(csv, ids, rows)?;
    write_parquet(parquet, ids, rows)
}

fn weight(row: &SampledPair) -> f64 {
    row.stratum_pairs as f64 / row.stratum_drawn as f64
}

fn write_csv(path: &Path, ids: &Ids, rows: &[SampledPair]) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let file = temporary_in(folder_of(path)).with_context(failed)?;
    let mut writer = csv::Writer::from_writer(file.as_file());
    let header = [
        "id_a",
        "id_b",
        "question1",
        "question2",
        "is_duplicate",
        "cosine",
        "probability",
        "predicted",
        "stratum",
        "stratum_pairs",
        "weight",
    ];
    writer.write_record(header).with_context(failed)?;
    for row in rows {
        let record = [
            ids.display(row.a as usize),
            ids.display(row.b as usize),
            row.question1.clone(),
            row.question2.clone(),
            String::new(),
            row.cosine.to_string(),
            row.probability.map_or_else(String::new, |probability| probability.to_string()),
            row.predicted.to_string(),
            row.stratum.to_string(),
            row.stratum_pairs.to_string(),
            weight(row).to_string(),
        ];
        writer.write_record(record).with_context(failed)?;
    }
    writer.flush().with_context(failed)?;
    drop(writer);
    publish(file, path)
}

fn write_parquet(path: &Path, ids: &Ids, rows: &[SampledPair]) -> Result<()> {
    let id = |of: fn(&SampledPair) -> u32| ids.pick(&rows.iter().map(of).collect::<Vec<_>>());
    let text = |of: fn(&SampledPair) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(of)));
    let probabilities: Float32Array = rows.iter().map(|row| row.probability).collect();
    let unlabelled: BooleanArray = rows.iter().map(|_| None::<bool>).collect();
    let predicted: BooleanArray = rows.iter().map(|row| Some(row.predicted)).collect();
    let columns = vec![
        Column::new("id_a", id(|row| row.a)?.0, "", "id of the first question"),
        Column::new("id_b", id(|row| row.b)?.0, "", "id of the other question"),
        Column::new("question1", text(|row| &row.question1), "", "text of the first question"),
        Column::new("question2", text(|row| &row.question2), "", "text of the other question"),
        Column::new("is_duplicate", Arc::new(unlabelled), "", "for a person to fill in: true or false").nullable(),
        Column::new(
            "cosine",
            Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.cosine))),
            "cosine",
            "bi-encoder similarity",
        ),
        Column::new("probability", Arc::new(probabilities), "probability", "as in pairs.parquet").nullable(),
        Column::new("predicted", Arc::new(predicted), "", "whether the run calls it a duplicate"),
        Column::new(
            "stratum",
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.stratum))),
            "",
            "slice of scores that the pair was drawn from, the highest first",
        ),
        Column::new(
            "stratum_pairs",
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.stratum_pairs))),
            "pairs",
            "pairs of the run in that slice",
        ),
        Column::new(
            "weight",
            Arc::new(Float64Array::from_iter_values(rows.iter().map(weight))),
            "pairs",
            "pairs of the run that this one stands for",
        ),
    ];
    write::write(path, columns)
}

/// Reads a labelled sample. Rows without a label are kept as such; a label that is neither 0 nor 1 is refused.
pub fn read(path: &Path) -> Result<Vec<LabelledSample>> {
    let column = |name, kind| Wanted { name, kind, flag: None };
    let number = |name| column(name, CellKind::Number);
    let text = |name| column(name, CellKind::Text);
    let wanted = [
        text("is_duplicate"),
        number("predicted"),
        number("stratum"),
        number("stratum_pairs"),
        number("probability"),
        number("cosine"),
        text("id_a"),
        text("id_b"),
    ];
    let table = columns::read(path, &wanted)?;
    if let Some(at) = (0..4).find(|&at| !table.has(at)) {
        bail!("{}: no column {:?}: is it a file of mine sample?", path.display(), wanted[at].name);
    }
    let has_probability = (0..table.rows()).any(|row| table.number(4, row).is_some());
    (0..table.rows())
        .map(|row| {
            let at = || format!("{}: {}", path.display(), table.place(row));
            let count = |column: usize| {
                let value = table.number(column, row).filter(|value| *value >= 0.0 && value.fract() == 0.0);
                value.with_context(|| format!("{}: {:?} is no number", at(), wanted[column].name))
            };
            let label = parse_label(table.text(0, row)).map_err(|e| anyhow!("{}: is_duplicate is {e}", at()))?;
            Ok(LabelledSample {
                ids: [6, 7].map(|column| table.text(column, row).unwrap_or_default().to_string()),
                stratum: count(2)? as u32,
                stratum_pairs: count(3)? as u64,
                predicted: count(1)? == 1.0,
                score: table.number(if has_probability { 4 } else { 5 }, row),
                is_duplicate: label,
            })
        })
        .collect()
}

/// The ids of all pairs of a file with the columns `id_a` and `id_b`, such as a sample.
pub fn pair_ids(path: &Path) -> Result<Vec<[String; 2]>> {
    let wanted = ["id_a", "id_b"].map(|name| Wanted { name, kind: CellKind::Text, flag: None });
    let table = columns::read(path, &wanted)?;
    if let Some(at) = (0..2).find(|&at| !table.has(at)) {
        bail!("{}: no column {:?}, expected a file of mine sample", path.display(), wanted[at].name);
    }
    let ids = |row: usize| [0, 1].map(|column| table.text(column, row).unwrap_or_default().to_string());
    Ok((0..table.rows()).map(ids).collect())
}
