//! What `--output` holds before a training: nothing, this training's own model, or a model that the new one must beat.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;

use crate::device::Devices;
use crate::error::hint;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::progress::Progress;
use crate::tables::labelled_pairs::LabelledPair;
use crate::training::checked::TrainOptions;
use crate::training::evaluation::{DevSet, Figures};
use crate::training::network::Trainee;
use crate::training::run_folder::{self, Record};

/// What `--output` holds before a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingOutput {
    Nothing,
    /// The model that the training begins from.
    Start,
    /// The model of this training, which the time limit ended early.
    Unfinished,
    /// The model of this training, finished.
    Finished,
    /// A model of another training.
    Another,
    /// A model that no training made.
    Foreign,
}

/// Finds out; refuses what no model may replace.
pub fn existing_output(options: &TrainOptions, fingerprint: &str) -> Result<ExistingOutput> {
    let output = &options.output;
    let is_start = options.from.as_deref().is_some_and(|from| same_folder(from, output));
    let existing = match run_folder::record(output).filter(|done| done.fingerprint == fingerprint) {
        _ if is_start => ExistingOutput::Start,
        Some(Record { out_of_time: true, .. }) => ExistingOutput::Unfinished,
        Some(_) => ExistingOutput::Finished,
        None if run_folder::is_empty(output) => ExistingOutput::Nothing,
        None if run_folder::record(output).is_some() => ExistingOutput::Another,
        None => ExistingOutput::Foreign,
    };
    if existing != ExistingOutput::Finished {
        run_folder::check_replaceable(output)?;
    }
    Ok(existing)
}

/// Loads the model that `--output` holds, before hours of work are lost on one that cannot be measured.
pub fn load(options: &TrainOptions, device: &Device, progress: &Progress) -> Result<Trainee> {
    let output = options.output.display();
    let folder = ModelFolder::open(&options.output)?;
    let found = Kind::of(&folder)?;
    if found != options.kind {
        return Err(hint(
            format!("{output} holds a {}, expected a {}", found.name(), options.kind.name()),
            "choose another --output, or add --force to replace it",
        ));
    }
    let model = Trainee::load(options.kind, &folder, options.trainer.seed, device)
        .with_context(|| format!("{output} cannot be compared with a new model; --force replaces it"))?;
    progress.say(&format!("{output} holds another training's model: it stays unless the new one is better on dev"));
    Ok(model)
}

/// Its figures on the pairs that the new one is measured on.
pub fn measure(
    model: &Trainee,
    options: &TrainOptions,
    (dev, devices): (&[LabelledPair], &Devices),
    progress: &Progress,
) -> Result<Figures> {
    let dev = DevSet::new(dev, options.kind, model.tokenizer(), devices)?;
    let figures = dev.evaluate(&model.network(), progress)?;
    progress.say(&format!("{} now: {}", options.output.display(), figures.describe()));
    Ok(figures)
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
