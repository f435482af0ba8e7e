//! The files that a run writes: their rows, and the columns of each with meaning and unit.
//!
//! Each file is declared once, for writing and for reading. To add a column: a field of the row, a line in its schema,
//! and a higher format.

use crate::tables::records::{Cell, Field, Schema};

/// How a pair is known to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PairKind {
    /// The same bytes.
    Exact,
    /// The same text after normalisation.
    Normalised,
    /// Found by the models.
    #[default]
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

/// One row of `pairs.parquet`. Questions are numbered in the order of their ids; a < b.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
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

/// `pairs.parquet`: a scored candidate pair a row, ordered by the ids of a, then b.
pub const PAIRS: Schema<PairRow> = Schema {
    file: "pairs.parquet",
    format: 2,
    columns: &[
        Field { name: "id_a", unit: "", meaning: "the smaller of the two ids", cell: Cell::Id(|row| &mut row.a) },
        Field { name: "id_b", unit: "", meaning: "the larger of the two ids", cell: Cell::Id(|row| &mut row.b) },
        Field {
            name: "cosine",
            unit: "cosine",
            meaning: "bi-encoder similarity, -1 to 1",
            cell: Cell::F32(|row| &mut row.cosine),
        },
        Field {
            name: "score_ab",
            unit: "logit",
            meaning: "cross-encoder logit of (a, b); null if this order was not scored",
            cell: Cell::OptionalF32(|row| &mut row.logit_ab),
        },
        Field {
            name: "score_ba",
            unit: "logit",
            meaning: "cross-encoder logit of (b, a); null if this order was not scored",
            cell: Cell::OptionalF32(|row| &mut row.logit_ba),
        },
        Field {
            name: "probability",
            unit: "probability",
            meaning: "calibrated probability of the mean logit, with the cosine if both models were calibrated together; \
                      without a cross-encoder the cosine, at least 0; 1 for copies; null if the pair was not reranked",
            cell: Cell::OptionalF32(|row| &mut row.probability),
        },
        Field {
            name: "is_duplicate",
            unit: "",
            meaning: "probability at or above the threshold; false below the rerank floor; null if the rerank budget \
                      ended before the pair",
            cell: Cell::OptionalBool(|row| &mut row.is_duplicate),
        },
        Field {
            name: "kind",
            unit: "",
            meaning: "exact (same bytes), normalised (same text) or semantic (models)",
            cell: Cell::Text {
                get: |row| row.kind.name(),
                set: |row, name| PairKind::from_name(name).map(|kind| row.kind = kind).is_some(),
            },
        },
    ],
};

/// One row of `clusters.parquet`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClusterRow {
    pub question: u32,
    pub cluster: i64,
    pub is_representative: bool,
    pub is_reference: bool,
    pub probability_to_representative: Option<f32>,
    pub size: u32,
}

/// `clusters.parquet`: a question in a cluster of two or more a row; a cluster's rows follow each other.
pub const CLUSTERS: Schema<ClusterRow> = Schema {
    file: "clusters.parquet",
    format: 3,
    columns: &[
        Field { name: "id", unit: "", meaning: "id of the question", cell: Cell::Id(|row| &mut row.question) },
        Field {
            name: "cluster_id",
            unit: "",
            meaning: "id of the cluster; it stays when the cluster changes",
            cell: Cell::I64(|row| &mut row.cluster),
        },
        Field {
            name: "is_representative",
            unit: "",
            meaning: "whether it represents its cluster",
            cell: Cell::Bool(|row| &mut row.is_representative),
        },
        Field {
            name: "is_reference",
            unit: "",
            meaning: "whether the question came with --reference",
            cell: Cell::Bool(|row| &mut row.is_reference),
        },
        Field {
            name: "probability_to_representative",
            unit: "probability",
            meaning: "probability of the pair with the representative; null if that pair was not scored",
            cell: Cell::OptionalF32(|row| &mut row.probability_to_representative),
        },
        Field {
            name: "cluster_size",
            unit: "questions",
            meaning: "questions in the cluster, copies counted",
            cell: Cell::U32(|row| &mut row.size),
        },
    ],
};

/// One row of `cluster_stats.parquet`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClusterStatsRow {
    pub cluster: i64,
    pub size: u32,
    pub edges: u64,
    pub density: f32,
    pub min_probability: f32,
    pub mean_probability: f32,
    pub representative: u32,
    pub needs_review: bool,
    pub first_seen: u64,
    pub first_seen_at: i64,
    pub last_changed: u64,
    pub last_changed_at: i64,
}

/// `cluster_stats.parquet`: a cluster of two or more a row.
pub const CLUSTER_STATS: Schema<ClusterStatsRow> = Schema {
    file: "cluster_stats.parquet",
    format: 3,
    columns: &[
        Field {
            name: "cluster_id",
            unit: "",
            meaning: "id of the cluster; it stays when the cluster changes",
            cell: Cell::I64(|row| &mut row.cluster),
        },
        Field {
            name: "size",
            unit: "questions",
            meaning: "questions in the cluster, copies counted",
            cell: Cell::U32(|row| &mut row.size),
        },
        Field {
            name: "edges",
            unit: "pairs",
            meaning: "pairs of distinct texts inside that are duplicates",
            cell: Cell::U64(|row| &mut row.edges),
        },
        Field {
            name: "density",
            unit: "share",
            meaning: "edges over all pairs of distinct texts inside; 1 when all are copies of one text",
            cell: Cell::F32(|row| &mut row.density),
        },
        Field {
            name: "min_probability",
            unit: "probability",
            meaning: "lowest among the scored pairs inside",
            cell: Cell::F32(|row| &mut row.min_probability),
        },
        Field {
            name: "mean_probability",
            unit: "probability",
            meaning: "mean over the scored pairs inside",
            cell: Cell::F32(|row| &mut row.mean_probability),
        },
        Field {
            name: "representative",
            unit: "",
            meaning: "id of the representative",
            cell: Cell::Id(|row| &mut row.representative),
        },
        Field {
            name: "needs_review",
            unit: "",
            meaning: "whether a person should look: see docs/output.md",
            cell: Cell::Bool(|row| &mut row.needs_review),
        },
        Field {
            name: "first_seen",
            unit: "version",
            meaning: "version in which the cluster got its id",
            cell: Cell::U64(|row| &mut row.first_seen),
        },
        Field {
            name: "first_seen_at",
            unit: "",
            meaning: "time of that version's run",
            cell: Cell::Time(|row| &mut row.first_seen_at),
        },
        Field {
            name: "last_changed",
            unit: "version",
            meaning: "version in which a question last joined or left",
            cell: Cell::U64(|row| &mut row.last_changed),
        },
        Field {
            name: "last_changed_at",
            unit: "",
            meaning: "time of that version's run",
            cell: Cell::Time(|row| &mut row.last_changed_at),
        },
    ],
};

/// One row of `skipped.parquet`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SkippedRow {
    pub question: u32,
    pub input_row: u32,
    pub reason: String,
}

/// `skipped.parquet`: an input row without a question a row.
pub const SKIPPED: Schema<SkippedRow> = Schema {
    file: "skipped.parquet",
    format: 2,
    columns: &[
        Field { name: "id", unit: "", meaning: "id of the row", cell: Cell::Id(|row| &mut row.question) },
        Field {
            name: "row",
            unit: "row",
            meaning: "row number in the input, from 0, files joined in order",
            cell: Cell::U32(|row| &mut row.input_row),
        },
        Field {
            name: "reason",
            unit: "",
            meaning: "why it holds no question",
            cell: Cell::Text { get: |row| &row.reason, set: |row, text| replace(&mut row.reason, text) },
        },
    ],
};

/// One row of `metrics.parquet`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MetricRow {
    pub run_id: String,
    pub stage: String,
    pub metric: String,
    pub value: f64,
    pub unit: String,
}

/// `metrics.parquet`: a figure a row. Nothing here depends on the clock: a rerun writes the same bytes.
pub const METRICS: Schema<MetricRow> = Schema {
    file: "metrics.parquet",
    format: 2,
    columns: &[
        Field {
            name: "run_id",
            unit: "",
            meaning: "fingerprint of the questions, models and options of the run",
            cell: Cell::Text { get: |row| &row.run_id, set: |row, text| replace(&mut row.run_id, text) },
        },
        Field {
            name: "stage",
            unit: "",
            meaning: "stage that the figure belongs to",
            cell: Cell::Text { get: |row| &row.stage, set: |row, text| replace(&mut row.stage, text) },
        },
        Field {
            name: "metric",
            unit: "",
            meaning: "name of the figure",
            cell: Cell::Text { get: |row| &row.metric, set: |row, text| replace(&mut row.metric, text) },
        },
        Field {
            name: "value",
            unit: "",
            meaning: "the figure, in the row's unit",
            cell: Cell::F64(|row| &mut row.value),
        },
        Field {
            name: "unit",
            unit: "",
            meaning: "unit of the figure",
            cell: Cell::Text { get: |row| &row.unit, set: |row, text| replace(&mut row.unit, text) },
        },
    ],
};

fn replace(field: &mut String, text: &str) -> bool {
    *field = text.into();
    true
}

/// `embeddings.parquet`: a question and its vector a row. [`crate::tables::embeddings`] writes it: the width of a vector is
/// the model's.
pub const EMBEDDINGS: &str = "embeddings.parquet";
