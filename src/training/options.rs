//! What `mine train` can be told: flags, keys of `[[train]]` tables in a pipeline file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::device::DeviceChoice;
use crate::error::usage;
use crate::losses::mix::Mix;
use crate::losses::multiple_negatives_ranking::Hardness;
use crate::models::checkpoint::kind::Kind;
use crate::models::network::precision::Precision;
use crate::option_file;
use crate::training::evaluation::Metric;
use crate::training::hard_negatives::NegativesChoice;
use crate::training::schedule::Decay;

/// What ranking compares with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Directions {
    /// Each question with every other's duplicate
    OneWay,
    /// And each duplicate with every question, averaged
    BothWays,
    /// Everything with everything, in one softmax
    All,
}

/// Every option of a training, each absent or present.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawTrainOptions {
    /// What is trained [default: what the folder --from holds, else a bi-encoder]
    #[arg(long)]
    pub kind: Option<Kind>,
    /// Model to start from: a folder, a hub name, or `built-in` [default: built-in]
    #[arg(long, value_name = "DIR|NAME")]
    pub from: Option<String>,
    /// Labelled pairs: .parquet, .csv, .tsv or .jsonl
    #[arg(long, value_name = "FILE")]
    pub pairs: Option<PathBuf>,
    /// Labelled pairs to measure on; without it about a tenth of --pairs is held out by questions, and stays held out when pairs are added
    #[arg(long, value_name = "FILE")]
    pub dev: Option<PathBuf>,
    /// Column of the first question [default: question1]
    #[arg(long, value_name = "COLUMN")]
    pub question1_column: Option<String>,
    /// Column of the second question [default: question2]
    #[arg(long, value_name = "COLUMN")]
    pub question2_column: Option<String>,
    /// Column of the label [default: is_duplicate]
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Leave out pairs whose column `natural` is false
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub natural_only: Option<bool>,
    /// Train on questions that are also in --dev, as the protocol by pairs does
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub allow_shared_questions: Option<bool>,
    /// Folder of the new model [default: models/bi-encoder, models/cross-encoder, models/siamese]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Folder of checkpoints, metrics and curves [default: --output with `.run` behind it]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// A loss, or several with weights: contrastive=1,ranking=0.5 [default: ranking, binary-cross-entropy, negative-log-likelihood]
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<Mix>,
    /// Cosine distance beyond which contrastive losses no longer push others than duplicates apart [default: 0.5]
    #[arg(long)]
    pub margin: Option<f64>,
    /// Weight of duplicates in the binary cross-entropy [default: 1]
    #[arg(long, value_name = "WEIGHT")]
    pub pos_weight: Option<f64>,
    /// What cosines are multiplied by in ranking [default: 20]
    #[arg(long)]
    pub scale: Option<f64>,
    /// What ranking compares [default: one-way]
    #[arg(long)]
    pub directions: Option<Directions>,
    /// Negatives that weigh more the harder they are [default: none]
    #[arg(long)]
    pub hardness: Option<Hardness>,
    /// How much more hard negatives weigh, for --hardness [default: 5]
    #[arg(long, value_name = "STRENGTH")]
    pub hardness_strength: Option<f64>,
    /// Passes over the pairs [default: 1; as many as --max-steps takes]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Pairs of a batch [default: 64 for bi, 16 for cross, 128 for siamese]
    #[arg(long, value_name = "PAIRS")]
    pub batch_size: Option<usize>,
    /// Batches whose mean gradient makes one step [default: 1]
    #[arg(long, value_name = "BATCHES")]
    pub accumulate: Option<usize>,
    /// Learning rate after the warm-up [default: 2e-5]
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Steps in which the rate rises from 0 to --learning-rate [default: 100, at most a tenth of all]
    #[arg(long, value_name = "STEPS")]
    pub warmup_steps: Option<usize>,
    /// How the rate falls after the warm-up [default: linear]
    #[arg(long)]
    pub decay: Option<Decay>,
    /// Decay of matrices; biases and norms have none [default: 0.01]
    #[arg(long, value_name = "RATE")]
    pub weight_decay: Option<f64>,
    /// Largest norm of a gradient; a larger one is scaled down to it [default: 1]
    #[arg(long, value_name = "NORM")]
    pub max_norm: Option<f64>,
    /// Share of numbers that dropout zeroes [default: as the model's config.json says]
    #[arg(long, value_name = "SHARE")]
    pub dropout: Option<f64>,
    /// A cross-encoder reads pairs in the other order every second time [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub swap_orders: Option<bool>,
    /// Train the head of a siamese classifier alone [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub freeze_encoder: Option<bool>,
    /// Leave the token table as it is: steps cost a third less, and models from one start share it
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub freeze_tokens: Option<bool>,
    /// Pairs of like length share a batch; ranking never does it [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub group_lengths: Option<bool>,
    /// Mine this many hard negatives for every duplicate with --negatives-from
    #[arg(long, value_name = "N")]
    pub hard_negatives: Option<usize>,
    /// Bi-encoder that mines: a folder, a hub name or `built-in` [default: --from where a bi-encoder is trained, else built-in]
    #[arg(long, value_name = "DIR|NAME")]
    pub negatives_from: Option<String>,
    /// Nearest neighbours passed over: most are unlabelled duplicates [default: 0]
    #[arg(long, value_name = "N")]
    pub negatives_skip: Option<usize>,
    /// Neighbours looked at [default: 50, more where --negatives-skip needs them]
    #[arg(long, value_name = "N")]
    pub negatives_depth: Option<usize>,
    /// A negative's cosine is at least this far below the duplicate's [default: 0.05]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub negatives_margin: Option<f32>,
    /// Which of the neighbours that qualify are taken [default: nearest]
    #[arg(long)]
    pub negatives_choice: Option<NegativesChoice>,
    /// A mined text is no negative where the teacher gives the pair this probability or more [default: 0.3]
    #[arg(long, value_name = "P")]
    pub negatives_probability: Option<f64>,
    /// Add this many mined pairs with the teacher's probability as label (augmented SBERT)
    #[arg(long, value_name = "PAIRS")]
    pub mined_pairs: Option<usize>,
    /// Add this many pairs made by rules from the training questions: swapped arguments, other numbers, other words; for English
    #[arg(long, value_name = "PAIRS")]
    pub perturbed_pairs: Option<usize>,
    /// Add this many unlabelled pairs of near questions; the target is the probability that the cosine of --negatives-from gives
    #[arg(long, value_name = "PAIRS")]
    pub cosine_pairs: Option<usize>,
    /// Cross-encoder (for cosine-distillation: bi-encoder) that checks negatives and is distilled: a folder or a hub name
    #[arg(long, value_name = "DIR|NAME")]
    pub teacher: Option<PathBuf>,
    /// Share of the teacher's probability in the targets of binary-cross-entropy; the rest is the label [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub teacher_weight: Option<f64>,
    /// Share of the start's weights in the model that is measured and written; the rest is trained [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub start_share: Option<f64>,
    /// Stop after this many steps; the learning rate decays by then
    #[arg(long, value_name = "STEPS")]
    pub max_steps: Option<usize>,
    /// Stop after this long
    #[arg(long, value_name = "MINUTES")]
    pub max_minutes: Option<f64>,
    /// Steps between evaluations [default: 200]
    #[arg(long, value_name = "STEPS")]
    pub evaluate_every: Option<usize>,
    /// What makes a checkpoint the best [default: average-precision]
    #[arg(long)]
    pub metric: Option<Metric>,
    /// Write the last step's model and not the best: what a published protocol without a choice of steps asks for [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub write_last: Option<bool>,
    /// Stop after this many evaluations without a better one [default: never]
    #[arg(long, value_name = "N")]
    pub patience: Option<usize>,
    /// Steps between checkpoints [default: 100]
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<usize>,
    /// Where the model is trained [default: auto]
    #[arg(long)]
    pub device: Option<DeviceChoice>,
    /// What the encoder computes in, forward and back; weights and optimiser stay in f32 [default: f32]
    #[arg(long)]
    pub precision: Option<Precision>,
    /// Worker threads; the weights do not depend on it [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Seed of every random choice [default: 42]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Parses the `[[train]]` tables of a pipeline file; `sets` are laid over each.
pub fn parse(text: &str, origin: &Path, sets: &[String]) -> Result<Vec<RawTrainOptions>> {
    let file = option_file::parse(text, origin)?;
    if let Some(other) = file.keys().find(|key| *key != "train") {
        return Err(usage(format!(
            "{}: unknown key `{other}`; a training file has [[train]] tables",
            origin.display()
        )));
    }
    let no_list = || usage(format!("{}: `train` is no list of tables: write [[train]]", origin.display()));
    let Some(toml::Value::Array(tables)) = file.get("train") else { return Err(no_list()) };
    let mut all = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let toml::Value::Table(table) = table else { return Err(no_list()) };
        option_file::check::<RawTrainOptions>(table, |key| place(text, origin, number, key))?;
        let mut merged = table.clone();
        for set in sets {
            merged.extend(option_file::parse_set::<RawTrainOptions>(set)?);
        }
        all.push(merged.try_into()?);
    }
    Ok(all)
}

/// Place of a key in the `number`-th `[[train]]` table, from 0.
fn place(text: &str, origin: &Path, number: usize, key: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let headers = lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with("[[train]]"));
    let mut starts = headers.map(|(at, _)| at).skip(number);
    let (start, end) = (starts.next().unwrap_or(0), starts.next().unwrap_or(lines.len()));
    option_file::place(origin, start + 1, lines[start..end].iter().copied(), key)
}
