//! What a report is made from: a run that is about to end, or one that was read from its folder.

use std::collections::BTreeMap;

use crate::report::labels::Labels;
use crate::report::thresholds::Outcome;
use crate::run::change_schema::ClusterEventRow;
use crate::run::manifest::Manifest;
use crate::run::options::Options;
use crate::run::schema::{ClusterRow, ClusterStatsRow};
use crate::store::versions::Version;
use crate::tables::ids::Ids;
use crate::tables::questions::Questions;
use crate::text::visible::visible;

/// Characters shown of a text.
const CHARACTERS: usize = 240;

/// A run without its pairs, which come as a stream.
pub struct Source<'a> {
    pub manifest: &'a Manifest,
    /// Options of a run without flags: they show which ones were changed.
    pub defaults: &'a Options,
    /// Figures by `stage.metric`.
    pub metrics: &'a BTreeMap<String, f64>,
    pub ids: &'a Ids,
    /// The questions, or why they are not available.
    pub questions: Result<&'a Questions, &'a str>,
    pub clusters: &'a [ClusterRow],
    /// In the order of the clusters.
    pub stats: &'a [ClusterStatsRow],
    pub labels: Option<&'a Labels>,
    /// What other thresholds would give; empty without labels.
    pub outcomes: &'a [Outcome],
    /// What changed since the version before; `None` in a first version.
    pub night: Option<&'a Night>,
}

/// The events of a version, and the versions up to it.
pub struct Night {
    pub events: Vec<ClusterEventRow>,
    pub history: Vec<Version>,
    pub number: u64,
}

impl Night {
    /// `events` are those of version `number`, and perhaps of earlier ones; `history` are the kept versions.
    pub fn new(mut events: Vec<ClusterEventRow>, history: &[Version], number: u64) -> Self {
        events.retain(|event| event.version == number);
        let mut history = history.to_vec();
        history.retain(|version| version.number <= number);
        Self { events, history, number }
    }
}

/// A question as the page shows it.
#[derive(Clone)]
pub struct QuestionCard {
    pub id: String,
    /// `None` if the input is gone.
    pub text: Option<String>,
}

impl Source<'_> {
    /// An id, safe to show.
    pub fn id(&self, row: u32) -> String {
        visible(&self.ids.display(row as usize), CHARACTERS)
    }

    pub fn question(&self, row: u32) -> QuestionCard {
        let text = self.questions.ok().and_then(|questions| questions.text_of_row(row));
        QuestionCard { id: self.id(row), text: text.map(|text| visible(text, CHARACTERS)) }
    }

    /// A figure of the run; 0 if it has none of that name.
    pub fn metric(&self, name: &str) -> f64 {
        self.metrics.get(name).copied().unwrap_or(0.0)
    }

    /// Lowest cosine of a candidate.
    pub fn min_cosine(&self) -> f32 {
        self.manifest.options.min_cosine.unwrap_or_default()
    }

    /// Lowest probability (without a cross-encoder: cosine) of a duplicate.
    pub fn threshold(&self) -> f32 {
        self.manifest.rule().threshold
    }

    pub fn has_cross_encoder(&self) -> bool {
        self.manifest.models.cross_encoder.is_some()
    }
}
