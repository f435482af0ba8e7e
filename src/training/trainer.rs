//! The training loop: read this first.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::error::Interrupted;
use crate::progress::Progress;
use crate::tables::training_metrics::write_figures;
use crate::training::batches::{self, Grouping};
use crate::training::dataset::{Batch, Inputs};
use crate::training::evaluation::{DevSet, Figures, Metric};
use crate::training::history::History;
use crate::training::interpolation::interpolate;
use crate::training::network::Network;
use crate::training::optimizer::{AdamW, AdamWConfig};
use crate::training::step::{Learner, StepConfig};
use crate::training::{checkpoint, curves};

/// How long, how often, and in which batches.
#[derive(Debug, Clone)]
pub struct TrainerConfig {
    pub epochs: usize,
    pub batch_size: usize,
    /// Batches whose mean gradient makes one step.
    pub accumulate: usize,
    pub grouping: Grouping,
    pub max_steps: Option<usize>,
    pub max_time: Option<Duration>,
    /// Steps between evaluations.
    pub evaluate_every: usize,
    /// What makes an evaluation better than another.
    pub metric: Metric,
    /// Evaluations in a row without a better one after which training stops.
    pub patience: Option<usize>,
    pub checkpoint_every: usize,
    pub keep_checkpoints: usize,
    /// Share of the start's weights in what is measured and written, 0 to below 1.
    pub start_share: f64,
    pub adamw: AdamWConfig,
    pub seed: u64,
}

/// Batches of the whole training: epoch and example numbers, step after step.
pub struct Plan {
    batches: Vec<(usize, Vec<u32>)>,
    accumulate: usize,
    steps: usize,
}

impl Plan {
    pub fn new(config: &TrainerConfig, examples: &[crate::training::dataset::Example], lengths: &[u32]) -> Self {
        let enough = config.max_steps.map_or(usize::MAX, |most| most.saturating_mul(config.accumulate));
        let mut batches: Vec<(usize, Vec<u32>)> = Vec::new();
        for epoch in 0..config.epochs {
            if batches.len() >= enough {
                break;
            }
            let of_epoch = batches::of_epoch(examples, lengths, config.grouping, config.batch_size, config.seed, epoch);
            if of_epoch.is_empty() {
                break;
            }
            batches.extend(of_epoch.into_iter().map(|batch| (epoch, batch)));
        }
        let all = batches.len().div_ceil(config.accumulate);
        Self { steps: config.max_steps.map_or(all, |most| most.min(all)), batches, accumulate: config.accumulate }
    }

    /// Examples that are in no batch of the first epoch.
    pub fn left_out(&self, examples: usize) -> usize {
        let first = self.batches.iter().take_while(|(epoch, _)| *epoch == 0);
        examples - first.map(|(_, batch)| batch.len()).sum::<usize>()
    }

    /// Steps of the whole training.
    pub fn steps(&self) -> usize {
        self.steps
    }

    fn of_step(&self, step: usize, inputs: &Inputs) -> Vec<Batch> {
        let first = step * self.accumulate;
        let last = (first + self.accumulate).min(self.batches.len());
        self.batches[first..last].iter().map(|(epoch, examples)| inputs.batch(examples, *epoch)).collect()
    }

    fn examples(&self, steps: std::ops::Range<usize>) -> usize {
        let last = (steps.end * self.accumulate).min(self.batches.len());
        self.batches[steps.start * self.accumulate..last].iter().map(|(_, examples)| examples.len()).sum()
    }
}

/// The network with the best dev figures, and how it got there.
pub struct Trained {
    pub network: Network,
    pub history: History,
    /// Step and figures of the best evaluation.
    pub best: (u64, Figures),
    /// The network after the last step, with that step and its figures.
    pub last: (Network, (u64, Figures)),
    /// Whether the time limit ended it early: the same command continues.
    pub out_of_time: bool,
    pub pairs_per_second: f64,
}

impl Trained {
    /// Figures of the model that training began from.
    pub fn before(&self) -> Figures {
        self.history.evaluations.first().map(|(_, figures)| *figures).unwrap_or_default()
    }
}

/// Trains `start` until the plan, the time limit or the dev figures end it. `run` is the folder of checkpoints, metrics and
/// curves. A training that was stopped continues from its latest checkpoint there and ends with the same weights.
pub fn train(
    start: Network,
    plan: &Plan,
    inputs: &Inputs,
    dev: &DevSet,
    (config, step_config): (&TrainerConfig, &StepConfig),
    run: &Path,
    progress: &Progress,
) -> Result<Trained> {
    // without a share, the start's weights need not stay in memory
    let kept = (config.start_share > 0.0).then(|| start.clone());
    let written = |network: &Network| match &kept {
        Some(start) => interpolate(start, network.clone(), config.start_share),
        None => network.clone(),
    };
    let mut learner = Learner { network: start, optimizer: AdamW::new(config.adamw), config: step_config.clone() };
    let mut history = checkpoint::resume(run, &mut learner, progress)?.unwrap_or_default();
    let resumed = history.steps.len();
    let task = progress.task("train", "pairs", plan.examples(0..plan.steps));
    if resumed > 0 {
        progress.say(&format!("resumed after step {resumed} of {}", plan.steps));
        task.resume(plan.examples(0..resumed));
    }
    let started = Instant::now();
    let show = |history: &History| -> Result<()> {
        write_figures(&run.join("metrics.parquet"), &history.figures())?;
        curves::draw(&run.join("curves.svg"), history)
    };
    // the curves that led to a failure are what explains it
    let or_show = |failed: anyhow::Error, history: &History| match show(history) {
        Ok(()) => failed,
        Err(unwritten) => failed.context(unwritten),
    };
    let save = |learner: &Learner, history: &History| -> Result<()> {
        checkpoint::save(run, learner, history, config.keep_checkpoints)?;
        checkpoint::prune_best(run, history.best(config.metric).map_or(0, |(step, _)| step))?;
        show(history)
    };

    // Ctrl-C loses no step
    let _patience = progress.finish_before_stopping("the step under way and its checkpoint");
    let or_keep = |result: Result<()>, learner: &Learner, history: &History| match result {
        Err(stopped) if stopped.is::<Interrupted>() && history.steps.len() > resumed => {
            save(learner, history).and(Err(stopped))
        }
        Err(failed) => Err(or_show(failed, history)),
        Ok(()) => Ok(()),
    };

    loop {
        let done = history.steps.len();
        let out_of_time = config.max_time.is_some_and(|most| started.elapsed() >= most);
        let is_over = done == plan.steps || out_of_time || is_out_of_patience(&history, config);
        let is_due = done == plan.steps || done.is_multiple_of(config.evaluate_every);
        if is_due && !is_measured(&history) {
            let measured = evaluate(&written(&learner.network), dev, &mut history, config, run, progress);
            or_keep(measured, &learner, &history)?;
            continue;
        }
        if is_over || done > resumed && done.is_multiple_of(config.checkpoint_every) {
            save(&learner, &history)?;
        }
        if is_over {
            break;
        }
        let figures;
        (learner, figures) = match learner.step(&plan.of_step(done, inputs)) {
            Ok(stepped) => stepped,
            Err(failed) => return Err(or_show(failed, &history)),
        };
        history.steps.push(figures);
        task.note(&format!("step {} of {}, loss {:.4}", done + 1, plan.steps, figures.loss));
        or_keep(task.advance(plan.examples(done..done + 1)), &learner, &history)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let trained = history.steps.len();
    let out_of_time = trained < plan.steps && !is_out_of_patience(&history, config);
    if !is_measured(&history) {
        // do not save this evaluation in a checkpoint: a resumed run would not evaluate here
        evaluate(&written(&learner.network), dev, &mut history, config, run, progress)?;
        show(&history)?;
    }
    let best = history.best(config.metric).unwrap_or_default();
    let last = history.evaluations.last().copied().unwrap_or_default();
    Ok(Trained {
        last: (written(&learner.network), last),
        out_of_time,
        network: checkpoint::load_best(run, best.0, learner.network)?,
        best,
        pairs_per_second: plan.examples(resumed..trained) as f64 / seconds.max(1e-9),
        history,
    })
}

fn is_measured(history: &History) -> bool {
    history.evaluations.last().is_some_and(|(step, _)| *step == history.steps.len() as u64)
}

fn is_out_of_patience(history: &History, config: &TrainerConfig) -> bool {
    config.patience.is_some_and(|patience| history.evaluations_since_best(config.metric) >= patience)
}

/// Measures on dev, keeps the weights if they are the best so far, and warns when the scores say nothing.
fn evaluate(
    network: &Network,
    dev: &DevSet,
    history: &mut History,
    config: &TrainerConfig,
    run: &Path,
    progress: &Progress,
) -> Result<()> {
    let (step, figures) = (history.steps.len() as u64, dev.evaluate(network, progress)?);
    let before = history.best(config.metric).map(|(_, best)| best.get(config.metric));
    history.evaluations.push((step, figures));
    if before.is_none_or(|before| figures.get(config.metric) > before) {
        checkpoint::save_best(run, step, network)?;
    }
    progress.say(&format!("step {step}: {}", figures.describe()));
    if step > 0 && figures.is_collapsed() {
        progress.warn(format!(
            "step {step}: collapse: 90 % of the dev scores lie within {:.3} of each other; another loss, a lower \
             learning rate or a longer warm-up may help",
            figures.band
        ));
    }
    Ok(())
}
