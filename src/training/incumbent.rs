//! What `--output` holds before a training: nothing, this training's own model, or one that the new model must beat.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;

use crate::error::hint;
use crate::models::folder::ModelFolder;
use crate::models::kind::Kind;
use crate::progress::Progress;
use crate::tables::pairs::LabelledPair;
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
        None => Held::Another,
    };
    if held != Held::Finished {
        run_folder::check_replaceable(output)?;
    }
    Ok(held)
}

/// Refuses to measure a new model against one of another kind.
pub fn check_kind(options: &TrainOptions, progress: &Progress) -> Result<()> {
    let output = options.output.display();
    let found = Kind::of(&ModelFolder::open(&options.output)?)?;
    if found != options.kind {
        return Err(hint(
            format!("{output} holds a {}, expected a {}", found.name(), options.kind.name()),
            "choose another --output, or add --force to replace it",
        ));
    }
    progress.say(&format!("{output} holds another training's model: it stays unless the new one is better on dev"));
    Ok(())
}

/// Figures of the model that `--output` holds, on the pairs that the new one is measured on.
pub fn measure(options: &TrainOptions, dev: &[LabelledPair], device: &Device, progress: &Progress) -> Result<Figures> {
    let output = options.output.display();
    let model = Trainee::load(options.kind, &ModelFolder::open(&options.output)?, options.trainer.seed, device)?;
    let figures = DevSet::new(dev, options.kind, model.tokenizer())?.evaluate(&model.network(), progress)?;
    progress.say(&format!("{output} now: {}", figures.describe()));
    Ok(figures)
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
