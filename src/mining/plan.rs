//! What a run consists of: its stages with their fingerprints, before anything is computed.

use anyhow::{Result, ensure};

use crate::calibration::decision::Decision;
use crate::mining::artifact::{Stage, Workspace};
use crate::mining::candidates;
use crate::mining::candidates::CandidatesConfig;
use crate::mining::cluster;
use crate::mining::embed;
use crate::mining::input::{self, InputFile};
use crate::mining::options::Options;
use crate::mining::rerank;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::calibration;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::models::hub;
use crate::progress::Progress;
use crate::run::manifest::Manifest;
use crate::search::Query;
use crate::search::engine::{AUTO_EXACT_TEXTS, Engine};
use crate::tables::questions::{self, Columns};
use crate::text::normalise;

/// Decides at this cosine when neither the user nor the model says otherwise.
const FALLBACK_COSINE: f32 = 0.75;
/// Decides at this probability when neither the user nor the cross-encoder says otherwise.
const FALLBACK_PROBABILITY: f32 = 0.5;

/// Everything a run needs to know before it starts.
pub struct Plan {
    pub options: Options,
    pub inputs: Vec<InputFile>,
    pub bi_encoder: ModelFolder,
    pub bi_encoder_hash: String,
    pub cross_encoder: Option<(ModelFolder, String)>,
    /// Candidate floor.
    pub floor: f32,
    /// Of the probability; of the cosine when there is no cross-encoder.
    pub threshold: f32,
    /// How a cross-encoder's scores decide; `None` when there is no cross-encoder.
    pub decision: Option<Decision>,
    pub stages: Stages,
}

/// The stages that keep artifacts. Scores depend neither on threshold, margin nor budget, which only decide which pairs
/// are scored: changing them reuses what is there.
pub struct Stages {
    pub embed: Stage,
    pub candidates: Stage,
    pub rerank_ab: Stage,
    pub rerank_ba: Stage,
    pub rerank: Stage,
    pub cluster: Stage,
}

impl Plan {
    /// Reads and hashes what the options name. Warns of thresholds that nobody measured.
    pub fn new(options: Options, progress: &Progress) -> Result<Self> {
        let inputs = input::hash(&input::resolve(&options.input)?)?;
        Self::of_inputs(options, inputs, progress)
    }

    /// The plan for inputs that are hashed already; without any it still tells models, floor and threshold.
    pub fn of_inputs(options: Options, inputs: Vec<InputFile>, progress: &Progress) -> Result<Self> {
        let bi_encoder = hub::open_or(&options.bi_encoder, built_in::BI_ENCODER, progress)?;
        let bi_encoder_hash = bi_encoder.fingerprint()?;
        let cross_encoder = match &options.cross_encoder {
            Some(written) => {
                let folder = hub::open_or(written, built_in::CROSS_ENCODER, progress)?;
                check_cross_encoder(&folder)?;
                let hash = folder.fingerprint()?;
                Some((folder, hash))
            }
            None => None,
        };
        let decision = match &cross_encoder {
            Some((folder, _)) => Some(decision(&options, folder, &bi_encoder_hash, progress)?),
            None => None,
        };
        let (floor, threshold) = thresholds(&options, &bi_encoder, decision.as_ref(), progress)?;
        let cross_hash = cross_encoder.as_ref().map(|(_, hash)| hash.clone());
        let stages = stages(&options, &inputs, &bi_encoder_hash, cross_hash, floor, (threshold, decision.as_ref()));
        Ok(Self { options, inputs, bi_encoder, bi_encoder_hash, cross_encoder, floor, threshold, decision, stages })
    }

    /// Identifies the results: the same run id, the same bytes (save that a time budget depends on the machine).
    pub fn run_id(&self) -> String {
        let parts = [
            ("cluster", self.stages.cluster.fingerprint()),
            ("write-embeddings", self.options.write_embeddings.to_string()),
        ];
        Stage::new("run", 1, parts).fingerprint()
    }

    /// Options of the candidates stage.
    pub fn candidates_config(&self) -> CandidatesConfig {
        CandidatesConfig {
            engine: self.options.engine,
            query: Query { top_k: self.options.top_k, floor: self.floor },
            hnsw: self.options.hnsw,
            seed: self.options.seed,
        }
    }

    /// One line a stage: fresh or stale, and why.
    pub fn describe(&self) -> Vec<String> {
        let workspace = Workspace::peek(&self.options.output);
        let mut staged = vec![&self.stages.embed, &self.stages.candidates];
        if self.cross_encoder.is_some() {
            staged.push(&self.stages.rerank);
        }
        let line = |name: &str, why: Option<String>| match why {
            None => format!("{name:<12} fresh"),
            Some(why) => format!("{name:<12} stale   {why}"),
        };
        let mut upstream: Option<&str> = None;
        let mut lines = Vec::new();
        for stage in staged {
            let done = workspace.done::<serde_json::Value>(stage).is_some();
            let shards = match stage.name {
                "rerank" => workspace.shards(&self.stages.rerank_ab) + workspace.shards(&self.stages.rerank_ba),
                _ => workspace.shards(stage),
            };
            let why = (!done).then(|| match upstream {
                Some(upstream) => format!("{}; after {upstream}", workspace.why_stale(stage, shards)),
                None => workspace.why_stale(stage, shards),
            });
            if why.is_some() {
                upstream = Some(stage.name);
            }
            lines.push(line(stage.name, why));
        }
        let written = Manifest::read(&self.options.output)
            .ok()
            .flatten()
            .is_some_and(|manifest| manifest.run_id == self.run_id());
        let why = match upstream {
            Some(stage) => Some(format!("after {stage}")),
            None if written => None,
            None => Some("its options changed, or its files are not written".into()),
        };
        lines.push(line("cluster", why));
        lines
    }
}

/// Refuses here, and not after hours of embedding, what says of itself that it is something else.
fn check_cross_encoder(folder: &ModelFolder) -> Result<()> {
    let kind = Kind::of(folder)?;
    ensure!(
        kind == Kind::Cross || kind == Kind::Bi && !folder.has("modules.json"),
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

/// How the cross-encoder decides: beside the bi-encoder if they were measured together.
fn decision(
    options: &Options,
    cross_encoder: &ModelFolder,
    bi_encoder_hash: &str,
    progress: &Progress,
) -> Result<Decision> {
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
    let mut decision = calibration.decision(bi_encoder_hash).unwrap_or_else(|| {
        let fallback = || unmeasured("threshold", "--threshold", FALLBACK_PROBABILITY, cross_encoder, progress);
        let threshold = options.threshold.unwrap_or_else(fallback);
        let calibrator = calibration.calibrator.clone().unwrap_or_default();
        Decision { cosine_weight: 0.0, calibrator, threshold, rerank_floor: None }
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
    decision.threshold = threshold;
    decision.rerank_floor = options.rerank_floor.or(decision.rerank_floor);
    Ok(decision)
}

/// Candidate floor, and threshold of the probability or the cosine.
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
        unmeasured("candidate floor", "--min-cosine", FALLBACK_COSINE.min(lower), bi_encoder, progress)
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

fn stages(
    options: &Options,
    inputs: &[InputFile],
    bi_encoder: &str,
    cross_encoder: Option<String>,
    floor: f32,
    (threshold, decision): (f32, Option<&Decision>),
) -> Stages {
    let input = inputs.iter().map(|file| file.blake3.as_str()).collect::<Vec<_>>().join(",");
    let columns = Columns { text: options.text_column.clone(), id: options.id_column.clone() };
    let embed = Stage::new(
        "embed",
        embed::VERSION,
        [
            ("input", input),
            ("text-column", columns.text().to_string()),
            ("reading", questions::VERSION.to_string()),
            ("normaliser", normalise::VERSION.to_string()),
            ("bi-encoder", bi_encoder.to_string()),
            ("precision", options.precision.name().into()),
        ],
    );
    let hnsw = if options.engine == Engine::Exact { String::new() } else { format!("{:?}", options.hnsw) };
    let candidates = Stage::new(
        "candidates",
        candidates::VERSION,
        [
            ("embed", embed.fingerprint()),
            ("top-k", options.top_k.to_string()),
            ("min-cosine", floor.to_string()),
            ("index", format!("{} {AUTO_EXACT_TEXTS}", options.engine.name())),
            ("hnsw", hnsw),
            ("seed", options.seed.to_string()),
        ],
    );
    let model = cross_encoder.unwrap_or_else(|| "none".into());
    let rerank_ab = Stage::new(
        "rerank-ab",
        rerank::VERSION,
        [
            ("candidates", candidates.fingerprint()),
            ("cross-encoder", model),
            ("precision", options.precision.name().into()),
        ],
    );
    let rerank_ba = Stage::new("rerank-ba", rerank::VERSION, [("rerank-ab", rerank_ab.fingerprint())]);
    let budget = options.rerank_budget.map_or(String::new(), |budget| budget.to_string());
    let rerank = Stage::new(
        "rerank",
        rerank::VERSION,
        [
            ("rerank-ba", rerank_ba.fingerprint()),
            ("decision", format!("{decision:?}")),
            ("second-order-margin", options.second_order_margin.to_string()),
            ("rerank-budget", budget),
        ],
    );
    let cluster = Stage::new(
        "cluster",
        cluster::VERSION,
        [
            ("rerank", rerank.fingerprint()),
            // ids change rows of the results, and nothing that was computed from the texts
            ("id-column", columns.id.clone().unwrap_or_default()),
            ("threshold", threshold.to_string()),
            ("decision", format!("{decision:?}")),
            ("clustering", format!("{:?}", options.clustering)),
        ],
    );
    Stages { embed, candidates, rerank_ab, rerank_ba, rerank, cluster }
}
