//! Options of a run: the one table of defaults, ranges and what each option decides, and the checked [`Options`].

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clustering::Algorithm;
use crate::device::DeviceChoice;
use crate::error::usage;
use crate::models::network::precision::PrecisionChoice;
use crate::run::flags::{Budget, RawOptions, RunTime, Share};
use crate::run::input::one_or_many;
use crate::run::keep::Keep;
use crate::search::engine::Engine;
use crate::search::hnsw::HnswConfig;
use crate::tables::encoding::Encoding;
use crate::tables::format::Format;
use crate::tables::question_rows::ReadOptions;

/// What an option decides. A result is stored under the options of its part, so a change of one option costs what
/// depends on it and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Which questions the results are about; their content is hashed when they are read.
    Corpus,
    Vectors,
    Neighbours,
    Scores,
    /// Which pairs are duplicates and which questions are together.
    Decision,
    /// What else is in the result files; what they say of pairs and clusters does not depend on it.
    Files,
}

/// One option: its flag, its default as TOML (`""` if the user or the model decides), the numbers that it may take, and
/// what it decides.
pub struct Declared {
    pub flag: &'static str,
    pub default: &'static str,
    pub range: Option<(f64, f64)>,
    /// Empty for an option that changes no result; `why_harmless` says why.
    pub parts: &'static [Part],
    pub why_harmless: &'static str,
}

const fn option(flag: &'static str, default: &'static str, parts: &'static [Part]) -> Declared {
    Declared { flag, default, range: None, parts, why_harmless: "" }
}

const fn number(flag: &'static str, default: &'static str, least: f64, most: f64, parts: &'static [Part]) -> Declared {
    Declared { flag, default, range: Some((least, most)), parts, why_harmless: "" }
}

const fn harmless(flag: &'static str, default: &'static str, why_harmless: &'static str) -> Declared {
    Declared { flag, default, range: None, parts: &[], why_harmless }
}

/// Every option of a mining run.
pub const OPTIONS: [Declared; 40] = [
    option("input", "", &[Part::Corpus]),
    option("format", "", &[Part::Corpus]),
    option("encoding", "\"utf-8\"", &[Part::Corpus]),
    option("text-column", "", &[Part::Corpus]),
    option("id-column", "", &[Part::Corpus]),
    option("delta", "false", &[Part::Corpus]),
    option("reference", "", &[Part::Corpus]),
    harmless("output", "\"mined\"", "where results lie"),
    harmless("store", "", "where stored work lies"),
    harmless("cluster", "", "where work is done"),
    harmless("wait", "false", "when the run starts"),
    Declared { range: Some((1.0, 10_000.0)), ..harmless("keep-versions", "7", "how far back one can go") },
    harmless("run-time", "", "only recorded"),
    harmless("max-deleted", "", "refuses results, changes none"),
    Declared { range: Some((2.0, 4e9)), ..harmless("max-cluster-size", "", "refuses results, changes none") },
    harmless("max-new-duplicates", "", "refuses results, changes none"),
    option("bi-encoder", "\"built-in\"", &[Part::Vectors]),
    option("precision", "\"auto\"", &[Part::Vectors, Part::Scores]),
    number("top-k", "100", 1.0, 100_000.0, &[Part::Neighbours]),
    option("index", "\"auto\"", &[Part::Neighbours]),
    number("min-cosine", "", -1.0, 1.0, &[Part::Neighbours]),
    option("deterministic", "false", &[Part::Neighbours]),
    number("hnsw-links", "16", 2.0, 256.0, &[Part::Neighbours]),
    number("hnsw-ef-construction", "100", 2.0, 10_000.0, &[Part::Neighbours]),
    number("hnsw-ef-search", "128", 1.0, 100_000.0, &[Part::Neighbours]),
    Declared { range: Some((0.0, 1.0)), ..harmless("min-recall", "0.99", "only warns") },
    option("cross-encoder", "\"built-in\"", &[Part::Scores]),
    number("threshold", "", 0.0, 1.0, &[Part::Decision]),
    option("rerank-share", "", &[Part::Decision]),
    option("rerank-budget", "", &[Part::Decision]),
    number("rerank-floor", "", -1.0, 1.0, &[Part::Decision]),
    number("rerank-ceiling", "", -1.0, 1.0, &[Part::Decision]),
    number("swap-margin", "2.0", 0.0, 1000.0, &[Part::Decision]),
    option("clustering", "\"cohesive\"", &[Part::Decision]),
    option("keep", "\"most-central\"", &[Part::Files]),
    option("write-embeddings", "false", &[Part::Files]),
    option("seed", "42", &[Part::Neighbours]),
    harmless("device", "\"auto\"", "results of one kind of device do not depend on which one it is"),
    Declared {
        range: Some((1.0, 16_777_216.0)),
        ..harmless("batch-tokens", "", "a batch changes no vector and no score")
    },
    Declared { range: Some((0.0, 4096.0)), ..harmless("threads", "0", "work is divided, results are not") },
];

/// The declaration of a flag.
pub fn declared(flag: &str) -> Option<&'static Declared> {
    OPTIONS.iter().find(|option| option.flag == flag)
}

/// Checked options. The models' calibration supplies what is still open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    #[serde(with = "one_or_many")]
    pub input: Vec<String>,
    #[serde(default)]
    pub format: Option<Format>,
    #[serde(default)]
    pub encoding: Encoding,
    pub text_column: Option<String>,
    pub id_column: Option<String>,
    #[serde(default)]
    pub delta: bool,
    #[serde(default)]
    pub reference: Option<String>,
    #[serde(default)]
    pub output: PathBuf,
    pub store: Option<PathBuf>,
    #[serde(default)]
    pub cluster: Option<String>,
    #[serde(default)]
    pub wait: bool,
    #[serde(default = "seven")]
    pub keep_versions: usize,
    #[serde(default)]
    pub run_time: Option<RunTime>,
    #[serde(default)]
    pub max_deleted: Option<Share>,
    #[serde(default)]
    pub max_cluster_size: Option<usize>,
    #[serde(default)]
    pub max_new_duplicates: Option<Share>,
    /// Folder, hub name or `built-in`.
    #[serde(default)]
    pub bi_encoder: String,
    /// The same, or `none`: the cosine decides.
    #[serde(default)]
    pub cross_encoder: String,
    pub top_k: usize,
    pub index: Engine,
    pub min_cosine: Option<f32>,
    pub threshold: Option<f32>,
    #[serde(default)]
    pub min_recall: f64,
    pub deterministic: bool,
    pub hnsw_links: usize,
    pub hnsw_ef_construction: usize,
    pub hnsw_ef_search: usize,
    #[serde(default)]
    pub rerank_share: Option<Share>,
    pub rerank_budget: Option<Budget>,
    pub rerank_floor: Option<f32>,
    #[serde(default)]
    pub rerank_ceiling: Option<f32>,
    #[serde(alias = "second-order-margin")]
    pub swap_margin: f32,
    pub clustering: Algorithm,
    #[serde(default)]
    pub keep: Keep,
    pub write_embeddings: bool,
    #[serde(default = "auto")]
    pub device: DeviceChoice,
    pub batch_tokens: Option<usize>,
    /// The plan settles what `auto` is.
    pub precision: PrecisionChoice,
    #[serde(default)]
    pub threads: usize,
    pub seed: u64,
}

fn seven() -> usize {
    7
}

fn auto() -> DeviceChoice {
    DeviceChoice::Auto
}

impl Options {
    /// The cross-encoder's name, unless the cosine decides.
    pub fn cross_encoder(&self) -> Option<&str> {
        Some(self.cross_encoder.as_str()).filter(|name| *name != "none")
    }

    /// How the input is read.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            text: self.text_column.clone(),
            id: self.id_column.clone(),
            format: self.format,
            encoding: self.encoding,
            are_changes: self.delta,
            ranking: self.keep.column().map(String::from),
        }
    }

    pub fn hnsw(&self) -> HnswConfig {
        HnswConfig {
            links: self.hnsw_links,
            ef_construction: self.hnsw_ef_construction,
            ef_search: self.hnsw_ef_search,
            deterministic: self.deterministic,
        }
    }

    /// Flag and value of every option that decides something, in the order of [`OPTIONS`].
    pub fn values(&self) -> Result<Vec<(&'static Declared, Value)>> {
        // through text: a number is then the shortest decimal that is it, 0.6 and not 0.6000000238418579
        let mut values: Map<String, Value> = serde_json::from_str(&serde_json::to_string(self)?)?;
        let deciding = OPTIONS.iter().filter(|option| !option.parts.is_empty());
        Ok(deciding.map(|option| (option, values.remove(option.flag).unwrap_or_default())).collect())
    }

    /// The values of one part, to be hashed. Models are left out: their content counts, not their name.
    pub fn of_part(&self, part: Part) -> Result<Vec<(String, String)>> {
        let is_model = |flag: &str| matches!(flag, "bi-encoder" | "cross-encoder");
        let exact = self.index == Engine::Exact;
        let unused = |flag: &str| exact && (flag.starts_with("hnsw-") || flag == "deterministic");
        let values = self.values()?.into_iter().filter(|(option, _)| option.parts.contains(&part));
        Ok(values
            .filter(|(option, _)| !is_model(option.flag) && !unused(option.flag))
            .map(|(option, value)| (option.flag.to_string(), value.to_string()))
            .collect())
    }
}

/// Checks merged options: what is absent gets its default, and numbers must be within their range.
pub fn check(raw: &RawOptions) -> Result<Options> {
    let mut table = toml::Table::try_from(raw).context("options do not serialise")?;
    if !table.contains_key("input") {
        return Err(usage("--input is missing: which questions?"));
    }
    for Declared { flag, default, range, .. } in &OPTIONS {
        if let (None, false) = (table.get(*flag), default.is_empty()) {
            table.extend(toml::from_str::<toml::Table>(&format!("{flag} = {default}"))?);
        }
        let (Some(value), Some((least, most))) = (table.get(*flag), *range) else { continue };
        match value {
            toml::Value::Integer(value) => within(flag, *value as f64, least, most)?,
            toml::Value::Float(value) => within(flag, *value, least, most)?,
            _ => continue,
        };
    }
    let options: Options = table.try_into()?;
    let (links, construction) = (options.hnsw_links as f64, options.hnsw_ef_construction as f64);
    within("hnsw-ef-construction", construction, links, 10_000.0)?;
    if let Some(share) = options.rerank_share {
        let why = match (&options.rerank_budget, &options.reference) {
            _ if share.0 == 0.0 => "is 0%: --cross-encoder none reranks nothing",
            (Some(_), _) => "and --rerank-budget exclude each other: a budget is for all pairs",
            (_, Some(_)) => "and --reference exclude each other: with a reference all pairs are reranked",
            (None, None) => return Ok(options),
        };
        return Err(usage(format!("--rerank-share {why}")));
    }
    Ok(options)
}

fn within(flag: &str, value: f64, least: f64, most: f64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    // most options are f32: as f64 their decimals would not be those that were typed
    let value = value as f32;
    Err(usage(format!("--{flag} is {value}, expected {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;
    use crate::run::flags::{overlay, parse_set};

    fn flags() -> clap::Command {
        RawOptions::augment_args(clap::Command::new("options"))
    }

    fn set(written: &[&str]) -> Result<Options> {
        let layers = written.iter().map(|set| parse_set(set).unwrap());
        let raw = layers.fold(parse_set("input=q.parquet").unwrap(), |lower, upper| overlay(&lower, &upper).unwrap());
        check(&raw)
    }

    #[test]
    fn every_option_decides_something_or_says_why_not() {
        let command = flags();
        for argument in command.get_arguments() {
            let flag = argument.get_long().unwrap();
            let option = declared(flag).unwrap_or_else(|| panic!("--{flag} is not declared in OPTIONS"));
            assert_eq!(option.parts.is_empty(), !option.why_harmless.is_empty(), "--{flag}");
            let help = argument.get_help().unwrap().to_string();
            let default = option.default.trim_matches('"').trim_end_matches(".0");
            let shown = help.contains(&format!("[default: {default}"));
            assert!(option.default.is_empty() || shown || flag == "threads", "--{flag}: {help}");
        }
        assert_eq!(command.get_arguments().count(), OPTIONS.len());
    }

    #[test]
    fn an_option_changes_its_own_parts_and_no_other() {
        let parts = [Part::Corpus, Part::Vectors, Part::Neighbours, Part::Scores, Part::Decision, Part::Files];
        let before = set(&[]).unwrap();
        let changed = [
            ("input", "other.parquet"),
            ("format", "csv"),
            ("encoding", "latin1"),
            ("text-column", "t"),
            ("id-column", "i"),
            ("delta", "true"),
            ("reference", "known.parquet"),
            ("keep-versions", "3"),
            ("run-time", "2026-11-27T03:00:00Z"),
            ("max-deleted", "60%"),
            ("max-cluster-size", "50"),
            ("max-new-duplicates", "7%"),
            ("output", "o"),
            ("store", "s"),
            ("cluster", "df://c:50050"),
            ("wait", "true"),
            ("precision", "bf16"),
            ("top-k", "7"),
            ("index", "hnsw"),
            ("min-cosine", "0.5"),
            ("deterministic", "true"),
            ("hnsw-links", "8"),
            ("hnsw-ef-construction", "50"),
            ("hnsw-ef-search", "50"),
            ("min-recall", "0.5"),
            ("threshold", "0.5"),
            ("rerank-share", "40%"),
            ("rerank-budget", "30m"),
            ("rerank-floor", "0.5"),
            ("rerank-ceiling", "0.9"),
            ("swap-margin", "1"),
            ("clustering", "star"),
            ("keep", "longest"),
            ("write-embeddings", "true"),
            ("seed", "1"),
            ("device", "cpu"),
            ("batch-tokens", "99"),
            ("threads", "3"),
        ];
        for (flag, value) in changed {
            let after = set(&[&format!("{flag}={value}")]).unwrap();
            assert_ne!(before, after, "{flag}");
            for part in parts {
                let differs = before.of_part(part).unwrap() != after.of_part(part).unwrap();
                assert_eq!(differs, declared(flag).unwrap().parts.contains(&part), "{flag} and {part:?}");
            }
        }
        // models count by their content
        assert_eq!(changed.len() + 2, OPTIONS.len());
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (written, said) in [
            ("top-k=0", "--top-k is 0, expected 1 to 100000"),
            ("threshold=1.1", "--threshold is 1.1, expected 0 to 1"),
            ("swap-margin=-1.0", "--swap-margin is -1, expected 0 to 1000"),
            ("hnsw-ef-construction=9", "--hnsw-ef-construction is 9, expected 16 to 10000"),
        ] {
            assert_eq!(set(&[written]).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn the_manifest_reads_what_it_writes_and_what_older_versions_wrote() {
        let options = set(&["threshold=0.6", "rerank-budget=30m", "second-order-margin=1.5"]).unwrap();
        assert_eq!(options.swap_margin, 1.5);
        let written = serde_json::to_string(&options).unwrap();
        assert!(written.contains("\"threshold\":0.6,"), "{written}");
        assert_eq!(serde_json::from_str::<Options>(&written).unwrap(), options);
        let old = r#"{"input":"q","text-column":null,"id-column":null,"top-k":100,"index":"auto","min-cosine":0.6,
            "threshold":0.7,"deterministic":false,"hnsw-links":16,"hnsw-ef-construction":100,"hnsw-ef-search":128,
            "rerank-budget":null,"rerank-floor":null,"second-order-margin":2.0,"clustering":"cohesive",
            "write-embeddings":false,"precision":"f32","seed":42}"#;
        assert_eq!(serde_json::from_str::<Options>(old).unwrap().swap_margin, 2.0);
    }
}
