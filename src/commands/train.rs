//! `mine train`: labelled pairs to a better model.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::device::Devices;
use crate::error::{hint, usage};
use crate::models::calibration::{self, Calibration};
use crate::models::folder::ModelFolder;
use crate::models::folder_writer::FolderWriter;
use crate::models::{built_in, hub};
use crate::progress::{Progress, readable};
use crate::training::checked::TrainOptions;
use crate::training::data::{self, Data};
use crate::training::dataset::Inputs;
use crate::training::evaluation::DevSet;
use crate::training::network::{Kind, Trainee};
use crate::training::options::{self, RawTrainOptions};
use crate::training::run_folder::{self, Record, RunFolder};
use crate::training::schedule::Schedule;
use crate::training::step::{MicroBatches, StepConfig};
use crate::training::trainer::{self, Plan, Trained};

/// Part of a training's fingerprint; raise it when the same options give other weights.
const VERSION: u32 = 1;

/// Trains a model on labelled pairs and writes it as a sentence-transformers folder.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    options: RawTrainOptions,
    /// Replace the model that --output holds, and what another training left in --run
    #[arg(long)]
    force: bool,
    /// No progress and no summary; warnings and errors stay
    #[arg(long)]
    pub quiet: bool,
}

/// One training from flags.
pub fn run(args: &TrainArgs, progress: &Progress) -> Result<()> {
    train(&args.options.check()?, args.force, progress)
}

/// Whether a pipeline file's text describes trainings.
pub fn is_pipeline(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("[[train]]"))
}

/// The trainings of a pipeline file one after the other; those already done are passed over.
pub fn run_file(text: &str, origin: &Path, sets: &[String], force: bool, progress: &Progress) -> Result<()> {
    let all: Vec<TrainOptions> =
        options::parse(text, origin, sets)?.iter().map(RawTrainOptions::check).collect::<Result<_>>()?;
    all.iter().try_for_each(|options| train(options, force, progress))
}

fn train(options: &TrainOptions, force: bool, progress: &Progress) -> Result<()> {
    if options.threads > 0 {
        // a second training of a file finds the pool as the first one left it
        let _ = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global();
    }
    run_folder::recover(&options.output)?;
    let start = match options.kind {
        Kind::Cross => built_in::CROSS_ENCODER,
        Kind::Bi | Kind::Siamese => built_in::BI_ENCODER,
    };
    let from = hub::open_path_or(options.from.as_deref(), start, progress)?;
    let fingerprint = fingerprint(options, &from, progress)?;
    let refreshes = options.from.as_deref().is_some_and(|from| same_folder(from, &options.output));
    match run_folder::record(&options.output) {
        Some(done) if done.fingerprint == fingerprint && !refreshes => {
            progress.say(&format!("{}: trained already with these options and pairs", options.output.display()));
            return Ok(());
        }
        _ if options.output.exists() && !force && !refreshes => {
            return Err(hint(
                format!("{} exists already", options.output.display()),
                "choose another --output, or add --force to replace it",
            ));
        }
        _ => {}
    }
    let devices = options.device.open(progress)?;
    options.precision.check(&devices)?;
    let device = devices.list[0].clone();
    // may empty the folder: after all that can refuse
    let run = RunFolder::open(&options.run, &fingerprint, force)?;
    let trainee = Trainee::load(options.kind, &from, options.trainer.seed, &device)?;
    let Data { dataset, dev } = data::prepare(options, &device, progress)?;
    if let (Some((_, theirs)), Trainee::Bi(student)) = (&dataset.teacher, &trainee) {
        let ours = student.dimensions();
        ensure!(
            *theirs == ours,
            "the teacher's vectors have {theirs} dimensions, the student's {ours}: cosine distillation needs the same"
        );
    }
    let inputs = Inputs::new(&dataset, options.kind, trainee.tokenizer(), options.swap_orders)?;
    let dev = DevSet::new(&dev, options.kind, trainee.tokenizer())?;
    let plan = Plan::new(&options.trainer, &dataset.examples, &inputs.lengths());
    let step_config = step_config(options, plan.steps(), &devices);
    progress.say(&format!(
        "{} pairs, {} steps of {} pairs; {} dev pairs; checkpoints and curves in {}",
        readable(dataset.examples.len()),
        readable(plan.steps()),
        options.trainer.batch_size * options.trainer.accumulate,
        readable(dev.len()),
        run.path.display()
    ));
    let network = match options.dropout {
        Some(p) => trainee.network().with_dropout(p),
        None => trainee.network(),
    };
    let network = if options.freeze_encoder { network.with_frozen_encoder() } else { network };
    let network = if options.freeze_tokens { network.with_frozen_tokens() } else { network };
    let trained = trainer::train(network, &plan, &inputs, &dev, (&options.trainer, &step_config), &run.path, progress)?;
    summarise(options, &trained, progress);

    let metric = options.trainer.metric;
    let before = trained.history.evaluations.first().map(|(_, figures)| *figures).unwrap_or_default();
    let after = trained.best.1;
    if refreshes && !force && after.get(metric) <= before.get(metric) {
        return Err(hint(
            format!("no step was better on dev than {} is: it stays as it was", options.output.display()),
            "more pairs or another loss may help; --force writes the new model all the same",
        ));
    }
    let measured_on = format!("{} dev pairs", dev.len());
    let calibration = dev.calibrate(&trained.network, measured_on, progress)?;
    let trainee = trainee.with(trained.network);
    let model = run_folder::model(&options.output)?;
    let writer = FolderWriter::new(&model)?;
    trainee.write(&writer)?;
    let record = Record {
        fingerprint,
        from: from.name(),
        loss: options.loss.to_string(),
        pairs: dataset.examples.len(),
        steps: trained.history.steps.len(),
        best_step: trained.best.0,
        dev_pairs: dev.len(),
        average_precision: after.average_precision,
        f1: after.f1,
        accuracy: after.accuracy,
        average_precision_before: before.average_precision,
        f1_before: before.f1,
    };
    run_folder::write_record(&writer, &record)?;
    writer.finish()?;
    let measured = ModelFolder::open(&model)?.fingerprint()?;
    calibration::write(&model.join(calibration::FILE), &Calibration { model: Some(measured), ..calibration })?;
    run_folder::publish(&model, &options.output)?;
    progress.say(&format!("wrote {}", options.output.display()));
    Ok(())
}

fn step_config(options: &TrainOptions, steps: usize, devices: &Devices) -> StepConfig {
    StepConfig {
        loss: options.loss.clone(),
        numbers: options.numbers,
        schedule: Schedule {
            peak: options.learning_rate,
            warmup_steps: options.warmup_steps.unwrap_or_else(|| (steps / 10).min(100)),
            total_steps: steps,
            decay: options.decay,
        },
        max_norm: options.max_norm,
        precision: options.precision,
        micro_batches: MicroBatches::of(devices.kind),
        seed: options.trainer.seed,
    }
}

fn summarise(options: &TrainOptions, trained: &Trained, progress: &Progress) {
    let before = trained.history.evaluations.first().map(|(_, figures)| *figures).unwrap_or_default();
    let (step, after) = trained.best;
    for (name, of) in [
        ("average precision", (|f| f.average_precision) as fn(&crate::training::evaluation::Figures) -> f64),
        ("best F1", |f| f.f1),
        ("accuracy", |f| f.accuracy),
    ] {
        progress.say(&format!("dev {name}: {:.4} before, {:.4} after step {step}", of(&before), of(&after)));
    }
    if trained.pairs_per_second > 0.0 {
        progress.say(&format!("{:.1} pairs a second, evaluations included", trained.pairs_per_second));
    }
    if step == 0 {
        progress
            .warn(format!("no step was better on dev than the model that training with {} began from", options.loss));
    }
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Hash of everything that the weights depend on.
fn fingerprint(options: &TrainOptions, from: &ModelFolder, progress: &Progress) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(&VERSION.to_le_bytes());
    add(options.identity.as_bytes());
    add(from.fingerprint()?.as_bytes());
    for file in [Some(&options.pairs), options.dev.as_ref()].into_iter().flatten() {
        add(&std::fs::read(file).map_err(|e| usage(format!("cannot read {}: {e}", file.display())))?);
    }
    if let Some(teacher) = &options.teacher {
        add(hub::open_path_or(Some(teacher), built_in::CROSS_ENCODER, progress)?.fingerprint()?.as_bytes());
    }
    if options.hard_negatives.is_some() || options.mined_pairs.is_some() {
        let miner = hub::open_path_or(options.negatives_from.as_deref(), built_in::BI_ENCODER, progress)?;
        add(miner.fingerprint()?.as_bytes());
    }
    Ok(hasher.finalize().to_hex().get(..32).context("a hash has 64 digits")?.to_string())
}
