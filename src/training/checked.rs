//! What `mine train` was told, checked.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::device::DeviceChoice;
use crate::error::usage;
use crate::losses::mix::{Loss, LossNumbers, Mix};
use crate::losses::multiple_negatives_ranking::{Partition, Ranking};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::models::network::precision::Precision;
use crate::option_file::{at_least, within};
use crate::tables::labelled_pairs::PairColumns;
use crate::training::batches::Grouping;
use crate::training::evaluation::Metric;
use crate::training::hard_negatives::{MiningConfig, NegativesChoice};
use crate::training::loss_checks;
use crate::training::optimizer::AdamWConfig;
use crate::training::options::{Directions, RawTrainOptions};
use crate::training::run_folder;
use crate::training::schedule::Decay;
use crate::training::trainer::TrainerConfig;

/// Checked options.
#[derive(Debug, Clone)]
pub struct TrainOptions {
    pub kind: Kind,
    /// `None`: the built-in model.
    pub from: Option<PathBuf>,
    pub pairs: PathBuf,
    pub dev: Option<PathBuf>,
    pub columns: PairColumns,
    pub natural_only: bool,
    pub allow_shared_questions: bool,
    pub output: PathBuf,
    pub run: PathBuf,
    pub loss: Mix,
    pub numbers: LossNumbers,
    pub learning_rate: f64,
    pub warmup_steps: Option<usize>,
    pub decay: Decay,
    pub max_norm: f64,
    pub dropout: Option<f64>,
    pub swap_orders: bool,
    pub freeze_encoder: bool,
    pub freeze_tokens: bool,
    /// Whether the last step's model is written and not the best.
    pub write_last: bool,
    pub hard_negatives: Option<MiningConfig>,
    pub negatives_from: Option<PathBuf>,
    pub mined_pairs: Option<usize>,
    pub perturbed_pairs: Option<usize>,
    pub cosine_pairs: Option<usize>,
    pub teacher: Option<PathBuf>,
    /// Share of the teacher's probability in a target, 0 to 1; the rest is the label.
    pub teacher_weight: f64,
    pub trainer: TrainerConfig,
    pub device: DeviceChoice,
    pub precision: Precision,
    pub threads: usize,
    /// Flags that were given and have no effect, with the reason.
    pub without_effect: Vec<String>,
    /// Everything that the weights depend on and that is written in no file, as text.
    pub identity: String,
}

impl TrainOptions {
    /// Whether a bi-encoder looks for near texts.
    pub fn mines(&self) -> bool {
        self.hard_negatives.is_some() || self.mined_pairs.is_some() || self.cosine_pairs.is_some()
    }
}

const MOST_EPOCHS: usize = 10_000;

fn required<T: Clone>(value: &Option<T>, flag: &str, what: &str) -> Result<T> {
    value.clone().ok_or_else(|| usage(format!("--{flag} is missing: {what}")))
}

fn default_output(kind: Kind) -> &'static str {
    match kind {
        Kind::Bi => "models/bi-encoder",
        Kind::Cross => "models/cross-encoder",
        Kind::Siamese => "models/siamese",
    }
}

fn model(name: &Option<String>) -> Option<PathBuf> {
    name.as_deref().filter(|name| *name != "built-in").map(PathBuf::from)
}

impl RawTrainOptions {
    /// Checks merged options.
    pub fn check(&self) -> Result<TrainOptions> {
        let kind = self.kind()?;
        let written = self.output.clone().unwrap_or_else(|| default_output(kind).into());
        // by its components: a slash at the end must not put the run's folder inside
        let output: PathBuf = written.components().collect();
        let default_loss = match kind {
            Kind::Bi => "ranking",
            Kind::Cross => "binary-cross-entropy",
            Kind::Siamese => "negative-log-likelihood",
        };
        let loss = match &self.loss {
            Some(loss) => loss.clone(),
            None => default_loss.parse().map_err(usage)?,
        };
        loss_checks::check(&loss, kind, self)?;
        if self.freeze_encoder == Some(true) && kind != Kind::Siamese {
            return Err(usage("--freeze-encoder: only a siamese classifier has a head that learns alone"));
        }
        let seed = self.seed.unwrap_or(42);
        let column = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.into());
        let beside = || {
            let mut name = output.clone().into_os_string();
            name.push(".run");
            PathBuf::from(name)
        };
        let run = self.run.clone().unwrap_or_else(beside);
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        if absolute(&run).starts_with(absolute(&output)) {
            return Err(usage(format!(
                "--run {}: lies in --output, which is replaced when the model is complete; choose a folder outside it",
                run.display()
            )));
        }
        let ranks = loss.any(Loss::is_ranking);
        let grouping = match (ranks, self.group_lengths.unwrap_or(true)) {
            (true, _) => Grouping::NoDuplicates,
            (false, true) => Grouping::Lengths,
            (false, false) => Grouping::Shuffled,
        };
        let default_batch = match kind {
            Kind::Bi => 64,
            Kind::Cross => 16,
            Kind::Siamese => 128,
        };
        Ok(TrainOptions {
            kind,
            from: model(&self.from),
            pairs: required(&self.pairs, "pairs", "which labelled pairs?")?,
            dev: self.dev.clone(),
            columns: PairColumns {
                question1_column: column(&self.question1_column, "question1"),
                question2_column: column(&self.question2_column, "question2"),
                label_column: column(&self.label_column, "is_duplicate"),
            },
            natural_only: self.natural_only.unwrap_or(false),
            allow_shared_questions: self.allow_shared_questions.unwrap_or(false),
            run,
            output,
            numbers: self.numbers()?,
            learning_rate: within("learning-rate", self.learning_rate.unwrap_or(2e-5), 0.0, 1.0)?,
            warmup_steps: self.warmup_steps,
            decay: self.decay.unwrap_or(Decay::Linear),
            max_norm: at_least("max-norm", self.max_norm.unwrap_or(1.0), 1e-12)?,
            dropout: self.dropout.map(|p| within("dropout", p, 0.0, 0.9)).transpose()?,
            swap_orders: self.swap_orders.unwrap_or(false),
            freeze_encoder: self.freeze_encoder.unwrap_or(false),
            freeze_tokens: self.freeze_tokens.unwrap_or(false),
            write_last: self.write_last.unwrap_or(false),
            hard_negatives: self.mining(seed)?,
            negatives_from: model(
                &self.negatives_from.clone().or_else(|| self.from.clone().filter(|_| kind == Kind::Bi)),
            ),
            mined_pairs: self.mined_pairs,
            perturbed_pairs: self.perturbed_pairs,
            cosine_pairs: self.cosine_pairs,
            teacher: self.teacher.clone(),
            teacher_weight: within("teacher-weight", self.teacher_weight.unwrap_or(0.0), 0.0, 1.0)?,
            trainer: TrainerConfig {
                // a number of steps goes through the pairs as often as it takes
                epochs: match (self.epochs, self.max_steps) {
                    (None, Some(_)) => MOST_EPOCHS,
                    (epochs, _) => within("epochs", epochs.unwrap_or(1), 1, MOST_EPOCHS)?,
                },
                batch_size: within(
                    "batch-size",
                    self.batch_size.unwrap_or(default_batch),
                    if ranks { 2 } else { 1 },
                    1 << 20,
                )?,
                accumulate: within("accumulate", self.accumulate.unwrap_or(1), 1, 1 << 20)?,
                grouping,
                max_steps: self.max_steps.map(|steps| at_least("max-steps", steps, 1)).transpose()?,
                max_time: self.max_minutes.map(minutes).transpose()?,
                evaluate_every: at_least("evaluate-every", self.evaluate_every.unwrap_or(200), 1)?,
                metric: self.metric.unwrap_or(Metric::AveragePrecision),
                patience: self.patience.map(|patience| at_least("patience", patience, 1)).transpose()?,
                checkpoint_every: at_least("checkpoint-every", self.checkpoint_every.unwrap_or(100), 1)?,
                keep_checkpoints: 2,
                start_share: within("start-share", self.start_share.unwrap_or(0.0), 0.0, 0.99)?,
                adamw: AdamWConfig {
                    weight_decay: within("weight-decay", self.weight_decay.unwrap_or(0.01), 0.0, 1.0)?,
                    ..AdamWConfig::default()
                },
                seed,
            },
            device: self.device.unwrap_or(DeviceChoice::Auto),
            precision: self.number_format()?,
            threads: within("threads", self.threads.unwrap_or(0), 0, 4096)?,
            without_effect: self.without_effect(&loss, kind),
            loss,
            identity: self.identity(kind)?,
        })
    }

    /// What is asked for, else what the folder to start from holds.
    fn kind(&self) -> Result<Kind> {
        let from = model(&self.from);
        if let Some(folder) = from.as_ref().filter(|folder| !folder.exists() && folder.file_name().is_some()) {
            // a refresh that was killed while it replaced the model has left it aside
            run_folder::recover(folder)?;
        }
        match (self.kind, from) {
            (Some(kind), _) => Ok(kind),
            (None, None) => Ok(Kind::Bi),
            (None, Some(folder)) if folder.is_dir() => Kind::of(&ModelFolder::open(&folder)?),
            (None, Some(name)) => {
                let name = name.display();
                Err(usage(format!(
                    "--from {name}: no such folder; of a model on the hub --kind says what it is to be: bi, cross or siamese"
                )))
            }
        }
    }

    /// The options without those that change no weight, and without paths, whose contents count instead.
    fn identity(&self, kind: Kind) -> Result<String> {
        let paths = Self {
            from: None,
            pairs: None,
            dev: None,
            output: None,
            run: None,
            negatives_from: None,
            teacher: None,
            ..self.clone()
        };
        let precision = self.precision.filter(|precision| *precision != Precision::F32);
        let kept = Self {
            kind: Some(kind),
            precision,
            device: None,
            threads: None,
            max_minutes: None,
            checkpoint_every: None,
            ..paths
        };
        Ok(toml::to_string(&kept)?)
    }

    fn number_format(&self) -> Result<Precision> {
        match self.precision.unwrap_or(Precision::F32) {
            Precision::F16 => {
                Err(usage("--precision f16: small gradients are zero in it; --precision bf16 has the range"))
            }
            Precision::Int8 => Err(usage("--precision int8: only finished models compute in it; train in f32 or bf16")),
            other => Ok(other),
        }
    }

    /// Options that nothing in this training reads. A pipeline's `--set` lays them over every table, so they are no errors.
    fn without_effect(&self, loss: &Mix, kind: Kind) -> Vec<String> {
        let contrastive = loss.any(|one| matches!(one, Loss::Contrastive | Loss::OnlineContrastive));
        let cross_entropy = loss.any(|one| one == Loss::BinaryCrossEntropy);
        let ranks = loss.any(Loss::is_ranking);
        let mines = self.hard_negatives.is_some_and(|count| count > 0);
        let mines_any = mines || self.mined_pairs.is_some() || self.cosine_pairs.is_some();
        let distils_vectors = loss.any(|one| one == Loss::CosineDistillation);
        let checks = mines && self.teacher.is_some() && !distils_vectors;
        let blends = self.teacher_weight.is_some_and(|weight| weight > 0.0);
        let distils = mines_any || blends || loss.any(Loss::needs_teacher);
        let no_ranking = "no --loss ranks";
        let no_mining = "without --hard-negatives nothing is mined";
        let all = [
            ("margin", self.margin.is_some(), contrastive, "no --loss is contrastive"),
            ("pos-weight", self.pos_weight.is_some(), cross_entropy, "no --loss is binary-cross-entropy"),
            ("scale", self.scale.is_some(), ranks, no_ranking),
            ("directions", self.directions.is_some(), ranks, no_ranking),
            ("hardness", self.hardness.is_some(), ranks, no_ranking),
            ("hardness-strength", self.hardness_strength.is_some(), self.hardness.is_some(), "--hardness is not given"),
            ("swap-orders", self.swap_orders == Some(true), kind == Kind::Cross, "only a cross-encoder reads pairs"),
            ("negatives-from", self.negatives_from.is_some(), mines_any, no_mining),
            ("negatives-skip", self.negatives_skip.is_some(), mines, no_mining),
            ("negatives-depth", self.negatives_depth.is_some(), mines, no_mining),
            ("negatives-margin", self.negatives_margin.is_some(), mines, no_mining),
            ("negatives-choice", self.negatives_choice.is_some(), mines, no_mining),
            (
                "negatives-probability",
                self.negatives_probability.is_some(),
                checks,
                "no cross-encoder checks negatives: it takes --hard-negatives and --teacher",
            ),
            (
                "teacher",
                self.teacher.is_some(),
                distils,
                "no --loss distils, and no --hard-negatives, --mined-pairs or --teacher-weight asks for it",
            ),
        ];
        let idle = all.into_iter().filter(|(_, given, read, _)| *given && !read);
        idle.map(|(flag, .., why)| format!("--{flag} has no effect: {why}")).collect()
    }

    fn numbers(&self) -> Result<LossNumbers> {
        let default = Ranking { scale: within("scale", self.scale.unwrap_or(20.0), 1e-6, 1e6)?, ..Ranking::default() };
        let ranking = match self.directions.unwrap_or(Directions::OneWay) {
            Directions::OneWay => default,
            Directions::BothWays => Ranking { doc_to_query: true, partition: Partition::PerDirection, ..default },
            Directions::All => Ranking { doc_to_query: true, query_to_query: true, doc_to_doc: true, ..default },
        };
        let strength = within("hardness-strength", self.hardness_strength.unwrap_or(5.0), 0.0, 1e6)?;
        Ok(LossNumbers {
            margin: within("margin", self.margin.unwrap_or(0.5), 0.0, 2.0)?,
            pos_weight: within("pos-weight", self.pos_weight.unwrap_or(1.0), 1e-6, 1e6)?,
            ranking: Ranking { hardness: self.hardness.map(|which| (which, strength)), ..ranking },
        })
    }

    fn mining(&self, seed: u64) -> Result<Option<MiningConfig>> {
        let Some(count) = self.hard_negatives.filter(|&count| count > 0) else { return Ok(None) };
        let skip = self.negatives_skip.unwrap_or(0);
        let depth = self.negatives_depth.unwrap_or((skip + count).max(50));
        Ok(Some(MiningConfig {
            count: within("hard-negatives", count, 1, 100)?,
            skip,
            depth: within("negatives-depth", depth, skip + count, 10_000)?,
            choice: self.negatives_choice.unwrap_or(NegativesChoice::Nearest),
            margin: within("negatives-margin", self.negatives_margin.unwrap_or(0.05), -2.0, 2.0)?,
            most_probability: within("negatives-probability", self.negatives_probability.unwrap_or(0.3), 0.0, 1.0)?,
            seed,
        }))
    }
}

fn minutes(minutes: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(minutes * 60.0)
        .map_err(|_| usage(format!("--max-minutes is {minutes}, expected a number from 0")))
}
