//! `manifest.json`: what ran, on what, for how long, and what was dropped. Written last: a folder with a manifest is
//! a complete run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::mining::input::InputFile;
use crate::mining::options::{self, Options, RawOptions};
use crate::mining::plan::Plan;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::hub::cache;

/// File name in the output folder.
pub const FILE: &str = "manifest.json";

/// One stage of a finished run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StageRecord {
    pub stage: String,
    pub seconds: f64,
    /// Whether an earlier run's artifact served.
    pub cached: bool,
    pub rows_in: u64,
    pub rows_out: u64,
    /// What was left out, and how many.
    pub dropped: BTreeMap<String, u64>,
}

/// A finished run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub run_id: String,
    pub version: String,
    pub started: String,
    pub seconds: f64,
    pub inputs: Value,
    pub options: Value,
    pub models: Value,
    pub device: String,
    pub threads: usize,
    pub stages: Vec<StageRecord>,
    pub warnings: Vec<String>,
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
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|e| anyhow!("{}: not a manifest of mine: {e}", path.display()))
    }

    /// Assembles the record of a run from its plan and what happened.
    pub fn new(
        plan: &Plan,
        stages: Vec<StageRecord>,
        started: jiff::Timestamp,
        device: &str,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            run_id: plan.run_id(),
            version: env!("CARGO_PKG_VERSION").into(),
            started: started.to_string(),
            seconds: started.duration_until(jiff::Timestamp::now()).as_secs_f64(),
            inputs: inputs(plan),
            options: options(&plan.options, plan.floor, plan.threshold),
            models: models(plan),
            device: device.into(),
            threads: rayon::current_num_threads(),
            stages,
            warnings,
        }
    }

    /// Whether the run had the options and models of `plan`, whatever its input held.
    pub fn has_options_of(&self, plan: &Plan) -> bool {
        self.options == options(&plan.options, plan.floor, plan.threshold) && self.models == models(plan)
    }
}

/// The input files, by paths that mean the same in any folder: `mine show` is typed elsewhere than the run was.
fn inputs(plan: &Plan) -> Value {
    let found = plan.inputs.iter().map(|file| InputFile { path: absolute(&file.path), ..file.clone() });
    serde_json::json!(found.collect::<Vec<_>>())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Every option that the results depend on, as it was decided.
fn options(options: &Options, floor: f32, threshold: f32) -> Value {
    serde_json::json!({
        "input": options.input,
        "text-column": options.text_column,
        "id-column": options.id_column,
        "top-k": options.top_k,
        "index": options.engine.name(),
        "min-cosine": decimal(floor),
        "threshold": decimal(threshold),
        "deterministic": options.hnsw.deterministic,
        "hnsw-links": options.hnsw.links,
        "hnsw-ef-construction": options.hnsw.ef_construction,
        "hnsw-ef-search": options.hnsw.ef_search,
        "rerank-budget": options.rerank_budget,
        "rerank-floor": options.rerank_floor.map(decimal),
        "second-order-margin": decimal(options.second_order_margin),
        "clustering": format!("{:?}", options.clustering).to_lowercase(),
        "write-embeddings": options.write_embeddings,
        "precision": options.precision.name(),
        "seed": options.seed,
    })
}

/// The options of a run without flags. `input`, `min-cosine` and `threshold` have no default: the user or the model
/// decides them, and here they mean nothing.
pub fn default_options() -> Result<Value> {
    let input = RawOptions { input: Some(String::new()), ..RawOptions::default() };
    let defaults = options::overlay(&options::defaults()?, &input)?;
    Ok(options(&options::check(&defaults)?, 0.0, 0.0))
}

/// The shortest decimal that is this number: 0.6, where widening its bits would give 0.6000000238418579.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

fn models(plan: &Plan) -> Value {
    let describe = |folder: &ModelFolder, hash: &str| match folder {
        ModelFolder::Hub { name, commit, path } => {
            let sha256 = cache::sha256(path).unwrap_or_default();
            serde_json::json!({ "name": name, "hash": hash, "revision": commit, "sha256": sha256 })
        }
        ModelFolder::OnDisk(path) => serde_json::json!({ "name": absolute(path), "hash": hash }),
        ModelFolder::BuiltIn { .. } => serde_json::json!({ "name": folder.name(), "hash": hash }),
    };
    let mut models = serde_json::json!({
        "bi-encoder": describe(&plan.bi_encoder, &plan.bi_encoder_hash),
        "cross-encoder": plan.cross_encoder.as_ref().map(|(folder, hash)| describe(folder, hash)),
    });
    if let Some(decision) = &plan.decision {
        // the threshold stands among the options
        models["decision"] = serde_json::json!({
            "cosine-weight": decision.cosine_weight,
            "calibrator": decision.calibrator,
            "rerank-floor": decision.rerank_floor.map(decimal),
        });
    }
    models
}
