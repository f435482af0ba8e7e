//! What `--output` holds before a training: nothing, this training's own model, or one that the new model must beat.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;

use crate::error::hint;
use crate::labels::labelled_pairs::LabelledPair;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::progress::Progress;
use crate::training::checked::TrainOptions;
use crate::training::evaluation::{DevSet, Figures};
use crate::training::network::Trainee;
use crate::training::run_folder::{self, Record};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// The model that the training begins from.
    Start,
    /// What this training had made when the clock ended it.
    Unfinished,
    /// What this training makes.
    Finished,
    /// A model of another training.
    Another,
    /// A model that no training made.
    Foreign,
}

/// Looks; refuses what no model may replace.
pub fn held(options: &TrainOptions, fingerprint: &str) -> Result<Held> {
    let output = &options.output;
    let is_start = options.from.as_deref().is_some_and(|from| same_folder(from, output));
    let held = match run_folder::record(output).filter(|done| done.fingerprint == fingerprint) {
        _ if is_start => Held::Start,
        Some(Record { out_of_time: true, .. }) => Held::Unfinished,
        Some(_) => Held::Finished,
        None if run_folder::is_empty(output) => Held::Nothing,
        None if run_folder::record(output).is_some() => Held::Another,
        None => Held::Foreign,
    };
    if held != Held::Finished {
        run_folder::check_replaceable(output)?;
    }
    Ok(held)
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
pub fn measure(model: &Trainee, options: &TrainOptions, dev: &[LabelledPair], progress: &Progress) -> Result<Figures> {
    let figures = DevSet::new(dev, options.kind, model.tokenizer())?.evaluate(&model.network(), progress)?;
    progress.say(&format!("{} now: {}", options.output.display(), figures.describe()));
    Ok(figures)
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
