//! What a run consists of, before anything is computed: models, thresholds, and the identities of what it stores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::calibration::by_cosine::ByCosine;
use crate::calibration::decision::{Ceiling, Decision};
use crate::calibration::profile::Profile;
use crate::error::usage_with_hint;
use crate::mining::collapse::UniqueTexts;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::calibration;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind as ModelKind;
use crate::models::hub;
use crate::models::hub::cache;
use crate::models::network::precision::{Precision, PrecisionChoice};
use crate::nightly::guards::Limits;
use crate::progress::Progress;
use crate::run::decision::Rule;
use crate::run::input;
use crate::run::manifest::{DecisionRecord, ModelRecord, Models};
use crate::run::options::{Options, Part, declared};
use crate::search::Query;
use crate::store::identity::{Identity, Kind, fingerprint};
use crate::store::place::is_url;

/// Versions of what the stages compute: raise one when a stage computes another value for some text or pair, so that no
/// stored value of the old code is taken for one of the new.
const VECTORS: u32 = 5;
const NEIGHBOURS: u32 = 3;
const SCORES: u32 = 3;
/// Of everything that is decided and written from stored values: decisions, clusters, and the columns of the files.
const RESULTS: u32 = 5;

/// The part of a neighbour identity that is the corpus: the hash of all its keys.
pub const CORPUS: &str = "texts";

/// Decides at this cosine when neither the user nor the model says otherwise.
const FALLBACK_COSINE: f32 = 0.75;
/// Decides at this probability when neither the user nor the cross-encoder says otherwise.
const FALLBACK_PROBABILITY: f32 = 0.5;

/// Everything a run needs to know before it reads its input.
#[derive(Clone)]
pub struct Plan {
    /// With the precision, the minimum cosine and the threshold that the run takes.
    pub options: Options,
    pub inputs: Vec<PathBuf>,
    pub bi_encoder: ModelFolder,
    pub cross_encoder: Option<ModelFolder>,
    pub models: Models,
    pub precision: Precision,
    /// Whether an option named the precision; otherwise it is what suits the device.
    pub is_precision_named: bool,
    /// Lowest cosine of a candidate.
    pub min_cosine: f32,
    pub rule: Rule,
    /// What the models said of the corpus that they were calibrated for.
    pub profile: Option<Profile>,
    /// What the stored vectors depend on.
    pub vectors: Identity,
    /// What the stored scores depend on; `None` without a cross-encoder.
    pub scores: Option<Identity>,
}

impl Plan {
    /// Finds the files and reads the models' calibration. Warns of thresholds that nobody measured.
    pub fn new(options: Options, progress: &Progress) -> Result<Self> {
        let inputs = input::resolve_all(&options.input)?;
        Self::of_inputs(options, inputs, progress)
    }

    /// The plan for files that are found already; without any it still tells models and thresholds.
    pub fn of_inputs(mut options: Options, inputs: Vec<PathBuf>, progress: &Progress) -> Result<Self> {
        // the manifest names it for commands that start elsewhere
        let absolute =
            |store: PathBuf| if is_url(&store) { store } else { std::path::absolute(&store).unwrap_or(store) };
        options.store = options.store.map(absolute);
        let is_precision_named = options.precision.0.is_some();
        let precision = options.precision.settle(options.device);
        options.precision = PrecisionChoice(Some(precision));
        let bi_encoder = hub::open_or(&options.bi_encoder, built_in::BI_ENCODER, progress)?;
        let bi_encoder_record = record(&bi_encoder)?;
        let cross_encoder = match options.cross_encoder() {
            Some(written) => {
                let folder = hub::open_or(written, built_in::CROSS_ENCODER, progress)?;
                check_cross_encoder(&folder)?;
                Some(folder)
            }
            None => None,
        };
        let (calibrated, profile) = match &cross_encoder {
            Some(folder) => {
                let (decision, profile) = decision(&options, folder, &bi_encoder_record.hash, progress)?;
                (Some(decision), profile)
            }
            None => (None, None),
        };
        let (min_cosine, threshold) = thresholds(&options, &bi_encoder, calibrated.as_ref(), progress)?;
        options.min_cosine = Some(min_cosine);
        options.threshold = Some(threshold);
        let models = Models {
            bi_encoder: bi_encoder_record,
            cross_encoder: cross_encoder.as_ref().map(record).transpose()?,
            decision: calibrated.as_ref().map(|decision| DecisionRecord {
                cosine_weight: decision.cosine_weight,
                calibrator: decision.calibrator.clone(),
                rerank_floor: decision.rerank_floor,
                rerank_ceiling: decision.rerank_ceiling,
            }),
        };
        let model = |flag: &str, record: &ModelRecord| (flag.to_string(), record.hash.clone());
        let vectors = options.of_part(Part::Vectors)?.into_iter().chain([model("bi-encoder", &models.bi_encoder)]);
        let vectors = Identity::new(Kind::Vectors, VECTORS, vectors);
        let scores = match &models.cross_encoder {
            Some(record) => {
                let parts = options.of_part(Part::Scores)?.into_iter().chain([model("cross-encoder", record)]);
                Some(Identity::new(Kind::Scores, SCORES, parts))
            }
            None => None,
        };
        let rule = Rule { threshold, swap_margin: options.swap_margin, calibrated, unasked: None };
        Ok(Self {
            options,
            inputs,
            bi_encoder,
            cross_encoder,
            models,
            precision,
            is_precision_named,
            min_cosine,
            rule,
            profile,
            vectors,
            scores,
        })
    }

    /// The same with what reranking found out about the corpus: a lowered rerank floor, and what stands for the probability of
    /// pairs that were not asked about. What the models say of theirs stays.
    pub fn settled(&self, lowered_rerank_floor: Option<f32>, unasked: Option<ByCosine>) -> Self {
        let mut plan = self.clone();
        let decision = plan.rule.calibrated.iter_mut();
        decision.for_each(|decision| decision.rerank_floor = lowered_rerank_floor.or(decision.rerank_floor));
        plan.rule.unasked = unasked;
        plan
    }

    /// Says that a model is loaded, and in which precision if that is not the reference.
    pub fn loading(&self, model: &ModelFolder) -> String {
        match self.precision {
            Precision::F32 => format!("loading {}", model.name()),
            other => format!("loading {} ({})", model.name(), other.name()),
        }
    }

    /// What the neighbour lists of these texts depend on.
    pub fn neighbours(&self, unique: &UniqueTexts) -> Result<Identity> {
        let identity = self.any_neighbours()?.with(CORPUS, &unique.corpus());
        Ok(match unique.reference() {
            Some(reference) => identity.with("reference", &reference),
            None => identity,
        })
    }

    /// The same without the texts.
    fn any_neighbours(&self) -> Result<Identity> {
        let parts = self.options.of_part(Part::Neighbours)?;
        Ok(Identity::new(Kind::Neighbours, NEIGHBOURS, parts).with("vectors", &self.vectors.fingerprint()))
    }

    /// The values that decide which pairs are duplicates and which questions are together, by name; the models' own
    /// calibration is `model`.
    pub fn decision(&self) -> Result<BTreeMap<String, String>> {
        let calibration = ("model".to_string(), serde_json::to_string(&self.models.decision)?);
        Ok(self.options.of_part(Part::Decision)?.into_iter().chain([calibration]).collect())
    }

    /// Whether these values decided in the same way. What an older program did not know had its default.
    pub fn decides_as(&self, before: &BTreeMap<String, String>) -> Result<bool> {
        let default =
            |name: &str| declared(name).map(|option| if option.default.is_empty() { "null" } else { option.default });
        let now = self.decision()?;
        Ok(now.iter().all(|(name, value)| before.get(name).map(String::as_str).or(default(name)) == Some(value)))
    }

    /// Identifies the results. `content` is the hash of the questions. `scored` is a hash of which pairs have a score, if a
    /// budget decides that.
    pub fn run_id(&self, content: &str, scored: Option<&str>) -> Result<String> {
        let mut parts = BTreeMap::from([
            ("content".to_string(), content.to_string()),
            ("vectors".to_string(), self.vectors.fingerprint()),
            ("neighbours".to_string(), self.any_neighbours()?.fingerprint()),
            ("results".to_string(), RESULTS.to_string()),
            ("decision".to_string(), serde_json::to_string(&self.models.decision)?),
        ]);
        parts.extend(self.scores.as_ref().map(|scores| ("scores".to_string(), scores.fingerprint())));
        parts.extend(scored.map(|scored| ("scored".to_string(), scored.to_string())));
        for part in [Part::Decision, Part::Files] {
            parts.extend(self.options.of_part(part)?);
        }
        Ok(fingerprint("run", &parts))
    }

    /// Where stored values lie, if not beside the results.
    pub fn shared_store(&self) -> Option<&Path> {
        self.options.store.as_deref()
    }

    /// What the guards let pass.
    pub fn limits(&self) -> Limits {
        Limits {
            max_deleted: self.options.max_deleted,
            max_cluster_size: self.options.max_cluster_size,
            max_new_duplicates: self.options.max_new_duplicates,
        }
    }

    /// What a search is asked for.
    pub fn query(&self) -> Query {
        Query { top_k: self.options.top_k, floor: self.min_cosine }
    }
}

/// What computes: programs of the same build compute the same vectors, lists and scores.
pub fn build() -> String {
    format!("{} ({VECTORS}.{NEIGHBOURS}.{SCORES})", env!("CARGO_PKG_VERSION"))
}

/// A model for the manifest. The paths of folders mean the same wherever they are read.
fn record(folder: &ModelFolder) -> Result<ModelRecord> {
    let name = match folder {
        ModelFolder::OnDisk(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        ModelFolder::Hub { .. } | ModelFolder::BuiltIn { .. } => folder.name(),
    };
    let (revision, sha256) = match folder {
        ModelFolder::Hub { commit, path, .. } => (Some(commit.clone()), cache::sha256(path).unwrap_or_default()),
        ModelFolder::OnDisk(_) | ModelFolder::BuiltIn { .. } => (None, BTreeMap::new()),
    };
    Ok(ModelRecord { name, hash: folder.fingerprint()?, revision, sha256 })
}

/// Refuses here, and not after hours of embedding, what says of itself that it is something else.
fn check_cross_encoder(folder: &ModelFolder) -> Result<()> {
    let kind = ModelKind::of(folder)?;
    ensure!(
        kind == ModelKind::Cross || kind == ModelKind::Bi && !folder.has("modules.json"),
        "{} is a {}, expected a cross-encoder",
        folder.name(),
        kind.name()
    );
    Ok(())
}

/// A value that stands for one that nobody measured, with a warning.
fn unmeasured(what: &str, flag: &str, value: f32, model: &ModelFolder, progress: &Progress) -> f32 {
    progress.warn(format!("{} has no measured {what}: {value} is used; set it with {flag}", model.name()));
    value
}

/// How the cross-encoder decides: beside the bi-encoder if they were measured together; and what both said of the corpus that
/// they were measured for.
fn decision(
    options: &Options,
    cross_encoder: &ModelFolder,
    bi_encoder_hash: &str,
    progress: &Progress,
) -> Result<(Decision, Option<Profile>)> {
    let calibration = calibration::read(cross_encoder)?;
    if calibration.together.is_some() && calibration.beside(bi_encoder_hash).is_none() {
        let export = match cross_encoder {
            ModelFolder::BuiltIn { .. } => "mine models export makes a folder of it, which ",
            ModelFolder::OnDisk(_) | ModelFolder::Hub { .. } => "",
        };
        progress.warn(format!(
            "{} was measured beside another bi-encoder and decides without the cosine; {export}mine calibrate \
             --bi-encoder --cross-encoder measures with this one",
            cross_encoder.name()
        ));
    }
    let together = calibration.together.as_ref().filter(|together| together.bi_encoder == bi_encoder_hash);
    if together.and_then(|together| together.gain).is_some_and(|gain| !gain.is_sure()) {
        progress.warn(format!(
            "the pairs of its calibration do not show that {} adds anything to the cosine: --cross-encoder none takes a fraction of the time",
            cross_encoder.name()
        ));
    }
    let mut decision = calibration.decision(bi_encoder_hash).unwrap_or_else(|| {
        let fallback = || unmeasured("threshold", "--threshold", FALLBACK_PROBABILITY, cross_encoder, progress);
        let threshold = options.threshold.unwrap_or_else(fallback);
        let calibrator = calibration.calibrator.clone().unwrap_or_default();
        Decision { cosine_weight: 0.0, calibrator, threshold, rerank_floor: None, rerank_ceiling: None }
    });
    let threshold = options.threshold.unwrap_or(decision.threshold);
    if let (Some(floor), None) = (decision.rerank_floor, options.rerank_floor)
        && threshold < decision.threshold
    {
        // more of what lies below would be called duplicates than was measured
        decision.rerank_floor = None;
        progress.say(&format!(
            "every pair is reranked: the rerank floor {floor} was measured for the threshold {}, not for {threshold}; \
             --rerank-floor {floor} keeps it",
            decision.threshold
        ));
    }
    if let (Some(ceiling), None) = (decision.rerank_ceiling, options.rerank_ceiling) {
        let least = decision.probability(ceiling.log_odds, f64::from(ceiling.cosine));
        if f64::from(threshold) > least {
            // the cosine alone would call the most similar pairs different
            decision.rerank_ceiling = None;
            progress.say(&format!(
                "pairs above the rerank ceiling {0} are reranked: by the cosine alone their probability starts at \
                 {least:.3}, below the threshold {threshold}; --rerank-ceiling {0} keeps it",
                ceiling.cosine
            ));
        }
    }
    if let Some(cosine) = options.rerank_ceiling {
        let measured = decision.rerank_ceiling.filter(|_| cosine < 1.0);
        if measured.is_none() && cosine < 1.0 {
            return Err(usage_with_hint(
                format!("--rerank-ceiling {cosine}: {} has none to move", cross_encoder.name()),
                "mine calibrate --bi-encoder --cross-encoder measures one; --rerank-ceiling 1 reranks every pair",
            ));
        }
        decision.rerank_ceiling = measured.map(|ceiling| Ceiling { cosine, ..ceiling });
    }
    decision.threshold = threshold;
    decision.rerank_floor = options.rerank_floor.or(decision.rerank_floor);
    let profile = together.and_then(|together| together.profile.clone());
    Ok((decision, profile))
}

/// Lowest cosine of a candidate, and threshold of the probability or the cosine.
fn thresholds(
    options: &Options,
    bi_encoder: &ModelFolder,
    decision: Option<&Decision>,
    progress: &Progress,
) -> Result<(f32, f32)> {
    let cosine = calibration::read(bi_encoder)?.cosine;
    // where the cosine decides, a floor that nobody asked for must not hide what the threshold asks for
    let lower = if decision.is_none() { options.threshold.unwrap_or(1.0) } else { 1.0 };
    let floor = options.min_cosine.or(cosine.map(|c| c.floor.min(lower)));
    let floor = floor.unwrap_or_else(|| {
        unmeasured("minimum cosine", "--min-cosine", FALLBACK_COSINE.min(lower), bi_encoder, progress)
    });
    if floor > lower {
        progress.warn(format!("--min-cosine {floor} is above --threshold {lower}: no pair below the floor is found"));
    }
    let threshold = match decision {
        Some(decision) => decision.threshold,
        None => options
            .threshold
            .or(cosine.map(|c| c.threshold))
            .unwrap_or_else(|| unmeasured("threshold", "--threshold", FALLBACK_COSINE, bi_encoder, progress)),
    };
    Ok((floor, threshold))
}
