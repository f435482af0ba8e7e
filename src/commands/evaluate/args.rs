//! The flags of `mine evaluate`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use crate::commands::device_args::DeviceArgs;
use crate::tables::labelled_pairs::PairColumns;

/// Bootstrap draws without `--bootstrap`.
const DRAWS: u64 = 1000;
/// The same for more pairs than [`MANY_PAIRS`]: a draw is expensive.
const DRAWS_OF_MANY: u64 = 100;
const MANY_PAIRS: usize = 200_000;
/// The same for a sample: a draw costs almost nothing.
pub(super) const DRAWS_OF_SAMPLE: u64 = 10_000;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("question").required(true).args(["pairs", "gold", "sample", "compare"]))]
#[command(group = ArgGroup::new("which_run").args(["run", "run_flag"]).conflicts_with_all(["pairs", "compare"]))]
#[command(after_help = "Examples:
  mine evaluate --pairs dev.parquet --json
  mine evaluate --pairs scored.parquet --score-column my_score
  mine evaluate mined --gold labels.parquet
  mine evaluate --sample to-label.csv --target-precision 0.95
  mine evaluate mined --sample to-label.csv
  mine evaluate --compare model-a/ model-b/ --valid valid.parquet --test test.parquet --output table.csv")]
pub struct EvaluateArgs {
    /// Output folder of a finished run: for --gold, and for --sample by the run's present scores and threshold
    run: Option<PathBuf>,
    /// The same, as older versions took it
    #[arg(long = "run", value_name = "DIR", hide = true)]
    run_flag: Option<PathBuf>,

    /// Labelled pairs: question1, question2, is_duplicate
    #[arg(long, value_name = "FILE")]
    pub(super) pairs: Option<PathBuf>,
    #[command(flatten)]
    pub(super) columns: PairColumns,
    /// Score with this bi-encoder: a folder, a hub name or `built-in`; if no scorer is named, both built-in models
    /// score, as in a run
    #[arg(long, value_name = "MODEL", requires = "pairs")]
    pub(super) bi_encoder: Option<String>,
    /// Score with this cross-encoder, and with both models if they were calibrated together; `none`: the cosine alone
    #[arg(long, value_name = "MODEL", requires = "pairs")]
    pub(super) cross_encoder: Option<String>,
    /// Score with a column of the pairs file; can be repeated
    #[arg(long = "score-column", value_name = "COLUMN", requires = "pairs")]
    pub(super) score_columns: Vec<String>,
    /// Score only (question1, question2) with the cross-encoder, as Python does, instead of both orders
    #[arg(long, requires = "cross_encoder")]
    pub(super) one_order: bool,
    /// Keep added pairs (column `natural` is false); they change the share of duplicates
    #[arg(long, conflicts_with_all = ["gold", "sample"])]
    pub(super) include_added: bool,
    /// Decide at this threshold [default: of --pairs the model's calibrated one, else that of the best F1; of --sample the
    /// decisions in the file, or the threshold of the run that is named]
    #[arg(long, value_name = "SCORE", conflicts_with_all = ["gold", "compare"], allow_negative_numbers = true)]
    pub(super) threshold: Option<f64>,
    /// Also try thresholds from 0 to 1 in steps of this size; the reference notebooks use 0.01
    #[arg(long, value_name = "STEP", conflicts_with_all = ["gold", "sample"])]
    pub(super) grid: Option<f64>,

    /// Known duplicates of the run's questions: pairs by text (question1, question2, is_duplicate) or by id (id_a,
    /// id_b), or groups (id, group)
    #[arg(long, value_name = "FILE", requires = "which_run")]
    pub(super) gold: Vec<PathBuf>,
    /// Use only the labelled pairs; do not add (a, c) if (a, b) and (b, c) are duplicates
    #[arg(long, conflicts_with_all = ["pairs", "sample", "compare"])]
    pub(super) no_closure: bool,

    /// A file from `mine sample` whose column is_duplicate is filled in, all of it or a part; can be repeated for samples
    /// of one run that exclude each other
    #[arg(long, value_name = "FILE")]
    pub(super) sample: Vec<PathBuf>,
    /// Name the lowest threshold that reaches this precision on the sample
    #[arg(long, value_name = "SHARE", requires = "sample", conflicts_with = "threshold")]
    pub(super) target_precision: Option<f64>,

    /// Models to compare, bi- or cross-encoders: folders, hub names, `built-in` or `built-in-cross-encoder`
    #[arg(long, value_name = "MODEL", num_args = 1.., requires_all = ["valid", "test"])]
    pub(super) compare: Vec<String>,
    /// Labelled pairs on which thresholds are chosen
    #[arg(long, value_name = "FILE", requires = "compare")]
    pub(super) valid: Option<PathBuf>,
    /// Labelled pairs on which the models are scored
    #[arg(long, value_name = "FILE", requires = "compare")]
    pub(super) test: Option<PathBuf>,
    /// Also write the table to this file: .csv or .parquet
    #[arg(long, value_name = "FILE", requires = "compare")]
    pub(super) output: Option<PathBuf>,

    /// Bootstrap draws for the 95 % intervals; 0 for none [default: 1000, 100 for more than 200,000 pairs, 10000 of a
    /// sample]
    #[arg(long, value_name = "DRAWS", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(super) bootstrap: Option<u64>,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 42)]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) devices: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Show no progress; still show warnings and errors
    #[arg(long)]
    pub quiet: bool,
}

impl EvaluateArgs {
    /// The run's folder, if one is named.
    pub(super) fn run(&self) -> Option<&Path> {
        self.run.as_deref().or(self.run_flag.as_deref())
    }

    /// Bootstrap draws for this many pairs.
    pub(super) fn draws(&self, pairs: usize) -> u64 {
        self.bootstrap.unwrap_or(if pairs > MANY_PAIRS { DRAWS_OF_MANY } else { DRAWS })
    }
}
