//! The files a run writes: their columns, meanings and units.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, StringArray, UInt32Array, UInt64Array};

use crate::tables::ids::Ids;
use crate::tables::shards::vectors_array;
use crate::tables::write::{Column, write, write_all};

const CHUNK_ROWS: usize = 65_536;

/// How a pair is known to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairKind {
    /// The same bytes.
    Exact,
    /// The same text after normalisation.
    Normalised,
    /// Found by the models.
    Semantic,
}

impl PairKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Normalised => "normalised",
            Self::Semantic => "semantic",
        }
    }

    /// The inverse of [`PairKind::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Exact, Self::Normalised, Self::Semantic].into_iter().find(|kind| kind.name() == name)
    }
}

/// One row of `pairs.parquet`; `a` and `b` are input rows, a < b.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairRow {
    pub a: u32,
    pub b: u32,
    pub cosine: f32,
    pub logit_ab: Option<f32>,
    pub logit_ba: Option<f32>,
    pub probability: Option<f32>,
    pub is_duplicate: Option<bool>,
    pub kind: PairKind,
}

/// One row of `clusters.parquet`; `question` and `cluster` are input rows (the cluster's is its first member's).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterRow {
    pub question: u32,
    pub cluster: u32,
    pub is_representative: bool,
    pub probability_to_representative: Option<f32>,
    pub size: u32,
}

/// One row of `cluster_stats.parquet`; `cluster` and `representative` are input rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterStatsRow {
    pub cluster: u32,
    pub size: u32,
    pub edges: u64,
    pub density: f32,
    pub min_probability: f32,
    pub mean_probability: f32,
    pub representative: u32,
    pub needs_review: bool,
}

/// One row of `metrics.parquet`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub stage: &'static str,
    pub metric: &'static str,
    pub value: f64,
    pub unit: &'static str,
}

fn f32s(values: impl Iterator<Item = f32>) -> ArrayRef {
    Arc::new(Float32Array::from_iter_values(values))
}

fn optional_f32s(values: impl Iterator<Item = Option<f32>>) -> ArrayRef {
    Arc::new(values.collect::<Float32Array>())
}

/// Chunks of a table, at least one so that an empty table still has its columns.
fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let whole = if rows.is_empty() { Some(rows) } else { None };
    whole.into_iter().chain(rows.chunks(CHUNK_ROWS))
}

fn picked<T>(ids: &Ids, rows: &[T], row: impl Fn(&T) -> u32) -> Result<ArrayRef> {
    Ok(ids.pick(&rows.iter().map(row).collect::<Vec<_>>())?.0)
}

/// `pairs.parquet`: a scored candidate pair a row, in input order of a, then b.
pub fn write_pairs(path: &Path, ids: &Ids, rows: &[PairRow]) -> Result<()> {
    let table = |rows: &[PairRow]| {
        let kinds = StringArray::from_iter_values(rows.iter().map(|r| r.kind.name()));
        let duplicates: BooleanArray = rows.iter().map(|r| r.is_duplicate).collect();
        Ok(vec![
            Column::new("id_a", picked(ids, rows, |r| r.a)?, "", "id of the question that comes first in the input"),
            Column::new("id_b", picked(ids, rows, |r| r.b)?, "", "id of the other question"),
            Column::new("cosine", f32s(rows.iter().map(|r| r.cosine)), "cosine", "bi-encoder similarity, -1 to 1"),
            Column::new(
                "score_ab",
                optional_f32s(rows.iter().map(|r| r.logit_ab)),
                "logit",
                "cross-encoder log-odds of (a, b); null when not reranked",
            )
            .nullable(),
            Column::new(
                "score_ba",
                optional_f32s(rows.iter().map(|r| r.logit_ba)),
                "logit",
                "cross-encoder log-odds of (b, a); null when not reranked or when the first order left nothing open",
            )
            .nullable(),
            Column::new(
                "probability",
                optional_f32s(rows.iter().map(|r| r.probability)),
                "probability",
                "calibrated probability of the mean logit, with the cosine where both models were measured together; without a cross-encoder the cosine, at least 0; 1 for copies; null when \
                 the pair was not reranked",
            )
            .nullable(),
            Column::new(
                "is_duplicate",
                Arc::new(duplicates),
                "",
                "probability at or above the threshold; false below the rerank floor; null when the rerank budget ended before the pair",
            )
            .nullable(),
            Column::new("kind", Arc::new(kinds), "", "exact (same bytes), normalised (same text) or semantic (models)"),
        ])
    };
    write_all(path, chunks(rows).map(table))
}

/// `clusters.parquet`: a question in a cluster of two or more a row.
pub fn write_clusters(path: &Path, ids: &Ids, rows: &[ClusterRow]) -> Result<()> {
    let table = |rows: &[ClusterRow]| {
        let representative: BooleanArray = rows.iter().map(|r| Some(r.is_representative)).collect();
        let sizes = UInt32Array::from_iter_values(rows.iter().map(|r| r.size));
        Ok(vec![
            Column::new("id", picked(ids, rows, |r| r.question)?, "", "id of the question"),
            Column::new("cluster_id", picked(ids, rows, |r| r.cluster)?, "", "id of the cluster's first question"),
            Column::new("is_representative", Arc::new(representative), "", "whether it stands for its cluster"),
            Column::new(
                "probability_to_representative",
                optional_f32s(rows.iter().map(|r| r.probability_to_representative)),
                "probability",
                "probability of the pair with the representative; null when that pair was not scored",
            )
            .nullable(),
            Column::new("cluster_size", Arc::new(sizes), "questions", "questions in the cluster, copies counted"),
        ])
    };
    write_all(path, chunks(rows).map(table))
}

/// `cluster_stats.parquet`: a cluster of two or more a row.
pub fn write_cluster_stats(path: &Path, ids: &Ids, rows: &[ClusterStatsRow]) -> Result<()> {
    let table = |rows: &[ClusterStatsRow]| {
        let review: BooleanArray = rows.iter().map(|r| Some(r.needs_review)).collect();
        Ok(vec![
            Column::new("cluster_id", picked(ids, rows, |r| r.cluster)?, "", "id of the cluster's first question"),
            Column::new(
                "size",
                Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.size))),
                "questions",
                "questions in the cluster, copies counted",
            ),
            Column::new(
                "edges",
                Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.edges))),
                "pairs",
                "pairs of distinct texts inside that are duplicates",
            ),
            Column::new(
                "density",
                f32s(rows.iter().map(|r| r.density)),
                "share",
                "edges over all pairs of distinct texts inside; 1 when all are copies of one text",
            ),
            Column::new(
                "min_probability",
                f32s(rows.iter().map(|r| r.min_probability)),
                "probability",
                "lowest among the scored pairs inside",
            ),
            Column::new(
                "mean_probability",
                f32s(rows.iter().map(|r| r.mean_probability)),
                "probability",
                "mean over the scored pairs inside",
            ),
            Column::new("representative", picked(ids, rows, |r| r.representative)?, "", "id of the representative"),
            Column::new("needs_review", Arc::new(review), "", "whether a person should look: see docs/output.md"),
        ])
    };
    write_all(path, chunks(rows).map(table))
}

/// `skipped.parquet`: an input row without a question a row.
pub fn write_skipped(path: &Path, ids: &Ids, rows: &[(u32, &'static str)]) -> Result<()> {
    let reasons = StringArray::from_iter_values(rows.iter().map(|(_, reason)| *reason));
    let numbers = UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row));
    let columns = vec![
        Column::new("id", picked(ids, rows, |(row, _)| *row)?, "", "id of the row"),
        Column::new("row", Arc::new(numbers), "row", "row number in the input, from 0, files joined in order"),
        Column::new("reason", Arc::new(reasons), "", "why it holds no question"),
    ];
    write(path, columns)
}

/// `metrics.parquet`: a figure a row. Nothing here depends on the clock: a rerun writes the same bytes.
pub fn write_metrics(path: &Path, run_id: &str, rows: &[Metric]) -> Result<()> {
    let strings =
        |of: fn(&Metric) -> &'static str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(of))) };
    let run_ids: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|_| run_id)));
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|m| m.value)));
    let columns = vec![
        Column::new("run_id", run_ids, "", "fingerprint of the inputs, models and options of the run"),
        Column::new("stage", strings(|m| m.stage), "", "stage that the figure belongs to"),
        Column::new("metric", strings(|m| m.metric), "", "name of the figure"),
        Column::new("value", values, "", "the figure, in the row's unit"),
        Column::new("unit", strings(|m| m.unit), "", "unit of the figure"),
    ];
    write(path, columns)
}

/// `embeddings.parquet`: a question a row. `vectors` is row-major `[texts, width]`; question `rows[i].0` has the
/// vector of text `rows[i].1`.
pub fn write_embeddings(path: &Path, ids: &Ids, rows: &[(u32, u32)], vectors: &[f32], width: usize) -> Result<()> {
    let table = |rows: &[(u32, u32)]| {
        let of = |text: u32| &vectors[text as usize * width..(text as usize + 1) * width];
        let values: Vec<f32> = rows.iter().flat_map(|&(_, text)| of(text)).copied().collect();
        let embeddings = vectors_array(width, values)?;
        Ok(vec![
            Column::new("id", picked(ids, rows, |(row, _)| *row)?, "", "id of the question"),
            Column::new(
                "embedding",
                embeddings,
                "",
                "unit vector of the bi-encoder, or zero where its vocabulary knows nothing of the text",
            ),
        ])
    };
    write_all(path, chunks(rows).map(table))
}
