//! Training: runs that end, stop, are killed and go on, and what they leave.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, UInt64Type};
use serde_json::Value;

use dupmine::models::checkpoint::calibration::{self, Calibration};

use crate::support::*;

pub const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
pub const TINY_CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");
pub const PAIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pairs.csv");

/// Arguments of a training of some dozens of steps, with dropout.
pub fn arguments<'a>(kind: &'a str, from: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["train", "--kind", kind, "--from", from, "--pairs", PAIRS, "--output", output, "--quiet"];
    all.extend(["--learning-rate", "1e-3", "--batch-size", "6", "--dropout", "0.1"]);
    all.extend(["--evaluate-every", "10", "--checkpoint-every", "5"]);
    all.extend(more);
    all
}

/// The same at another learning rate.
fn at_rate<'a>(rate: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().map(|&argument| if argument == "1e-3" { rate } else { argument }).collect()
}

pub fn weights(model: &Path) -> Vec<u8> {
    std::fs::read(model.join("model.safetensors")).unwrap()
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    let work = folder();
    let negatives = ["--hard-negatives", "1", "--negatives-choice", "random"];
    let trainings = [
        ("ranking", "bi", TINY, &[][..]),
        ("cached", "bi", TINY, &["--loss", "cached-ranking"]),
        ("negatives", "bi", TINY, &negatives),
        ("cross", "cross", TINY_CROSS, &[]),
        ("siamese", "siamese", TINY, &[]),
    ];
    for (training, kind, from, options) in trainings {
        let of = |name: &str| work.path().join(format!("{training}-{name}"));
        let (alone, killed) = (of("alone"), of("killed"));
        let more = [&["--epochs", "30", "--accumulate", "2"], options].concat();
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
            // the first two without warning, the last by Ctrl-C
            if kills < 2 {
                child.kill().unwrap();
                // it may have ended just before
                let was_killed = !child.wait().unwrap().success();
                assert!(was_killed != killed.exists(), "a killed training leaves no model");
            } else {
                let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
                assert!(told.success());
                let code = child.wait().unwrap().code();
                assert!(matches!(code, Some(130 | 0)), "{code:?}");
            }
            kills += 1;
        }
        assert!(kills > 0, "the training ended before it could be killed");
        assert!(checkpoints(&run).len() <= 3, "old checkpoints are pruned");
        mine_ok(&arguments);
        assert!(weights(&alone) == weights(&killed), "{training}: killed {kills} times, and other weights came out");
        let metrics = |run: &str| std::fs::read(of(run).join("metrics.parquet")).unwrap();
        assert!(metrics("alone.run") == metrics("killed.run"));
        assert!(
            last_state(&of("alone.run")) == last_state(&of("killed.run")),
            "{training}: another state after the last step"
        );
        assert!(std::fs::read_to_string(of("alone.run").join("curves.svg")).unwrap().starts_with("<svg"));
    }
}

/// Weights, moments and history after the last step, whichever step was the best.
pub fn last_state(run: &Path) -> Vec<u8> {
    std::fs::read(run.join(checkpoints(run).last().unwrap())).unwrap()
}

fn checkpoints(run: &Path) -> Vec<String> {
    let files = std::fs::read_dir(run).into_iter().flatten().flatten();
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names.filter(|name| name.starts_with("checkpoint-")).collect();
    found.sort();
    found
}

#[test]
fn a_trained_folder_is_complete_and_python_could_open_it() {
    let work = folder();
    for (kind, from) in [("bi", TINY), ("cross", TINY_CROSS), ("siamese", TINY)] {
        let output = work.path().join(kind);
        let more: &[&str] = if kind == "siamese" { &["--freeze-encoder", "--epochs", "2"] } else { &["--epochs", "2"] };
        mine_ok(&arguments(kind, from, text(&output), more));
        for file in ["config.json", "tokenizer.json", "model.safetensors", "dupmine.json", "training.json"] {
            assert!(output.join(file).exists(), "{kind}: {file} is missing");
        }
        // the same command again finds its work done
        let again = arguments(kind, from, text(&output), more);
        let said = mine_ok(&again.into_iter().filter(|flag| *flag != "--quiet").collect::<Vec<_>>());
        assert!(said.contains("trained already"), "{said}");
        let before = weights(&output);
        mine_ok(&arguments(kind, from, text(&output), &["--seed", "7", "--force", "--write-last", "--max-steps", "2"]));
        assert!(weights(&output) != before);
    }
    let siamese = work.path().join("siamese");
    let refused = mine_fails(&arguments("bi", TINY, text(&siamese), &[]), 1);
    assert!(refused.contains("holds a siamese classifier, expected a bi-encoder"), "{refused}");
    let error = mine_fails(&["evaluate", "--compare", text(&siamese), "--valid", PAIRS, "--test", PAIRS], 1);
    assert!(error.contains("a siamese classifier"), "{error}");
    let mined = work.path().join("mined");
    let questions = repo("fixtures/questions.parquet");
    let (bi, cross) = (work.path().join("bi"), work.path().join("cross"));
    mine_ok(&[
        "--input",
        text(&questions),
        "--output",
        text(&mined),
        "--bi-encoder",
        text(&bi),
        "--cross-encoder",
        text(&cross),
    ]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let work = folder();
    let of = |threads: &str| {
        let output = work.path().join(threads);
        mine_ok(&arguments("bi", TINY, text(&output), &["--epochs", "2", "--threads", threads]));
        last_state(&work.path().join(format!("{threads}.run")))
    };
    assert!(of("1") == of("3"));
}

#[test]
fn a_model_is_refreshed_only_by_a_better_one() {
    let work = folder();
    let model = work.path().join("model");
    // measured on what is learnt: what has forgotten it is surely worse
    let known = ["--loss", "contrastive", "--dev", PAIRS, "--allow-shared-questions", "--epochs"];
    mine_ok(&arguments("bi", TINY, text(&model), &[&known[..], &["10"]].concat()));
    let before = weights(&model);
    let refresh = |rate, more: &[&'static str]| {
        let more = [&known[..], &["1"], more].concat();
        at_rate(rate, &arguments("bi", text(&model), text(&model), &more))
    };
    // a rate at which nothing is learnt, and one at which all is forgotten: each in the run folder that the last one left
    for rate in ["1e-12", "0.1"] {
        let error = mine_fails(&refresh(rate, &[]), 1);
        assert!(error.contains("stays as it was") && error.contains("--force"), "{error}");
        assert!(weights(&model) == before);
    }
    mine_ok(&refresh("0.1", &["--force"]));
    assert!(weights(&model) != before);
    // a kill between two renames leaves the model aside, one after them leaves its run open
    std::fs::rename(&model, work.path().join(".model.replaced")).unwrap();
    let run = work.path().join("model.run/run.json");
    let open = std::fs::read_to_string(&run).unwrap().replace("true", "false");
    std::fs::write(&run, open).unwrap();
    let unsaid: Vec<&str> = refresh("1e-12", &[]).into_iter().filter(|part| !["--kind", "bi"].contains(part)).collect();
    let error = mine_fails(&unsaid, 1);
    assert!(error.contains("stays as it was") && model.exists(), "{error}");
    // what was measured of the start holds for the start's weights
    let (start, kept) = (work.path().join("start"), work.path().join("kept"));
    mine_ok(&["models", "export", "--input", TINY_CROSS, "--output", text(&start)]);
    let measured = Calibration { probability_threshold: Some(0.123), ..Calibration::default() };
    calibration::write(&start.join(calibration::FILE), &measured).unwrap();
    mine_ok(&at_rate("1e-12", &arguments("cross", text(&start), text(&kept), &["--epochs", "1"])));
    let written = calibration::peek(&kept.join(calibration::FILE)).unwrap();
    assert!(written.probability_threshold == Some(0.123) && written.model.is_some());
    // another training's model stays as long, and is measured on the same pairs
    let other = |more: &[&'static str]| -> Vec<&str> {
        let all = arguments("bi", TINY, text(&model), &[&known[..], more].concat());
        all.into_iter().filter(|flag| *flag != "--quiet").collect()
    };
    mine_ok(&[&other(&["10"])[..], &["--force"]].concat());
    let good = weights(&model);
    let error = mine_fails(&other(&["1", "--seed", "7"]), 1);
    assert!(error.contains("now: dev average precision") && error.contains("--force replaces it"), "{error}");
    assert!(weights(&model) == good);
    let said = mine_ok(&other(&["12"]));
    assert!(said.contains("another training's model") && weights(&model) != good, "{said}");
    let figure = |line: &str| -> f64 {
        line.split([':', ',']).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    let before = said.lines().find(|line| line.starts_with("dev average precision")).unwrap();
    let record: Value = serde_json::from_slice(&std::fs::read(model.join("training.json")).unwrap()).unwrap();
    let told = record["average_precision_before"].as_f64().unwrap();
    assert!((figure(before) - told).abs() < 1e-4, "{before}");
    // the clock ends a refresh that is written: the next one begins from it
    mine_ok(&refresh("1e-3", &["--force", "--max-minutes", "0"]));
    let said = String::from_utf8(mine(&refresh("1e-3", &[])).stderr).unwrap();
    assert!(!said.contains("holds a training with other options"), "{said}");
}

#[test]
fn a_training_needs_no_more_than_pairs() {
    let work = folder();
    let train = |more: &[&str]| {
        let few = ["--max-steps", "1", "--batch-size", "4", "--threads", "1"];
        let all = [&["train", "--pairs", PAIRS], &few[..], more].concat();
        let output = command(&all).current_dir(work.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let said = train(&["--from", TINY_CROSS]);
    assert!(said.contains("wrote models/cross-encoder") && said.contains("dev pairs are few"), "{said}");
    let calibration = std::fs::read_to_string(work.path().join("models/cross-encoder/dupmine.json")).unwrap();
    assert!(calibration.contains("probability_threshold"), "{calibration}");
    assert!(train(&["--freeze-tokens"]).contains("wrote models/bi-encoder"));
    // a cross-encoder that decides beside its bi-encoder: that does not hold for other weights
    let beside = work.path().join("beside");
    copy_model(TINY_CROSS, &beside);
    let decision = serde_json::json!({ "cosine_weight": 1.0, "calibrator": { "method": "platt", "slope": 1.0, "intercept": 0.0 }, "threshold": 0.5 });
    let together = serde_json::json!({ "together": { "bi_encoder": "any", "decision": decision } });
    std::fs::write(beside.join(calibration::FILE), together.to_string()).unwrap();
    let said = train(&["--from", "beside", "--output", "refreshed", "--write-last"]);
    assert!(said.contains("how beside") && said.contains("mine calibrate --cross-encoder refreshed"), "{said}");
}

#[test]
fn ctrl_c_keeps_the_step_under_way() {
    let work = folder();
    let (output, run) = (work.path().join("model"), work.path().join("model.run"));
    let files = ["--from", TINY, "--pairs", PAIRS, "--output", text(&output)];
    // no step of its own leaves anything
    let far = ["--epochs", "3000", "--evaluate-every", "1000000", "--checkpoint-every", "1000000"];
    let mut child = command(&[&["train", "--kind", "bi", "--batch-size", "6"], &files[..], &far].concat());
    let child = child.stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !run.join("best-00000000.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "no evaluation");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("stopping after the step under way") && said.contains("finished work is kept"), "{said}");
    assert_eq!(checkpoints(&run).len(), 1, "{said}");
}

/// `(step, part, metric)` → value of a training's metrics.
fn figures(run: &Path) -> BTreeMap<(u64, String, String), f64> {
    let batch = read(&run.join("metrics.parquet"));
    let steps = batch.column_by_name("step").unwrap().as_primitive::<UInt64Type>().values().to_vec();
    let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>().values().to_vec();
    let keys = steps.into_iter().zip(strings(&batch, "part")).zip(strings(&batch, "metric"));
    keys.map(|((step, part), metric)| (step, part, metric)).zip(values).collect()
}

#[test]
fn metrics_hold_every_step_and_every_evaluation() {
    let work = folder();
    let output = work.path().join("model");
    // more steps than an epoch has
    let more = ["--max-steps", "25", "--metric", "f1", "--warmup-steps", "5"];
    mine_ok(&arguments("cross", TINY_CROSS, text(&output), &more));
    let figures = figures(&work.path().join("model.run"));
    let of = |part: &str, metric: &str| -> Vec<(u64, f64)> {
        let found = figures.iter().filter(|((_, p, m), _)| p == part && m == metric);
        found.map(|((step, ..), value)| (*step, *value)).collect()
    };
    for metric in ["loss", "learning_rate", "gradient_norm"] {
        let steps: Vec<u64> = of("train", metric).iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, (1..=25).collect::<Vec<u64>>(), "{metric}");
    }
    let rates = of("train", "learning_rate");
    assert!((rates[5].1 - 1e-3).abs() < 1e-12, "the rate after five steps of warm-up: {rates:?}");
    assert!(rates.windows(2).take(5).all(|pair| pair[0].1 < pair[1].1), "{rates:?}");
    assert!(rates.windows(2).skip(5).all(|pair| pair[0].1 > pair[1].1), "{rates:?}");
    let f1 = of("dev", "f1");
    assert_eq!(f1.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 10, 20, 25]);
    // --metric chooses what is written
    let best = f1.iter().fold(f1[0], |best, &one| if one.1 > best.1 { one } else { best });
    let record: Value = serde_json::from_slice(&std::fs::read(output.join("training.json")).unwrap()).unwrap();
    assert_eq!((record["best_step"].as_u64().unwrap(), record["f1"].as_f64().unwrap()), best);
    let curves = std::fs::read_to_string(work.path().join("model.run/curves.svg")).unwrap();
    let lines =
        |colour: &str| curves.split('<').filter(|tag| tag.starts_with("polyline") && tag.contains(colour)).count();
    // pale the loss, blue its mean and average precision, orange F1; each also in the legend
    assert_eq!(["#C8D7EB", "#1E5AAA", "#D26E14"].map(lines), [2, 4, 2], "{curves}");
}

#[test]
fn training_stops_when_dev_gets_no_better() {
    let work = folder();
    let output = work.path().join("model");
    mine_ok(&at_rate("1e-12", &arguments("bi", TINY, text(&output), &["--epochs", "100", "--patience", "2"])));
    let record: Value = serde_json::from_slice(&std::fs::read(output.join("training.json")).unwrap()).unwrap();
    assert_eq!((record["steps"].as_u64(), record["best_step"].as_u64()), (Some(20), Some(0)));
    let last = work.path().join("last");
    let more = ["--epochs", "100", "--patience", "2", "--write-last"];
    mine_ok(&at_rate("1e-12", &arguments("bi", TINY, text(&last), &more)));
    let record: Value = serde_json::from_slice(&std::fs::read(last.join("training.json")).unwrap()).unwrap();
    assert_eq!((record["steps"].as_u64(), record["best_step"].as_u64()), (Some(20), Some(20)));
}

#[test]
fn a_training_that_the_clock_ended_goes_on() {
    let work = folder();
    let of = |name: &str| work.path().join(name);
    let (alone, timed) = (of("alone"), of("timed"));
    let more = ["--epochs", "60", "--patience", "40"];
    mine_ok(&arguments("bi", TINY, text(&alone), &more));
    let all = arguments("bi", TINY, text(&timed), &more);
    let all: Vec<&str> = all.into_iter().filter(|flag| *flag != "--quiet").collect();
    let mut between_evaluations = 0;
    for session in 0..4 {
        let said = mine_ok(&[&all[..], &["--max-minutes", "0.0001"]].concat());
        let record: Value = serde_json::from_slice(&std::fs::read(timed.join("training.json")).unwrap()).unwrap();
        between_evaluations += usize::from(!record["steps"].as_u64().unwrap().is_multiple_of(10));
        assert_eq!(said.contains("it continues"), session > 0, "{said}");
    }
    assert!(between_evaluations > 0);
    // a damaged checkpoint costs the steps since the one before it, and only without that one is it an error
    let run = of("timed.run");
    let both = checkpoints(&run);
    let whole: Vec<Vec<u8>> = both.iter().map(|name| std::fs::read(run.join(name)).unwrap()).collect();
    assert_eq!(both.len(), 2);
    both.iter().for_each(|name| std::fs::write(run.join(name), "half").unwrap());
    let error = mine_fails(&all, 1);
    assert!(error.contains("not a readable checkpoint") && error.contains("hint: remove"), "{error}");
    std::fs::write(run.join(&both[0]), &whole[0]).unwrap();
    let said = mine_ok(&[&all[..], &["--max-minutes", "0"]].concat());
    assert!(said.contains("the checkpoint before it is taken") && said.contains("resumed after step"), "{said}");
    std::fs::write(of("timed.run").join(".mine-tmp-x"), "half").unwrap();
    assert!(mine_ok(&all).contains("it continues"));
    assert!(
        last_state(&of("alone.run")) == last_state(&of("timed.run")),
        "evaluations of the sessions are no part of it"
    );
    assert!(!of("timed.run").join(".mine-tmp-x").exists(), "what a killed training left is swept away");
    assert!(mine_ok(&all).contains("trained already"));
}

#[test]
fn scores_that_say_nothing_are_warned_of() {
    let work = folder();
    let output = work.path().join("model");
    // a rate at which all questions come to one point
    let said = mine_ok(&at_rate("0.1", &arguments("bi", TINY, text(&output), &["--epochs", "1"])));
    assert!(said.contains("collapse: 90 % of the dev scores lie within"), "{said}");
}

#[test]
fn models_trained_from_one_start_share_its_token_table_in_few_bits() {
    let work = folder();
    let at = |name: &str| work.path().join(name);
    let compress = |from: &str, to: &str| {
        let (from, to) = (at(from), at(to));
        let input = if from.exists() { from } else { TINY.into() };
        let bits = ["--bits", "6", "--token-bits", "4", "--separate-tokens"];
        mine_ok(&[&["models", "compress", "--input", text(&input), "--output", text(&to)], &bits[..]].concat());
        std::fs::read(to.join("model-tokens.safetensors")).unwrap()
    };
    let tokens = compress("original", "start");
    for kind in ["bi", "cross"] {
        let output = at(kind);
        mine_ok(&arguments(kind, text(&at("start")), text(&output), &["--freeze-tokens", "--max-steps", "3"]));
        assert!(compress(kind, &format!("{kind}-small")) == tokens, "{kind}: the token table changed");
    }
}
