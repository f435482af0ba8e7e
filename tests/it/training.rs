//! Training: the loss curve of sentence-transformers, runs that are killed and go on, and what is refused.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use dupmine::losses::mix::LossNumbers;
use dupmine::models::folder::ModelFolder;
use dupmine::tables::pairs::{self, LabelledPair, PairColumns};
use dupmine::training::dataset::{Dataset, Inputs};
use dupmine::training::network::{Kind, Trainee};
use dupmine::training::optimizer::{AdamW, AdamWConfig};
use dupmine::training::schedule::{Decay, Schedule};
use dupmine::training::step::{Learner, StepConfig};
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
    pairs::read(Path::new(PAIRS), &columns).unwrap().pairs
}

/// Losses of the steps that `fixtures/reference/curves.json` describes.
fn curve(kind: Kind, folder: &str, loss: &str, reference: &Value, case: &Value) -> Vec<f64> {
    let number = |key: &str| reference[key].as_f64().unwrap();
    let batches: Vec<Vec<u32>> = serde_json::from_value(case["batches"].clone()).unwrap();
    let trainee = Trainee::load(kind, &ModelFolder::open(Path::new(folder)).unwrap(), 1, &Device::flex()).unwrap();
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
        seed: 1,
    };
    let adamw = AdamWConfig { weight_decay: number("weight_decay"), ..AdamWConfig::default() };
    let mut learner = Learner { network: trainee.network().with_dropout(0.0), optimizer: AdamW::new(adamw), config };
    batches.iter().map(|batch| learner.step(&[inputs.batch(batch, 0)]).unwrap().loss).collect()
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
        let ours = curve(kind, folder, loss, &reference, case);
        assert_eq!(ours.len(), 20);
        for (step, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!((ours - theirs).abs() < 1e-3, "{loss} step {step}: {ours}, Python has {theirs}");
        }
        assert!(ours[19] < ours[0] - 0.1, "{loss} learns: {ours:?}");
    }
}

/// Arguments of a training of some dozens of steps, with dropout.
fn arguments<'a>(kind: &'a str, from: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["train", "--kind", kind, "--from", from, "--pairs", PAIRS, "--output", output, "--quiet"];
    all.extend(["--learning-rate", "1e-3", "--batch-size", "6", "--dropout", "0.1"]);
    all.extend(["--evaluate-every", "10", "--checkpoint-every", "5"]);
    all.extend(more);
    all
}

fn weights(model: &Path) -> Vec<u8> {
    std::fs::read(model.join("model.safetensors")).unwrap()
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    let work = folder();
    for (kind, from) in [("bi", TINY), ("cross", TINY_CROSS)] {
        let of = |name: &str| work.path().join(format!("{kind}-{name}"));
        let (alone, killed) = (of("alone"), of("killed"));
        let more = ["--epochs", "30", "--accumulate", "2"];
        mine_ok(&arguments(kind, from, text(&alone), &more));
        let arguments = arguments(kind, from, text(&killed), &[&more[..], &["--threads", "1"]].concat());
        let run = of("killed.run");
        let mut kills = 0;
        while kills < 3 {
            let mut child = command(&arguments).stderr(Stdio::null()).spawn().unwrap();
            let before = checkpoints(&run);
            let started = Instant::now();
            while checkpoints(&run) == before && child.try_wait().unwrap().is_none() {
                assert!(started.elapsed() < Duration::from_secs(300), "no checkpoint");
                std::thread::sleep(Duration::from_millis(1));
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert!(kills > 0, "the training ended before it could be killed");
        assert!(!killed.exists(), "a killed training leaves no model");
        assert!(checkpoints(&run).len() <= 3, "old checkpoints are pruned");
        mine_ok(&arguments);
        assert!(weights(&alone) == weights(&killed), "{kind}: killed {kills} times, and other weights came out");
        let metrics = |run: &str| std::fs::read(of(run).join("metrics.parquet")).unwrap();
        assert!(metrics("alone.run") == metrics("killed.run"));
        assert!(std::fs::read_to_string(of("alone.run").join("curves.svg")).unwrap().starts_with("<svg"));
    }
}

fn checkpoints(run: &Path) -> Vec<String> {
    let files = std::fs::read_dir(run).into_iter().flatten().flatten();
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names.filter(|name| name.starts_with("checkpoint-")).collect();
    found.sort();
    found
}
