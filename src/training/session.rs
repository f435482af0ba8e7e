//! One training from its options to a model's folder.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::calibration::fitted::FEW_PAIRS;
use crate::device::Devices;
use crate::error::{cannot_read, hint, usage};
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::calibration::{self, Calibration};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::folder_writer::FolderWriter;
use crate::models::checkpoint::kind::Kind;
use crate::models::hub;
use crate::progress::{Progress, readable};
use crate::training::checked::TrainOptions;
use crate::training::data::{self, Data};
use crate::training::dataset::{Dataset, Inputs};
use crate::training::evaluation::DevSet;
use crate::training::incumbent::{self, ExistingOutput};
use crate::training::network::{Network, Trainee};
use crate::training::run_folder::{self, Record, Replace, RunFolder};
use crate::training::schedule::Schedule;
use crate::training::step::{MicroBatches, StepConfig};
use crate::training::trainer::{self, Plan, Trained};

/// Part of a training's fingerprint; raise it when the same options give other weights.
const VERSION: u32 = 5;

/// Trains, and writes the model complete or not at all. Returns false if the time limit ended training early.
pub fn run(options: &TrainOptions, force: bool, progress: &Progress) -> Result<bool> {
    if options.threads > 0 {
        // in a second training of the same process the pool exists already
        let _ = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global();
    }
    run_folder::recover(&options.output)?;
    let start = match options.kind {
        Kind::Cross => built_in::CROSS_ENCODER,
        Kind::Bi | Kind::Siamese => built_in::BI_ENCODER,
    };
    let from = hub::open_path_or(options.from.as_deref(), start, progress)?;
    let fingerprint = fingerprint(options, &from, progress)?;
    let existing = incumbent::existing_output(options, &fingerprint)?;
    options.without_effect.iter().for_each(|what| progress.warn(what.clone()));
    let must_beat = !force && matches!(existing, ExistingOutput::Start | ExistingOutput::Another);
    match existing {
        ExistingOutput::Finished => {
            let output = options.output.display();
            progress.say(&format!("{output}: trained already with these options and pairs"));
            return Ok(true);
        }
        ExistingOutput::Unfinished => progress.say("the time limit ended this training early; it continues"),
        ExistingOutput::Foreign if !force => {
            return Err(hint(
                format!("{} exists already, and no training made it", options.output.display()),
                "choose another --output, or add --force to replace it",
            ));
        }
        ExistingOutput::Nothing | ExistingOutput::Start | ExistingOutput::Another | ExistingOutput::Foreign => {}
    }
    if options.trainer.start_share > 0.0 && Kind::of(&from)? != options.kind {
        return Err(usage(format!(
            "--start-share: {} is no {}: its new head has no weights of the start",
            from.name(),
            options.kind.name()
        )));
    }
    let devices = options.device.open(progress)?;
    options.precision.check(&devices)?;
    let device = devices.list[0].clone();
    let replace = match (force, must_beat) {
        (true, _) => Replace::Anything,
        (false, true) => Replace::Finished,
        (false, false) => Replace::Nothing,
    };
    // a kill may have come between the model's new name and the note that its run is over
    let written =
        run_folder::record(&options.output).filter(|done| existing == ExistingOutput::Start || !done.out_of_time);
    let written = written.map(|done| done.fingerprint);
    let run = RunFolder::open(&options.run, &fingerprint, written.as_deref(), replace)?;
    let incumbent = match must_beat && existing == ExistingOutput::Another {
        true => Some(incumbent::load(options, &device, progress)?),
        false => None,
    };
    let trainee = Trainee::load(options.kind, &from, options.trainer.seed, &device)?;
    let Data { dataset, dev: dev_pairs } = data::prepare(options, &devices, progress)?;
    check_widths(&dataset, &trainee)?;
    let inputs = Inputs::new(&dataset, options.kind, trainee.tokenizer(), options.swap_orders)?;
    let dev = DevSet::new(&dev_pairs, options.kind, trainee.tokenizer(), &devices)?;
    let plan = Plan::new(&options.trainer, &dataset.examples, &inputs.lengths());
    announce(options, &plan, dataset.examples.len(), dev.len(), progress)?;
    let step_config = step_config(options, plan.steps(), &devices);
    let network = start_network(options, &trainee);
    let measure = |model: &Trainee| incumbent::measure(model, options, (&dev_pairs, &devices), progress);
    let incumbent = incumbent.as_ref().map(measure).transpose()?;
    run.begin()?;
    progress.keeps_finished_work();
    let trained = trainer::train(network, &plan, &inputs, &dev, (&options.trainer, &step_config), &run.path, progress)?;
    summarise(options, &trained, progress);

    let metric = options.trainer.metric;
    let before = trained.before();
    let written = if options.write_last { trained.last.1 } else { trained.best };
    let is_better = written.1.get(metric) > incumbent.unwrap_or(before).get(metric);
    if must_beat && !is_better {
        if !trained.out_of_time {
            run.finish()?;
        }
        return Err(hint(
            format!("no step was better on dev than {} is: it stays as it was", options.output.display()),
            match existing {
                _ if trained.out_of_time => "the time limit ended it early: the same command continues",
                ExistingOutput::Start => {
                    "more pairs or another loss may help; --force writes what the last step made all the same"
                }
                _ => "more pairs or another loss may help; --force replaces it all the same",
            },
        ));
    }
    let (network, (best_step, after)) = match options.write_last || existing == ExistingOutput::Start && !is_better {
        true => trained.last,
        false => (trained.network, trained.best),
    };
    let record = Record {
        fingerprint,
        from: from.name(),
        loss: options.loss.to_string(),
        pairs: dataset.examples.len(),
        steps: trained.history.steps.len(),
        out_of_time: trained.out_of_time,
        best_step,
        dev_pairs: dev.len(),
        average_precision: after.average_precision,
        f1: after.f1,
        accuracy: after.accuracy,
        average_precision_before: before.average_precision,
        f1_before: before.f1,
    };
    // a refreshed model takes the place of what it came from, or of what was there
    let had: Option<Calibration> = from.json(calibration::FILE).ok().flatten();
    // the start's weights keep what was measured of them, on more pairs than these perhaps
    let is_start = best_step == 0 && Kind::of(&from)? == options.kind;
    let kept = calibration::read(&from).ok().filter(|kept| is_start && *kept != Calibration::default());
    let was_kept = kept.is_some();
    let calibration = match kept {
        Some(kept) => kept,
        None => dev.calibrate(&network, options.trainer.seed, progress)?,
    };
    let replaced = calibration::peek(&options.output.join(calibration::FILE));
    let together = |had: Option<Calibration>| had.is_some_and(|had| had.together.is_some());
    let (replaced_together, had_together) = (together(replaced), together(had) && !was_kept);
    write_model(&options.output, &trainee.with(network), &record, calibration)?;
    // in its own place the next training begins from what was written
    if existing == ExistingOutput::Start || !record.out_of_time {
        run.finish()?;
    }
    progress.say(&format!("wrote {}", options.output.display()));
    if replaced_together || had_together {
        progress.warn(format!(
            "how {} decided beside its bi-encoder held for the old weights; measure both with mine calibrate \
             --cross-encoder {} --bi-encoder DIR --pairs FILE",
            if replaced_together { options.output.display().to_string() } else { from.name() },
            options.output.display()
        ));
    }
    Ok(!record.out_of_time)
}

fn check_widths(dataset: &Dataset, trainee: &Trainee) -> Result<()> {
    if let (Some((_, theirs)), Trainee::Bi(student)) = (&dataset.teacher, trainee) {
        let ours = student.dimensions();
        ensure!(
            *theirs == ours,
            "the teacher's vectors have {theirs} dimensions, the student's {ours}: cosine distillation needs the same"
        );
    }
    Ok(())
}

/// Says what is to come, and refuses a training without a step.
fn announce(options: &TrainOptions, plan: &Plan, pairs: usize, dev_pairs: usize, progress: &Progress) -> Result<()> {
    ensure!(pairs > 0, "{}: no pair is left to train on: all are marked as added", options.pairs.display());
    ensure!(
        plan.steps() > 0,
        "{}: its {pairs} pairs make no batch: ranking compares duplicates of different questions, and needs two of them",
        options.pairs.display(),
    );
    if dev_pairs < FEW_PAIRS {
        progress.warn(format!(
            "{dev_pairs} dev pairs are few: the best step and the thresholds may be chance; more come with --dev, or \
             with more --pairs"
        ));
    }
    if let Some(warmup) = options.warmup_steps.filter(|&warmup| warmup >= plan.steps()) {
        progress.warn(format!(
            "--warmup-steps is {warmup}, but there are {} steps: --learning-rate is never reached",
            plan.steps()
        ));
    }
    let left_out = plan.left_out(pairs);
    if left_out > 0 {
        progress.say(&format!(
            "{} pairs are in no batch of the first epoch: too few for one more, or of large clusters, of which a batch \
             holds one pair",
            readable(left_out)
        ));
    }
    progress.say(&format!(
        "{} pairs, {} steps of {} pairs; {} dev pairs; checkpoints and curves in {}",
        readable(pairs),
        readable(plan.steps()),
        options.trainer.batch_size * options.trainer.accumulate,
        readable(dev_pairs),
        options.run.display()
    ));
    Ok(())
}

fn start_network(options: &TrainOptions, trainee: &Trainee) -> Network {
    let network = match options.dropout {
        Some(p) => trainee.network().with_dropout(p),
        None => trainee.network(),
    };
    let network = if options.freeze_encoder { network.with_frozen_encoder() } else { network };
    if options.freeze_tokens { network.with_frozen_tokens() } else { network }
}

/// Makes the model's folder beside `output`, then lets it take that name.
fn write_model(output: &Path, trainee: &Trainee, record: &Record, calibration: Calibration) -> Result<()> {
    let model = run_folder::model(output)?;
    let writer = FolderWriter::new(&model)?;
    trainee.write(&writer)?;
    run_folder::write_record(&writer, record)?;
    writer.finish()?;
    let measured = ModelFolder::open(&model)?.fingerprint()?;
    calibration::write(&model.join(calibration::FILE), &Calibration { model: Some(measured), ..calibration })?;
    run_folder::publish(&model, output)
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
    let (before, (step, after)) = (trained.before(), trained.best);
    for (name, before, after) in [
        ("average precision", before.average_precision, after.average_precision),
        ("best F1", before.f1, after.f1),
        ("accuracy", before.accuracy, after.accuracy),
    ] {
        progress.say(&format!("dev {name}: {before:.4} before, {after:.4} after step {step}"));
    }
    if trained.pairs_per_second > 0.0 {
        progress.say(&format!("{:.1} pairs a second, evaluations included", trained.pairs_per_second));
    }
    if step == 0 {
        progress
            .warn(format!("no step was better on dev than the model that training with {} began from", options.loss));
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
        add(&std::fs::read(file).map_err(|e| usage(cannot_read(file, &e)))?);
    }
    if let Some(teacher) = &options.teacher {
        let teacher = hub::open_path_or(Some(teacher), built_in::CROSS_ENCODER, progress)?;
        add(teacher.fingerprint()?.as_bytes());
        if options.teacher_weight > 0.0 {
            add(&teacher.read(calibration::FILE)?.unwrap_or_default());
        }
    }
    if options.mines() {
        let miner = hub::open_path_or(options.negatives_from.as_deref(), built_in::BI_ENCODER, progress)?;
        add(miner.fingerprint()?.as_bytes());
    }
    Ok(hasher.finalize().to_hex().get(..32).context("a hash has 64 digits")?.to_string())
}
