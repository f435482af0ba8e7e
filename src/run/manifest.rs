//! `manifest.json`: what ran, on what, for how long, and what was left out. Written last: a folder with a manifest is a
//! complete run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calibration::Calibrator;
use crate::calibration::by_cosine::ByCosine;
use crate::calibration::decision::{Ceiling, Decision};
use crate::calibration::profile::Fit;
use crate::error::hint;
use crate::run::decision::Rule;
use crate::run::flags::{self, RawOptions};
use crate::run::input::InputFile;
use crate::run::options::{self, Options, Part};

/// File name in the output folder.
pub const FILE: &str = "manifest.json";

/// Raised when a field goes or changes its meaning. Format 1 had no number, and knew its input by the bytes of the files.
pub const FORMAT: u32 = 2;

/// A finished run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    #[serde(default = "first_format")]
    pub format: u32,
    pub run_id: String,
    /// Number of the version that the results are.
    #[serde(default)]
    pub number: u64,
    pub version: String,
    pub started: String,
    pub seconds: f64,
    pub inputs: Vec<InputFile>,
    /// Hash of the ids and texts that were read, whatever their order.
    #[serde(default)]
    pub content: String,
    /// As they were decided: `min-cosine` and `threshold` are those that the run took.
    pub options: Options,
    pub models: Models,
    /// The rerank floor, if that of the models lost too many duplicates of this corpus and was lowered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowered_rerank_floor: Option<f32>,
    /// What stood for the probability of pairs that the cross-encoder was not asked about, if it was asked about some alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unasked: Option<ByCosine>,
    /// How far the cross-encoder's scores are from those of the corpus that it was calibrated for, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    pub device: String,
    pub threads: usize,
    pub stages: Vec<StageRecord>,
    pub warnings: Vec<String>,
}

fn first_format() -> u32 {
    1
}

/// The models of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Models {
    pub bi_encoder: ModelRecord,
    pub cross_encoder: Option<ModelRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionRecord>,
}

/// A model: its name, the hash of its files, and for one by hub name its exact revision and weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    pub name: String,
    pub hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, String>,
}

/// How the cross-encoder decided; the threshold is among the options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DecisionRecord {
    pub cosine_weight: f64,
    pub calibrator: Calibrator,
    pub rerank_floor: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank_ceiling: Option<Ceiling>,
}

/// One stage of a finished run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageRecord {
    pub stage: String,
    pub seconds: f64,
    /// Whether stored results were all that was needed.
    pub cached: bool,
    /// Texts embedded or pairs scored in this run; the others were stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<u64>,
    pub rows_in: u64,
    pub rows_out: u64,
    /// What each executor of a cluster did, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub executors: BTreeMap<String, ExecutorRecord>,
    /// What was left out, and how many.
    pub dropped: BTreeMap<String, u64>,
}

/// What one executor did in a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutorRecord {
    pub device: String,
    pub units: u64,
    /// Questions embedded, rows of cells searched, or orders of pairs reranked.
    pub rows: u64,
    /// Time that it worked.
    pub seconds: f64,
}

/// A value of the run that differs from what is asked for now.
pub struct Difference {
    pub option: String,
    pub before: String,
    pub now: String,
}

impl Manifest {
    /// The manifest of an output folder, `None` when it has none: it holds no complete run.
    pub fn read(output: &Path) -> Result<Option<Self>> {
        let path = output.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
        };
        let foreign = |e: serde_json::Error| anyhow!("{}: not a manifest of mine: {e}", path.display());
        // a newer manifest may have other fields: its number is read first
        let newer = serde_json::from_slice::<FormatOnly>(&bytes).ok().filter(|found| found.format > FORMAT);
        if let Some(FormatOnly { format }) = newer {
            return Err(hint(
                format!("{}: it has format {format}, this mine reads up to {FORMAT}", path.display()),
                "use the version of mine that wrote it, or a later one",
            ));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(foreign)
    }

    /// How the run decided.
    pub fn rule(&self) -> Rule {
        let threshold = self.options.threshold.unwrap_or_default();
        let calibrated = self.models.decision.as_ref().map(|decision| Decision {
            cosine_weight: decision.cosine_weight,
            calibrator: decision.calibrator.clone(),
            threshold,
            rerank_floor: self.lowered_rerank_floor.or(decision.rerank_floor),
            rerank_ceiling: decision.rerank_ceiling,
        });
        Rule { threshold, swap_margin: self.options.swap_margin, calibrated, unasked: self.unasked.clone() }
    }

    /// What of `options` and `models` differs from the run's, whatever its input held.
    pub fn differences(&self, options: &Options, models: &Models) -> Result<Vec<Difference>> {
        let is_model = |flag: &str| matches!(flag, "bi-encoder" | "cross-encoder");
        let pairs = self.options.values()?.into_iter().zip(options.values()?);
        let mut found: Vec<Difference> = pairs
            .filter(|((option, before), (_, now))| {
                before != now && !is_model(option.flag) && option.parts != [Part::Corpus]
            })
            .map(|((option, before), (_, now))| {
                Difference::new(&format!("--{}", option.flag), shown(&before), shown(&now))
            })
            .collect();
        let name = |model: Option<&ModelRecord>| model.map_or("none".into(), ModelRecord::describe);
        let both = [
            ("--bi-encoder", Some(&self.models.bi_encoder), Some(&models.bi_encoder)),
            ("--cross-encoder", self.models.cross_encoder.as_ref(), models.cross_encoder.as_ref()),
        ];
        let hash = |model: Option<&ModelRecord>| model.map(|model| model.hash.clone());
        let changed = both.into_iter().filter(|(_, before, now)| hash(*before) != hash(*now));
        found.extend(changed.map(|(flag, before, now)| Difference::new(flag, name(before), name(now))));
        if found.is_empty() && self.models.decision != models.decision {
            found.push(Difference::new("the calibration", "that of an earlier dupmine.json".into(), "another".into()));
        }
        Ok(found)
    }

    /// Options of a run without flags. `input`, `min-cosine` and `threshold` have no default: the user or the model
    /// decides them.
    pub fn default_options() -> Result<Options> {
        let input = RawOptions { input: vec![String::new()], ..RawOptions::default() };
        options::check(&flags::overlay(&flags::defaults()?, &input)?)
    }
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Difference {
    fn new(option: &str, before: String, now: String) -> Self {
        Self { option: option.into(), before, now }
    }
}

impl ModelRecord {
    /// Name and the start of the hash.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.name, self.hash.chars().take(12).collect::<String>())
    }
}

/// A value as a person types it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
