//! `mine evaluate`: how good models, thresholds and finished runs are, against labels.
//!
//! | asked with | answers | file |
//! |---|---|---|
//! | `--pairs` | how well scores tell labelled pairs apart | `pairs.rs` |
//! | `--run --gold` | what a finished run found of the known duplicates, and where it lost the others | `mining.rs` |
//! | `--sample` | precision and recall of a run from a labelled sample of its pairs | `sample.rs` |
//! | `--compare` | several models on the same pairs, thresholds chosen on one file and scored on another | `compare.rs` |

mod compare;
mod mining;
mod mining_answer;
mod pairs;
mod pairs_answer;
mod rescoring;
mod sample;

pub(super) use pairs::added_note;

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgGroup, Args};

use crate::commands::device_args::DeviceArgs;
use crate::error::usage;
use crate::labels::pairs::PairColumns;
use crate::progress::Progress;

/// Draws of a bootstrap where nobody asked for a number: the pairs from which fewer do, and of a sample, whose strata cost
/// nothing, more.
const DRAWS: u64 = 1000;
const DRAWS_OF_SAMPLE: u64 = 10_000;
const DRAWS_OF_MANY: u64 = 100;
const MANY_PAIRS: usize = 200_000;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("question").required(true).args(["pairs", "run", "sample", "compare"]))]
#[command(after_help = "Examples:
  mine evaluate --pairs dev.parquet --bi-encoder built-in --cross-encoder my-cross-encoder/ --json
  mine evaluate --pairs scored.parquet --score-column my_score
  mine evaluate --run mined/ --gold labels.parquet
  mine evaluate --sample labelled.csv
  mine evaluate --compare model-a/ model-b/ --valid valid.parquet --test test.parquet --output table.csv")]
pub struct EvaluateArgs {
    /// Labelled pairs: question1, question2, is_duplicate
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    #[command(flatten)]
    columns: PairColumns,
    /// Score with this bi-encoder: a folder, a hub name or `built-in` (the default without any other scorer)
    #[arg(long, value_name = "MODEL", requires = "pairs")]
    bi_encoder: Option<String>,
    /// Score with this cross-encoder, and with both models together if they were calibrated so
    #[arg(long, value_name = "MODEL", requires = "pairs")]
    cross_encoder: Option<String>,
    /// Score with a column of the pairs file; may be repeated
    #[arg(long = "score-column", value_name = "COLUMN", requires = "pairs")]
    score_columns: Vec<String>,
    /// Ask the cross-encoder for (question1, question2) alone, as Python does, not for both orders
    #[arg(long, requires = "cross_encoder")]
    one_order: bool,
    /// Keep pairs whose column `natural` is false: added ones, which shift the share of duplicates
    #[arg(long, conflicts_with_all = ["run", "sample"])]
    include_added: bool,
    /// Where to count decisions; without it the models' calibrated thresholds, else those of the best F1
    #[arg(long, value_name = "SCORE", requires = "pairs", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Also sweep thresholds from 0 to 1 in steps, as the reference notebooks do: 0.01
    #[arg(long, value_name = "STEP", conflicts_with_all = ["run", "sample"])]
    grid: Option<f64>,

    /// Folder of a finished run
    #[arg(long, value_name = "DIR", requires = "gold")]
    run: Option<PathBuf>,
    /// Known duplicates of the run's questions: pairs by text (question1, question2, is_duplicate) or by id (id_a, id_b),
    /// or groups (id, group)
    #[arg(long, value_name = "FILE", requires = "run")]
    gold: Vec<PathBuf>,
    /// Do not conclude a ~ c from a ~ b and b ~ c
    #[arg(long, conflicts_with_all = ["pairs", "sample", "compare"])]
    no_closure: bool,

    /// A file of `mine sample` with its column is_duplicate filled in
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,

    /// Models to compare, bi- or cross-encoders: folders, hub names, `built-in` or `built-in-cross-encoder`
    #[arg(long, value_name = "MODEL", num_args = 1.., requires_all = ["valid", "test"])]
    compare: Vec<String>,
    /// Labelled pairs that thresholds are chosen on
    #[arg(long, value_name = "FILE", requires = "compare")]
    valid: Option<PathBuf>,
    /// Labelled pairs that the choice is scored on
    #[arg(long, value_name = "FILE", requires = "compare")]
    test: Option<PathBuf>,
    /// Also write the table: .csv or .parquet
    #[arg(long, value_name = "FILE", requires = "compare")]
    output: Option<PathBuf>,

    /// Bootstrap draws for the 95 % intervals; 0 for none [default: 1000, 100 for more than 200,000 pairs, 10000 of a sample]
    #[arg(long, value_name = "DRAWS", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    bootstrap: Option<u64>,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[command(flatten)]
    devices: DeviceArgs,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
    /// No progress; warnings and errors stay
    #[arg(long)]
    pub quiet: bool,
}

impl EvaluateArgs {
    fn draws(&self, pairs: usize) -> u64 {
        self.bootstrap.unwrap_or(if pairs > MANY_PAIRS { DRAWS_OF_MANY } else { DRAWS })
    }
}

/// Answers; the lines are for stdout.
pub fn run(args: &EvaluateArgs, progress: &Progress) -> Result<Vec<String>> {
    if let Some(step) = args.grid.filter(|step| !(0.0001..=1.0).contains(step)) {
        return Err(usage(format!("--grid is {step}, expected 0.0001 to 1")));
    }
    if let Some(file) = &args.pairs {
        pairs::run(args, file, progress)
    } else if let Some(folder) = &args.run {
        mining::run(args, folder, progress)
    } else if let Some(file) = &args.sample {
        sample::run(args, file, progress)
    } else {
        compare::run(args, progress)
    }
}
