//! Steps of training: the loss curve of sentence-transformers, in f32 and in bf16, and what a step changes.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use dupmine::device::DeviceKind;
use dupmine::losses::mix::LossNumbers;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::checkpoint::kind::Kind;
use dupmine::models::network::precision::Precision;
use dupmine::tables::labelled_pairs::{self, LabelledPair, PairColumns};
use dupmine::training::dataset::{Dataset, Inputs};
use dupmine::training::gradients;
use dupmine::training::network::{Network, Trainee};
use dupmine::training::optimizer::{AdamW, AdamWConfig};
use dupmine::training::schedule::{Decay, Schedule};
use dupmine::training::step::{Learner, MicroBatches, StepConfig};
use serde_json::Value;

use crate::support::*;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
const TINY_CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");
const PAIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pairs.csv");

fn labelled_pairs() -> Vec<LabelledPair> {
    let columns = PairColumns {
        question1_column: "question1".into(),
        question2_column: "question2".into(),
        label_column: "is_duplicate".into(),
    };
    labelled_pairs::read(Path::new(PAIRS), &columns).unwrap().pairs
}

/// Losses of the steps that `fixtures/reference/curves.json` describes.
fn curve(
    (kind, folder): (Kind, &str),
    loss: &str,
    reference: &Value,
    case: &Value,
    (precision, kind_of_device): (Precision, DeviceKind),
    device: &Device,
) -> Vec<f64> {
    let number = |key: &str| reference[key].as_f64().unwrap();
    let batches: Vec<Vec<u32>> = serde_json::from_value(case["batches"].clone()).unwrap();
    let trainee = Trainee::load(kind, &ModelFolder::open(Path::new(folder)).unwrap(), 1, device).unwrap();
    let dataset = Dataset::new(&labelled_pairs());
    let inputs = Inputs::new(&dataset, kind, trainee.tokenizer(), false).unwrap();
    let schedule = Schedule {
        peak: number("learning_rate"),
        warmup_steps: number("warmup_steps") as usize,
        total_steps: batches.len(),
        decay: Decay::Linear,
    };
    let config = StepConfig {
        loss: loss.parse().unwrap(),
        numbers: LossNumbers::default(),
        schedule,
        max_norm: number("max_norm"),
        precision,
        micro_batches: MicroBatches::of(kind_of_device),
        seed: 1,
    };
    let adamw = AdamWConfig { weight_decay: number("weight_decay"), ..AdamWConfig::default() };
    let mut learner = Learner { network: trainee.network().with_dropout(0.0), optimizer: AdamW::new(adamw), config };
    let mut losses = Vec::new();
    for batch in &batches {
        let figures;
        (learner, figures) = learner.step(&[inputs.batch(batch, 0)]).unwrap();
        losses.push(figures.loss);
    }
    losses
}

#[test]
fn twenty_steps_follow_the_loss_curve_of_sentence_transformers() {
    let text = std::fs::read_to_string(repo("fixtures/reference/curves.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let cases = [
        (Kind::Bi, TINY, "ranking", "bi"),
        (Kind::Bi, TINY, "cached-ranking", "bi"),
        (Kind::Cross, TINY_CROSS, "binary-cross-entropy", "cross"),
    ];
    for (kind, folder, loss, name) in cases {
        let case = &reference[name];
        let theirs: Vec<f64> = serde_json::from_value(case["losses"].clone()).unwrap();
        let ours = curve((kind, folder), loss, &reference, case, (Precision::F32, DeviceKind::Cpu), &Device::flex());
        assert_eq!(ours.len(), 20);
        for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!((ours - theirs).abs() < 1e-3, "{loss} step {step}: {ours}, Python has {theirs}");
        }
        assert!(ours[19] < ours[0] - 0.1, "{loss} learns: {ours:?}");

        let coarse = (Precision::Bf16, DeviceKind::Gpu);
        let as_on_a_gpu = curve((kind, folder), loss, &reference, case, coarse, &Device::flex());
        assert_ne!(as_on_a_gpu, ours, "{loss} computes in bf16");
        for (step, (coarse, exact)) in as_on_a_gpu.iter().zip(&ours).enumerate() {
            assert!(
                (coarse - exact).abs() < 0.05 * exact.max(1.0),
                "{loss} step {step}: {coarse} in bf16, {exact} in f32"
            );
        }
    }
}

/// Padded batches of few shapes, and the gradients of a card's own kernels.
#[cfg(feature = "cubecl-cpu")]
#[test]
fn twenty_steps_on_a_card_follow_the_loss_curve() {
    if !crate::card_kernels::is_fast() {
        return skipped("training has many shapes to tune: MINE_CARD=cuda runs this on a card");
    }
    let text = std::fs::read_to_string(repo("fixtures/reference/curves.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let cases = [(Kind::Bi, TINY, "ranking", "bi"), (Kind::Cross, TINY_CROSS, "binary-cross-entropy", "cross")];
    for (kind, folder, loss, name) in cases {
        let case = &reference[name];
        let theirs: Vec<f64> = serde_json::from_value(case["losses"].clone()).unwrap();
        let device = crate::card_kernels::card();
        let ours = curve((kind, folder), loss, &reference, case, (Precision::F32, DeviceKind::Gpu), &device);
        for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!((ours - theirs).abs() < 2e-3, "{loss} step {step}: {ours}, Python has {theirs}");
        }
    }
}

#[derive(Default)]
struct Weights(Vec<Vec<f32>>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().into_data().try_into_vec().unwrap());
    }
}

/// A step in f32 at the rate 1e-3.
fn plain_step(loss: &str) -> StepConfig {
    StepConfig {
        loss: loss.parse().unwrap(),
        numbers: LossNumbers::default(),
        schedule: Schedule { peak: 1e-3, warmup_steps: 0, total_steps: 10, decay: Decay::Linear },
        max_norm: 1.0,
        precision: Precision::F32,
        micro_batches: MicroBatches::of(DeviceKind::Cpu),
        seed: 1,
    }
}

/// Names of the parameters that one step changes.
fn changed(network: Network, inputs: &Inputs) -> Vec<String> {
    let weights = |network: &Network| {
        let mut weights = Weights::default();
        network.visit(&mut weights);
        weights.0
    };
    let before = weights(&network);
    let config = plain_step("ranking");
    let learner = Learner { network, optimizer: AdamW::new(AdamWConfig::default()), config };
    let (learner, _) = learner.step(&[inputs.batch(&[0, 1, 2, 3], 0)]).unwrap();
    let after = weights(&learner.network);
    let names = gradients::names(&learner.network).into_iter();
    names.zip(before.iter().zip(&after)).filter(|(_, (a, b))| a != b).map(|(name, _)| name).collect()
}

#[test]
fn a_step_changes_every_weight_but_a_frozen_token_table() {
    let trainee = Trainee::load(Kind::Bi, &ModelFolder::open(Path::new(TINY)).unwrap(), 1, &Device::flex()).unwrap();
    let duplicates: Vec<LabelledPair> = labelled_pairs().into_iter().filter(|pair| pair.is_duplicate).collect();
    let dataset = Dataset::new(&duplicates);
    let inputs = Inputs::new(&dataset, Kind::Bi, trainee.tokenizer(), false).unwrap();
    let all = gradients::names(&trainee.network());
    assert_eq!(changed(trainee.network(), &inputs), all);
    let frozen = changed(trainee.network().with_frozen_tokens(), &inputs);
    assert_eq!(all.into_iter().filter(|name| !name.ends_with("words.weight")).collect::<Vec<_>>(), frozen);
}

#[test]
fn two_batches_of_a_step_are_one_of_twice_the_size() {
    let trainee =
        Trainee::load(Kind::Cross, &ModelFolder::open(Path::new(TINY_CROSS)).unwrap(), 1, &Device::flex()).unwrap();
    let dataset = Dataset::new(&labelled_pairs());
    let inputs = Inputs::new(&dataset, Kind::Cross, trainee.tokenizer(), false).unwrap();
    let stepped = |batches: &[&[u32]]| {
        let config = plain_step("binary-cross-entropy");
        let network = trainee.network().with_dropout(0.0);
        let learner = Learner { network, optimizer: AdamW::new(AdamWConfig::default()), config };
        let batches: Vec<_> = batches.iter().map(|numbers| inputs.batch(numbers, 0)).collect();
        let (learner, figures) = learner.step(&batches).unwrap();
        assert_eq!(learner.optimizer.updates, 1);
        figures
    };
    let (whole, halves) = (stepped(&[&[0, 1, 2, 3, 4, 5]]), stepped(&[&[0, 1, 2], &[3, 4, 5]]));
    assert!((whole.loss - halves.loss).abs() < 1e-6, "{whole:?} {halves:?}");
    assert!((whole.norm - halves.norm).abs() < 1e-5 * whole.norm, "{whole:?} {halves:?}");
    assert!((whole.norm - stepped(&[&[0, 1, 2]]).norm).abs() > 1e-3 * whole.norm, "one half alone is another gradient");
}
