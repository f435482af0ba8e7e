//! Options as they are written: flags of `mine`, keys of a pipeline file.
//!
//! [`RawOptions`] is both, so a flag and its key cannot differ. Layers are merged key by key: file, then `--set`, then flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::clustering::Algorithm;
use crate::device::DeviceChoice;
use crate::models::network::precision::PrecisionChoice;
use crate::option_file;
use crate::option_file::as_text;
use crate::run::input::one_or_many;
use crate::run::keep::Keep;
use crate::search::engine::Engine;
use crate::tables::encoding::Encoding;
use crate::tables::format::Format;

/// Every option of the mining pipeline, each absent or present.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawOptions {
    /// Questions: a file, a folder of Parquet files, a quoted glob such as 'dumps/*.csv', or - for standard input; repeatable
    #[arg(long, value_name = "PATH")]
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_many")]
    pub input: Vec<String>,
    /// How the input is read [default: by the file's name; standard input by its first bytes]
    #[arg(long)]
    pub format: Option<Format>,
    /// Encoding of the characters of text files [default: utf-8]
    #[arg(long)]
    pub encoding: Option<Encoding>,
    /// Column that holds the question; or several, as subject,body or as text with '{subject} {body}' in it [default: text]
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column that holds the id [default: id; where there is none, row numbers from 0]
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,
    /// The input holds changes alone: rows to add or replace, and, with a column `op`, rows to `delete` [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub delta: Option<bool>,
    /// Known questions, as a file or the output of another run: the input is compared with them, they stay as they are
    #[arg(long, value_name = "PATH")]
    pub reference: Option<String>,
    /// Folder of the results [default: mined]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Folder, or s3://bucket/prefix, of stored vectors, neighbours and scores, which outputs can share [default: .mine in
    /// the output]
    #[arg(long, value_name = "DIR|URL")]
    pub store: Option<PathBuf>,
    /// Have the work done by the executors of this scheduler, df://host:port; needs a --store that they share
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// Wait for another run that uses the output or the store, instead of failing [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub wait: Option<bool>,
    /// Versions of the results that are kept, the current one included [default: 7]
    #[arg(long, value_name = "N")]
    pub keep_versions: Option<usize>,
    /// Time to record for the run, such as 2026-11-27T03:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub run_time: Option<RunTime>,
    /// Refuse results if more of the previous questions are gone or edited [default: 5%, from 20 questions on]
    #[arg(long, value_name = "SHARE")]
    pub max_deleted: Option<Share>,
    /// Refuse results with a larger cluster [default: 1000, or 10 times the largest before; none in a first run]
    #[arg(long, value_name = "QUESTIONS")]
    pub max_cluster_size: Option<usize>,
    /// Refuse results if more of the questions are in a cluster now and were in none before [default: 20%, from 20 on]
    #[arg(long, value_name = "SHARE")]
    pub max_new_duplicates: Option<Share>,
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
    /// Lowest cosine of a candidate pair [default: from the bi-encoder's dupmine.json]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub min_cosine: Option<f32>,
    /// Lowest probability of a duplicate; without a cross-encoder, lowest cosine [default: from dupmine.json]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// Warn if the measured recall of the index is below this [default: 0.99]
    #[arg(long, value_name = "SHARE")]
    pub min_recall: Option<f64>,
    /// Build the HNSW index one vector at a time: slower, but the same bytes every time [default: false]
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
    /// Share of the similar pairs that is reranked: those that can change a cluster; the cosine decides the others [default: 20%,
    /// but at least 50,000 pairs]
    #[arg(long, value_name = "SHARE", conflicts_with = "rerank_budget")]
    pub rerank_share: Option<Share>,
    /// Limit reranking to a number of pairs, or to a time (`30m`, `1h`, `45s`); the most promising pairs come first
    #[arg(long, value_name = "PAIRS|TIME")]
    pub rerank_budget: Option<Budget>,
    /// Skip reranking below this cosine and call the pairs different; -1 reranks all [default: measured for the two models]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub rerank_floor: Option<f32>,
    /// Skip reranking above this cosine and let the cosine decide; 1 reranks all [default: measured for the two models]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub rerank_ceiling: Option<f32>,
    /// Score a pair's second order if the first is within this many logits of the threshold [default: 2]
    #[arg(long, value_name = "LOGITS", alias = "second-order-margin")]
    #[serde(alias = "second-order-margin")]
    pub swap_margin: Option<f32>,
    /// How scored pairs become clusters [default: cohesive]
    #[arg(long)]
    pub clustering: Option<Algorithm>,
    /// Which question represents a cluster: first, longest, most-central, or a column of the input whose highest value wins
    /// (votes, or votes:lowest) [default: most-central]
    #[arg(long, value_name = "HOW|COLUMN")]
    pub keep: Option<Keep>,
    /// Also write embeddings.parquet [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub write_embeddings: Option<bool>,
    /// Where models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Most tokens of a batch, padding included; the results do not depend on it [default: by device]
    #[arg(long, value_name = "TOKENS")]
    pub batch_tokens: Option<usize>,
    /// Number format of the encoders: auto, f32, bf16, f16, int8 [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub precision: Option<PrecisionChoice>,
    /// Worker threads; the results do not depend on it [default: 0, which is one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Seed of every random choice [default: 42]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
}

/// A share of something, written `5%` or `0.05`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = text.trim().strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
        let share = digits.trim().parse::<f64>().ok().map(|number| number / unit);
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        share.map(Self).ok_or_else(|| format!("{text:?} is no share: expected 0% to 100%, such as 5%"))
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        // rounded: 0.07 times 100 is not 7
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

/// A moment, as RFC 3339 writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunTime(pub jiff::Timestamp);

impl std::str::FromStr for RunTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("{text:?} is no time: expected one such as 2026-11-27T03:00:00Z"))
    }
}

impl std::fmt::Display for RunTime {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

as_text!(Share, RunTime);

/// What the cross-encoder may spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    Pairs(usize),
    Time(Duration),
}

impl std::str::FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number of pairs (200000) nor a time (30m, 1h, 45s)");
        let units = [('h', 3600.0), ('m', 60.0), ('s', 1.0)];
        let Some((number, seconds)) = units.iter().find_map(|(unit, of)| Some((text.trim().strip_suffix(*unit)?, of)))
        else {
            return text.replace('_', "").parse().map(Self::Pairs).map_err(|_| wrong());
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Duration::try_from_secs_f64(number * seconds).map(Self::Time).map_err(|_| wrong())
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Pairs(pairs) => write!(f, "{pairs}"),
            Self::Time(time) if time.as_secs() % 60 == 0 && time.subsec_nanos() == 0 => {
                write!(f, "{}m", time.as_secs() / 60)
            }
            Self::Time(time) => write!(f, "{}s", time.as_secs_f64()),
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
        #[serde(untagged, expecting = "expected a number of pairs (200000) or a time (\"30m\")")]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::options::check;

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
        assert_eq!(wrong_type, "p.toml: line 2: key `top-k`: found \"many\", expected a whole number");
        assert_eq!(
            error("top-k = \"9\""),
            "p.toml: line 1: key `top-k`: found \"9\", expected a whole number: leave out the quotes"
        );
        assert_eq!(error("wait = 1"), "p.toml: line 1: key `wait`: found integer `1`, expected true or false");
        assert_eq!(
            error("top-k = -5"),
            "p.toml: line 1: key `top-k`: found integer `-5`, expected a whole number, not below 0"
        );
        assert!(error("top-k = ").starts_with("p.toml: line 1: "));
        assert!(parse_set("top-q=3").unwrap_err().to_string().contains("`top-k`"));
    }

    #[test]
    fn upper_layers_win_key_by_key() {
        let lower = parse("top-k = 5\nseed = 1\nrerank-budget = \"30m\"", Path::new("p.toml")).unwrap();
        let merged = overlay(&lower, &parse_set("top-k=9").unwrap()).unwrap();
        assert_eq!((merged.top_k, merged.seed), (Some(9), Some(1)));
        assert_eq!(merged.rerank_budget, Some(Budget::Time(Duration::from_secs(1800))));
        assert_eq!(parse_set("input=a b.parquet").unwrap().input, ["a b.parquet"]);
        assert_eq!(parse_set("input=[\"a.csv\", \"b.csv\"]").unwrap().input, ["a.csv", "b.csv"]);
        assert!(error("input = 3").contains("key `input`: found integer `3`, expected a path or a list of paths"));
    }

    #[test]
    fn a_line_is_that_of_the_whole_key_and_a_budget_says_what_it_can_be() {
        assert!(error("hnsw-ef-construction = 9\nhnsw-ef = 5\n").starts_with("p.toml: line 2: unknown key `hnsw-ef`"));
        for budget in ["30.5", "-1"] {
            let error = error(&format!("rerank-budget = {budget}"));
            assert!(error.contains("`rerank-budget`: expected a number of pairs (200000) or a time"), "{error}");
        }
    }

    #[test]
    fn a_time_has_hours_minutes_or_seconds() {
        let seconds = |text: &str| match text.parse() {
            Ok(Budget::Time(time)) => time.as_secs_f64(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(["1h", "1.5h", "90m", "45s", "30 m"].map(seconds), [3600.0, 5400.0, 5400.0, 45.0, 1800.0]);
        for text in ["1h", "90m", "45s", "0.5s", "200_000"] {
            let budget: Budget = text.parse().unwrap();
            assert_eq!(budget.to_string().parse(), Ok(budget), "{text}");
        }
        // as it was always written: identities contain it
        assert_eq!(["1h", "30m"].map(|text| text.parse::<Budget>().unwrap().to_string()), ["60m", "30m"]);
        for text in ["h", "-1m", "1d", "soon"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
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
