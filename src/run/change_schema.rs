//! The files that say what changed from version to version: rows and columns.

use crate::tables::records::{Cell, Field, Schema};

/// Why a question is in another cluster than in the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reason {
    /// The version before did not have the question.
    #[default]
    New,
    /// Its text changed.
    Edited,
    /// It is gone, or has no text any more.
    Deleted,
    /// It stayed as it was; other questions or scores around it are new.
    Scores,
    /// The threshold, or another option that decides, changed.
    Threshold,
    /// A model or its calibration changed.
    Model,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Scores => "scores",
            Self::Threshold => "threshold",
            Self::Model => "model",
        }
    }

    /// The inverse of [`Reason::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::New, Self::Edited, Self::Deleted, Self::Scores, Self::Threshold, Self::Model];
        all.into_iter().find(|reason| reason.name() == name)
    }
}

/// What happened to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Event {
    /// A new cluster of questions that were in none.
    #[default]
    Created,
    /// A new cluster that was part of another one.
    Split,
    /// A cluster that was merged into another one and is back under its old id.
    Revived,
    /// Questions joined it.
    Grown,
    /// Questions left it.
    Shrunk,
    /// Another question represents it.
    Represented,
    /// It is now part of another cluster.
    Merged,
    /// It has fewer than two questions now.
    Dissolved,
}

impl Event {
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Split,
        Self::Revived,
        Self::Grown,
        Self::Shrunk,
        Self::Represented,
        Self::Merged,
        Self::Dissolved,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Split => "split",
            Self::Revived => "revived",
            Self::Grown => "grown",
            Self::Shrunk => "shrunk",
            Self::Represented => "represented",
            Self::Merged => "merged",
            Self::Dissolved => "dissolved",
        }
    }

    /// The inverse of [`Event::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// One row of `membership_changes.parquet`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MembershipChangeRow {
    pub version: u64,
    pub time: i64,
    pub question: u32,
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub reason: Reason,
}

/// `membership_changes.parquet`: a question that is in another cluster than in the version before a row.
pub const MEMBERSHIP_CHANGES: Schema<MembershipChangeRow> = Schema {
    file: "membership_changes.parquet",
    format: 1,
    columns: &[
        Field {
            name: "version",
            unit: "version",
            meaning: "version that brought the change",
            cell: Cell::U64(|row| &mut row.version),
        },
        Field { name: "run_time", unit: "", meaning: "time of its run", cell: Cell::Time(|row| &mut row.time) },
        Field { name: "id", unit: "", meaning: "id of the question", cell: Cell::Id(|row| &mut row.question) },
        Field {
            name: "from_cluster_id",
            unit: "",
            meaning: "its cluster before; null if it was in none",
            cell: Cell::OptionalI64(|row| &mut row.from),
        },
        Field {
            name: "to_cluster_id",
            unit: "",
            meaning: "its cluster now; null if it is in none",
            cell: Cell::OptionalI64(|row| &mut row.to),
        },
        Field {
            name: "reason",
            unit: "",
            meaning: "new, edited or deleted question; scores, threshold or model: something around it changed",
            cell: Cell::Text {
                get: |row| row.reason.name(),
                set: |row, name| Reason::from_name(name).map(|reason| row.reason = reason).is_some(),
            },
        },
    ],
};

/// One row of `cluster_events.parquet`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClusterEventRow {
    pub version: u64,
    pub time: i64,
    pub event: Event,
    pub cluster: i64,
    pub other: Option<i64>,
    pub size_before: u32,
    pub size_after: u32,
    pub questions: u32,
    pub representative: Option<u32>,
}

/// `cluster_events.parquet`: what happened to a cluster a row. A cluster can have several in one version.
pub const CLUSTER_EVENTS: Schema<ClusterEventRow> = Schema {
    file: "cluster_events.parquet",
    format: 1,
    columns: &[
        Field {
            name: "version",
            unit: "version",
            meaning: "version that brought the event",
            cell: Cell::U64(|row| &mut row.version),
        },
        Field { name: "run_time", unit: "", meaning: "time of its run", cell: Cell::Time(|row| &mut row.time) },
        Field {
            name: "event",
            unit: "",
            meaning: "created, split, revived, grown, shrunk, represented, merged or dissolved",
            cell: Cell::Text {
                get: |row| row.event.name(),
                set: |row, name| Event::from_name(name).map(|event| row.event = event).is_some(),
            },
        },
        Field { name: "cluster_id", unit: "", meaning: "the cluster", cell: Cell::I64(|row| &mut row.cluster) },
        Field {
            name: "other_cluster_id",
            unit: "",
            meaning: "where it was merged into, or what it was split from; null otherwise",
            cell: Cell::OptionalI64(|row| &mut row.other),
        },
        Field {
            name: "size_before",
            unit: "questions",
            meaning: "questions in the cluster before",
            cell: Cell::U32(|row| &mut row.size_before),
        },
        Field {
            name: "size_after",
            unit: "questions",
            meaning: "questions in the cluster now",
            cell: Cell::U32(|row| &mut row.size_after),
        },
        Field {
            name: "questions",
            unit: "questions",
            meaning: "questions that joined or left",
            cell: Cell::U32(|row| &mut row.questions),
        },
        Field {
            name: "representative",
            unit: "",
            meaning: "id of the question that represents the cluster now; null if the cluster is gone",
            cell: Cell::OptionalId(|row| &mut row.representative),
        },
    ],
};
