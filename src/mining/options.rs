//! Options: as they are written, in TOML or as flags, and as they are checked.
//!
//! [`RawOptions`] is both the flags of `mine` and the keys of a pipeline file, so a flag and its key cannot differ.
//! Layers are merged key by key (file, then `--set`, then flags) and checked once into [`Options`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::clustering::Algorithm;
use crate::device::DeviceChoice;
use crate::error::usage;
use crate::models::checkpoint::built_in;
use crate::models::network::precision::Precision;
use crate::option_file::{self, at_least, within};
use crate::search::engine::Engine;
use crate::search::hnsw::HnswConfig;

/// Every option of the mining pipeline, each absent or present.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawOptions {
    /// Questions: a .parquet, .csv, .tsv or .jsonl file, a folder of Parquet files, or a quoted glob such as 'dumps/*.csv'
    #[arg(long, value_name = "PATH")]
    pub input: Option<String>,
    /// Column that holds the question [default: text]
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column that holds the id [default: id; where there is none, row numbers from 0]
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,
    /// Folder of the results [default: mined]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Nearest neighbours taken per question [default: 100]
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// A sentence-transformers folder, a name on the hub (`organisation/model@revision`), or `built-in` [default: built-in]
    #[arg(long, value_name = "DIR|NAME")]
    pub bi_encoder: Option<String>,
    /// A cross-encoder's folder, name on the hub, `built-in`, or `none` to decide by cosine alone [default: built-in]
    #[arg(long, value_name = "DIR|NAME")]
    pub cross_encoder: Option<String>,
    /// How neighbours are found [default: auto]
    #[arg(long)]
    pub index: Option<Engine>,
    /// Cosine below which a pair is no candidate [default: from the bi-encoder's dupmine.json]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub min_cosine: Option<f32>,
    /// Probability from which a pair is a duplicate; without a cross-encoder, the cosine [default: from dupmine.json]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Warn where the index finds a smaller share of the pairs above the floor [default: 0.99]
    #[arg(long, value_name = "SHARE")]
    pub min_recall: Option<f64>,
    /// Build the HNSW index one vector at a time: slower, but the same bytes every time
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub deterministic: Option<bool>,
    /// Links per node of the HNSW graph (M) [default: 16]
    #[arg(long, value_name = "M")]
    pub hnsw_links: Option<usize>,
    /// Candidates kept while building the HNSW graph (efConstruction) [default: 100]
    #[arg(long, value_name = "EF")]
    pub hnsw_ef_construction: Option<usize>,
    /// Candidates kept while searching the HNSW graph (ef) [default: 128]
    #[arg(long, value_name = "EF")]
    pub hnsw_ef_search: Option<usize>,
    /// Most the cross-encoder may do: a number of pairs, or minutes as in `30m`; the most promising pairs come first
    #[arg(long, value_name = "PAIRS|MINUTES")]
    pub rerank_budget: Option<Budget>,
    /// Cosine below which pairs are not reranked and count as different; -1 reranks all [default: measured for the two models and their threshold]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub rerank_floor: Option<f32>,
    /// A pair's second order is scored when the first is within this many logits of the threshold [default: 2]
    #[arg(long, value_name = "LOGITS")]
    pub second_order_margin: Option<f32>,
    /// How scored pairs become clusters [default: cohesive]
    #[arg(long)]
    pub clustering: Option<Algorithm>,
    /// Also write embeddings.parquet
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub write_embeddings: Option<bool>,
    /// Where models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Most tokens of a batch, padding included; the results do not depend on it [default: what suits the device]
    #[arg(long, value_name = "TOKENS")]
    pub batch_tokens: Option<usize>,
    /// Number format of the encoders [default: f32]
    #[arg(long)]
    pub precision: Option<Precision>,
    /// Worker threads; the results do not depend on it [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Seed of every random choice [default: 42]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// What the cross-encoder may spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    Pairs(usize),
    Time(Duration),
}

impl std::str::FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number of pairs (200000) nor minutes (30m)");
        match text.strip_suffix('m') {
            Some(minutes) => {
                let minutes: f64 = minutes.trim().parse().map_err(|_| wrong())?;
                Duration::try_from_secs_f64(minutes * 60.0).map(Self::Time).map_err(|_| wrong())
            }
            None => text.replace('_', "").parse().map(Self::Pairs).map_err(|_| wrong()),
        }
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Pairs(pairs) => write!(f, "{pairs}"),
            Self::Time(time) => write!(f, "{}m", time.as_secs_f64() / 60.0),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number of pairs (200000) or minutes (\"30m\")")]
        enum Written {
            Pairs(usize),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Pairs(pairs) => Ok(Self::Pairs(pairs)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Checked options. What the models' calibration supplies is still open.
#[derive(Debug, Clone)]
pub struct Options {
    pub input: String,
    pub text_column: Option<String>,
    pub id_column: Option<String>,
    pub output: PathBuf,
    pub top_k: usize,
    /// Folder, hub name or `built-in`.
    pub bi_encoder: String,
    /// The same; `None` decides by the cosine.
    pub cross_encoder: Option<String>,
    pub engine: Engine,
    pub min_cosine: Option<f32>,
    pub threshold: Option<f32>,
    pub min_recall: f64,
    pub hnsw: HnswConfig,
    pub rerank_budget: Option<Budget>,
    pub rerank_floor: Option<f32>,
    pub second_order_margin: f32,
    pub clustering: Algorithm,
    pub write_embeddings: bool,
    pub device: DeviceChoice,
    pub batch_tokens: Option<usize>,
    pub precision: Precision,
    pub threads: usize,
    pub seed: u64,
}

/// Parses a pipeline file's text; errors name file, line and key.
pub fn parse(text: &str, origin: &Path) -> Result<RawOptions> {
    let table = option_file::parse(text, origin)?;
    option_file::check::<RawOptions>(&table, |key| option_file::place(origin, 1, text.lines(), key))?;
    Ok(table.try_into()?)
}

/// Parses one `--set key=value`; a value that is not TOML is taken as a string.
pub fn parse_set(argument: &str) -> Result<RawOptions> {
    Ok(option_file::parse_set::<RawOptions>(argument)?.try_into()?)
}

/// The pipeline that bare flags are laid over.
pub fn defaults() -> Result<RawOptions> {
    parse(include_str!("../../pipelines/mine.toml"), Path::new("pipelines/mine.toml"))
}

/// The lower layer with every key of the upper laid over it.
pub fn overlay(lower: &RawOptions, upper: &RawOptions) -> Result<RawOptions> {
    let mut merged = toml::Table::try_from(lower).context("options do not serialise")?;
    merged.extend(toml::Table::try_from(upper).context("options do not serialise")?);
    merged.try_into().context("options do not merge")
}

/// Checks merged options.
pub fn check(raw: &RawOptions) -> Result<Options> {
    let input = raw.input.clone().ok_or_else(|| usage("--input is missing: which questions?"))?;
    let model = |written: &Option<String>| written.clone().unwrap_or_else(|| built_in::NAME.into());
    let links = within("hnsw-links", raw.hnsw_links.unwrap_or(16), 2, 256)?;
    Ok(Options {
        input,
        text_column: raw.text_column.clone(),
        id_column: raw.id_column.clone(),
        output: raw.output.clone().unwrap_or_else(|| "mined".into()),
        top_k: within("top-k", raw.top_k.unwrap_or(100), 1, 100_000)?,
        bi_encoder: model(&raw.bi_encoder),
        cross_encoder: Some(model(&raw.cross_encoder)).filter(|name| name != "none"),
        engine: raw.index.unwrap_or(Engine::Auto),
        min_cosine: raw.min_cosine.map(|value| within("min-cosine", value, -1.0, 1.0)).transpose()?,
        threshold: raw.threshold.map(|value| within("threshold", value, 0.0, 1.0)).transpose()?,
        min_recall: within("min-recall", raw.min_recall.unwrap_or(0.99), 0.0, 1.0)?,
        hnsw: HnswConfig {
            links,
            ef_construction: within("hnsw-ef-construction", raw.hnsw_ef_construction.unwrap_or(100), links, 10_000)?,
            ef_search: within("hnsw-ef-search", raw.hnsw_ef_search.unwrap_or(128), 1, 100_000)?,
            deterministic: raw.deterministic.unwrap_or(false),
        },
        rerank_budget: raw.rerank_budget,
        rerank_floor: raw.rerank_floor.map(|value| within("rerank-floor", value, -1.0, 1.0)).transpose()?,
        second_order_margin: at_least("second-order-margin", raw.second_order_margin.unwrap_or(2.0), 0.0)?,
        clustering: raw.clustering.unwrap_or(Algorithm::Cohesive),
        write_embeddings: raw.write_embeddings.unwrap_or(false),
        device: raw.device.unwrap_or(DeviceChoice::Auto),
        batch_tokens: raw.batch_tokens.map(|tokens| within("batch-tokens", tokens, 1, 1 << 24)).transpose()?,
        precision: raw.precision.unwrap_or(Precision::F32),
        threads: within("threads", raw.threads.unwrap_or(0), 0, 4096)?,
        seed: raw.seed.unwrap_or(42),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, Path::new("p.toml")).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_and_key() {
        assert_eq!(
            error("top-k = 5\ntopk = 7\n"),
            "p.toml: line 2: unknown key `topk`; the nearest known key is `top-k`"
        );
        let wrong_type = error("\ntop-k = \"many\"\n");
        assert!(wrong_type.starts_with("p.toml: line 2: key `top-k`: invalid type"), "{wrong_type}");
        assert!(error("top-k = ").starts_with("p.toml: line 1: "));
        assert!(parse_set("top-q=3").unwrap_err().to_string().contains("`top-k`"));
    }

    #[test]
    fn upper_layers_win_key_by_key() {
        let lower = parse("top-k = 5\nseed = 1\nrerank-budget = \"30m\"", Path::new("p.toml")).unwrap();
        let merged = overlay(&lower, &parse_set("top-k=9").unwrap()).unwrap();
        assert_eq!((merged.top_k, merged.seed), (Some(9), Some(1)));
        assert_eq!(merged.rerank_budget, Some(Budget::Time(Duration::from_secs(1800))));
        assert_eq!(parse_set("input=a b.parquet").unwrap().input.as_deref(), Some("a b.parquet"));
    }

    #[test]
    fn a_line_is_that_of_the_whole_key_and_a_budget_says_what_it_can_be() {
        assert!(error("hnsw-ef-construction = 9\nhnsw-ef = 5\n").starts_with("p.toml: line 2: unknown key `hnsw-ef`"));
        for budget in ["30.5", "-1"] {
            let error = error(&format!("rerank-budget = {budget}"));
            assert!(error.contains("`rerank-budget`: expected a number of pairs (200000) or minutes"), "{error}");
        }
    }

    #[test]
    fn the_default_pipeline_says_what_the_flags_default_to() {
        assert!(check(&defaults().unwrap()).unwrap_err().to_string().contains("--input"));
        let input = parse_set("input=q.parquet").unwrap();
        let of_file = check(&overlay(&defaults().unwrap(), &input).unwrap()).unwrap();
        assert_eq!(format!("{of_file:?}"), format!("{:?}", check(&input).unwrap()));
    }
}
