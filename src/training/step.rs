//! One training step: outputs of the batch, the loss and its gradient with respect to them, and that gradient back
//! through the model.
//!
//! The batch goes through the model in micro-batches of near lengths, several at a time on a CPU: one large product
//! uses two cores badly, two smaller ones use them well. Micro-batches and the order in which their gradients are added
//! depend on the batch and the kind of device alone, so the number of threads changes nothing.
//!
//! A batch uses a few hundred of the token table's thirty thousand rows. The model that is differentiated holds those
//! rows alone: a dense gradient of the table would be half of the memory traffic of a step.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Result, bail};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::device::DeviceKind;
use crate::error::hint;
use crate::executor::tuning::Tuning;
use crate::hash::hash64;
use crate::losses::cached_ranking::output_gradient;
use crate::losses::mix::{LossNumbers, Mix};
use crate::models::network::dropout;
use crate::models::network::precision::Precision;
use crate::training::dataset::Batch;
use crate::training::gradients::{self, Gradient};
use crate::training::network::{Item, Network};
use crate::training::optimizer::AdamW;
use crate::training::pass::Pass;
use crate::training::schedule::Schedule;

/// How a batch is split into micro-batches.
#[derive(Debug, Clone, Copy)]
pub struct MicroBatches {
    /// Tokens of each, without padding.
    pub tokens: usize,
    /// How many at least, if the batch has as many items.
    pub least: usize,
}

impl MicroBatches {
    /// As they suit a kind of device.
    pub fn of(kind: DeviceKind) -> Self {
        let tuning = Tuning::of(kind);
        Self { tokens: tuning.micro_batch_tokens, least: tuning.least_micro_batches }
    }
}

/// Micro-batches whose gradients are in memory together, each as large as the model: enough for every core of a large machine.
const GRADIENTS_AT_ONCE: usize = 16;

/// What a step learns with.
#[derive(Debug, Clone)]
pub struct StepConfig {
    pub loss: Mix,
    pub numbers: LossNumbers,
    pub schedule: Schedule,
    pub max_norm: f64,
    /// What the encoder computes in, forward and back. Weights, their sums of gradients and the optimiser are in f32.
    pub precision: Precision,
    pub micro_batches: MicroBatches,
    /// Seed of dropout.
    pub seed: u64,
}

/// What a step showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepFigures {
    /// Mean loss over the step's batches.
    pub loss: f64,
    pub rate: f64,
    /// Norm of the gradient before clipping.
    pub norm: f64,
}

/// Network and optimiser as they stand after `optimizer.updates` steps. The network lives on a device without autodiff.
pub struct Learner {
    pub network: Network,
    pub optimizer: AdamW,
    pub config: StepConfig,
}

impl Learner {
    /// One update from the mean gradient of `batches`. Takes the learner and gives it back, so that weights which nobody
    /// else holds are changed in place.
    pub fn step(mut self, batches: &[Batch]) -> Result<(Self, StepFigures)> {
        let done = self.optimizer.updates;
        let (mut loss, mut gradient) = (0.0, Vec::new());
        for (number, batch) in batches.iter().enumerate() {
            let seed = hash(&[self.config.seed, done, number as u64]);
            let (value, of_batch) = backward(&self.network, batch, &self.config, seed)?;
            loss += value / batches.len() as f64;
            gradients::accumulate(&mut gradient, of_batch);
        }
        if batches.len() > 1 {
            gradients::scale(&mut gradient, 1.0 / batches.len() as f32);
        }
        let norm = gradients::norm(&gradient);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(hint(
                format!("step {}: the loss is {loss:e} and the gradient's norm {norm:e}", done + 1),
                "a lower --learning-rate, a longer --warmup-steps or a lower --max-norm may help; metrics.parquet in the \
                 run's folder shows how it came",
            ));
        }
        gradients::clip(&mut gradient, norm, self.config.max_norm);
        let rate = self.config.schedule.rate(done as usize);
        self.network = self.optimizer.update(self.network, &gradient, rate);
        Ok((self, StepFigures { loss, rate, norm }))
    }
}

/// Loss of a batch and the gradient of every parameter.
fn backward(network: &Network, batch: &Batch, config: &StepConfig, seed: u64) -> Result<(f64, Vec<Gradient>)> {
    if batch.items.is_empty() {
        bail!("a batch has at least one example");
    }
    let device = network.encoder().device();
    let (rows, items) = used_rows(&batch.items, network.padding());
    let network = network.clone().with_token_rows(&rows, &device).in_precision(config.precision);
    let (order, micro_batches) = plan(&items, config.micro_batches);
    let forward = |(number, range): (usize, &Range<usize>)| {
        let items: Vec<&Item> = order[range.clone()].iter().map(|&at| &items[at]).collect();
        dropout::seeded(hash(&[seed, number as u64]), || Pass::forward(&network, &items))
    };
    let cached = config.loss.is_cached();
    let passes: Vec<(Option<Pass>, Tensor<2>)> = micro_batches
        .par_iter()
        .enumerate()
        .with_max_len(1)
        .map(|micro_batch| {
            let pass = forward(micro_batch);
            let values = pass.outputs();
            ((!cached).then_some(pass), values)
        })
        .collect();
    let outputs = Tensor::cat(passes.iter().map(|(_, values)| values.clone()).collect(), 0);
    let outputs = outputs.select(0, indices(&inverse(&order), &device));
    let (gradient, value) =
        output_gradient(&outputs, |outputs| config.loss.loss(outputs, &batch.targets, &config.numbers));
    let gradient = gradient.select(0, indices(&order, &device));
    let mut total = Vec::new();
    let mut passes = passes.into_iter().map(|(kept, _)| kept).zip(micro_batches.iter().enumerate());
    loop {
        let some: Vec<_> = passes.by_ref().take(GRADIENTS_AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        let back = |(kept, micro_batch): (Option<Pass>, (usize, &Range<usize>))| {
            let range = micro_batch.1;
            let pass = kept.unwrap_or_else(|| forward(micro_batch));
            pass.backward(&network, gradient.clone().narrow(0, range.start, range.len()))
        };
        let parts: Vec<Vec<Gradient>> = some.into_par_iter().with_max_len(1).map(back).collect();
        parts.into_iter().for_each(|part| gradients::accumulate(&mut total, part));
    }
    gradients::of_token_rows(&network, &mut total, rows);
    Ok((f64::from(value), total))
}

/// The token ids that a batch uses, sorted, and the items with their ids' places among them. Every id up to `padding`
/// is kept, so that padding keeps its own number.
fn used_rows(items: &[Item], padding: Option<usize>) -> (Vec<u32>, Vec<Item>) {
    let first = 0..=padding.unwrap_or(0) as u32;
    let used: BTreeSet<u32> =
        items.iter().flat_map(|item| item.ids.iter().chain(&item.second).copied()).chain(first).collect();
    let rows: Vec<u32> = used.into_iter().collect();
    let place = |id: &u32| rows.binary_search(id).unwrap_or(0) as u32;
    let renumbered = |item: &Item| Item {
        ids: item.ids.iter().map(place).collect(),
        type_ids: item.type_ids.clone(),
        second: item.second.iter().map(place).collect(),
    };
    let items = items.iter().map(renumbered).collect();
    (rows, items)
}

/// Items from the shortest up, and the ranges of that order which are micro-batches.
fn plan(items: &[Item], cut: MicroBatches) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&item| items[item].tokens());
    let tokens: usize = items.iter().map(|item| item.tokens()).sum();
    let parts = tokens.div_ceil(cut.tokens).max(cut.least).min(items.len());
    // equal shares of the tokens, so that no core waits long for another
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let (mut start, mut seen) = (0, 0);
    for (at, &item) in order.iter().enumerate() {
        seen += items[item].tokens();
        let left = items.len() - at - 1;
        let due = seen * parts >= tokens * (ranges.len() + 1);
        // what is left must still make the parts that are missing, of one item each at least
        let needed = left + ranges.len() < parts;
        if due || needed || left == 0 {
            ranges.push(start..at + 1);
            start = at + 1;
        }
    }
    (order, ranges)
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &item)| places[item] = place);
    places
}

fn indices(places: &[usize], device: &Device) -> Tensor<1, Int> {
    let places: Vec<i32> = places.iter().map(|&place| place as i32).collect();
    let count = places.len();
    Tensor::from_data(TensorData::new(places, [count]), device)
}

/// A seed that depends on all of `parts`.
fn hash(parts: &[u64]) -> u64 {
    hash64(&parts.iter().flat_map(|part| part.to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn micro_batches_cover_all_items(lengths in prop::collection::vec(3usize..60, 1..200), on_card: bool) {
            let cut = MicroBatches::of(if on_card { DeviceKind::Gpu } else { DeviceKind::Cpu });
            let items: Vec<Item> = lengths.iter().map(|&n| Item { ids: vec![7; n], type_ids: vec![], second: vec![] }).collect();
            let (order, ranges) = plan(&items, cut);
            prop_assert_eq!(inverse(&inverse(&order)), order.clone());
            let covered: Vec<usize> = ranges.iter().flat_map(Clone::clone).collect();
            prop_assert_eq!(covered, (0..items.len()).collect::<Vec<_>>());
            prop_assert!(ranges.len() >= cut.least.min(items.len()));
            prop_assert!(ranges.iter().all(|range| !range.is_empty()));
        }

        #[test]
        fn renumbered_ids_name_the_same_rows(ids in prop::collection::vec(0u32..500, 1..60), padding in 0usize..4) {
            let item = Item { ids: ids.clone(), type_ids: vec![], second: vec![] };
            let (rows, items) = used_rows(&[item], Some(padding));
            let named: Vec<u32> = items[0].ids.iter().map(|&place| rows[place as usize]).collect();
            prop_assert_eq!(named, ids);
            prop_assert_eq!(rows[padding], padding as u32);
        }
    }
}
