//! `mine calibrate` through the binary: what it fits, what runs make of it, what it refuses.

use std::path::{Path, PathBuf};

use dupmine::device::plain_cpu;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::cross_encoder::CrossEncoder;
use serde_json::Value;

use crate::evaluate::{BI, CROSS, PAIRS, QUESTIONS, number};
use crate::support::*;

#[test]
fn a_calibration_is_used_by_runs_and_refused_for_another_model() {
    let folder = folder();
    let (model, out) = (folder.path().join("cross"), folder.path().join("mined"));
    copy_model(CROSS, &model);
    let calibrate = ["calibrate", "--pairs", PAIRS, "--cross-encoder", text(&model)];
    let answer = json(&[&calibrate[..], &["--json"]].concat());
    let written: Value = serde_json::from_slice(&std::fs::read(model.join("dupmine.json")).unwrap()).unwrap();
    assert_eq!(written, answer["calibration"]);
    assert!(number(&answer["brier"]["after"]) < number(&answer["brier"]["before"]), "{answer}");
    let run = ["--cross-encoder", text(&model), "--min-cosine", "0.9"];
    let arguments: Vec<&str> =
        ["--input", QUESTIONS, "--output", text(&out), "--bi-encoder", BI].into_iter().chain(run).collect();
    let stderr = mine_ok(&arguments);
    assert!(!stderr.contains("has no measured threshold"), "{stderr}");
    let manifest: Value = serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    let threshold = number(&written["probability_threshold"]);
    assert!((number(&manifest["options"]["threshold"]) - threshold).abs() < 1e-6);
    // probabilities are the calibrated ones: not the sigmoid of the mean logit
    let pairs = read(&out.join("pairs.parquet"));
    let (logits, probabilities) = (f32s(&pairs, "score_ab"), f32s(&pairs, "probability"));
    let moved = logits
        .iter()
        .zip(&probabilities)
        .filter_map(|(logit, p)| Some((1.0 / (1.0 + (-(*logit)?).exp()) - (*p)?).abs()));
    assert!(moved.fold(0.0, f32::max) > 0.01, "the calibrator moves probabilities");

    let config = model.join("config.json");
    let changed = std::fs::read_to_string(&config).unwrap().replace('{', "{ ");
    std::fs::write(&config, changed).unwrap();
    let stderr = mine_fails(&arguments, 1);
    assert!(stderr.contains("measured on model") && stderr.contains("hint: measure this model with mine calibrate"));
}

/// Ten duplicates and ten others that any model tells apart.
fn easy_pairs(folder: &Path) -> PathBuf {
    let subjects = ["guitar", "piano", "chess", "french", "python", "poker", "yoga", "cricket", "surfing", "algebra"];
    let mut rows = String::from("question1,question2,is_duplicate\n");
    for (subject, other) in subjects.iter().zip(subjects.iter().cycle().skip(1)) {
        rows += &format!("How do I learn {subject}?,What is the best way to learn {subject}?,1\n");
        rows += &format!("How do I learn {subject}?,Why do people dislike {other}?,0\n");
    }
    let path = folder.join("easy.csv");
    std::fs::write(&path, rows).unwrap();
    path
}

#[test]
fn what_the_labels_do_not_support_is_refused() {
    let folder = folder();
    let easy = easy_pairs(folder.path());
    let target = ["--bi-encoder", "built-in", "--target-precision", "0.99", "--output", "/dev/null/x"];
    let stderr = mine_fails(&[&["calibrate", "--pairs", text(&easy)], &target[..]].concat(), 1);
    assert!(stderr.contains("too few labelled pairs"), "{stderr}");
    let one_kind = folder.path().join("one.csv");
    std::fs::write(&one_kind, "question1,question2,is_duplicate\na,b,1\nc,d,1\n").unwrap();
    let output = folder.path().join("out.json");
    let stderr =
        mine_fails(&["calibrate", "--pairs", text(&one_kind), "--bi-encoder", BI, "--output", text(&output)], 1);
    assert!(stderr.contains("2 of 2 pairs are duplicates") && !output.exists(), "{stderr}");
}

#[test]
fn a_built_in_model_is_exported_before_it_is_calibrated_as_its_hint_says() {
    let work = folder();
    let copy = work.path().join("ce");
    for (flag, name) in [("--bi-encoder", "built-in"), ("--cross-encoder", "built-in-cross-encoder")] {
        let error = mine_fails(&["calibrate", "--pairs", PAIRS, flag, "built-in"], 1);
        assert!(error.contains(&format!("hint: mine models export --input {name} --output DIR")), "{error}");
    }
    mine_ok(&["models", "export", "--input", "built-in-cross-encoder", "--output", text(&copy)]);
    let easy = easy_pairs(work.path());
    let turned = work.path().join("turned.csv");
    let flip = |line: &str| match line.strip_suffix(",1") {
        Some(pair) => format!("{pair},0\n"),
        None => format!("{}\n", line.strip_suffix(",0").map_or(line.to_string(), |pair| format!("{pair},1"))),
    };
    std::fs::write(&turned, std::fs::read_to_string(&easy).unwrap().lines().map(flip).collect::<String>()).unwrap();
    let calibrate = ["calibrate", "--bi-encoder", "built-in", "--cross-encoder", text(&copy), "--pairs"];
    let before = std::fs::read(copy.join("dupmine.json")).unwrap();
    let error = mine_fails(&[&calibrate[..], &[text(&turned)]].concat(), 1);
    assert!(
        error.contains("do not separate duplicates from other pairs") && error.contains("pairs are few"),
        "{error}"
    );
    assert!(std::fs::read(copy.join("dupmine.json")).unwrap() == before);
    mine_ok(&[&calibrate[..], &[text(&easy), "--quiet"]].concat());
    assert!(std::fs::read(copy.join("dupmine.json")).unwrap() != before);
}

/// Pairs that share no question, labelled as the tiny cross-encoder decides, the less surely the nearer to its border.
fn own_labels(folder: &Path) -> PathBuf {
    let model = CrossEncoder::load(&ModelFolder::open(Path::new(CROSS)).unwrap(), &plain_cpu()).unwrap();
    let verbs = ["learn", "cook", "buy", "find", "make"];
    let subjects = ["guitar", "rice", "paris", "money", "chess", "coffee", "garden", "cat", "physics", "tax"];
    let path = folder.join("labels.csv");
    let mut writer = csv::Writer::from_path(&path).unwrap();
    writer.write_record(["question1", "question2", "is_duplicate"]).unwrap();
    for n in 0..1000_u16 {
        let at = usize::from(n);
        let a = format!("how do i {} {} in {n} days", verbs[at % 5], subjects[at % 10]);
        let b = format!("what is the best way to {} {} {n}", verbs[at / 10 % 5], subjects[at / 7 % 10]);
        let tokenized = model.tokenizer.tokenize_pairs(&[(a.as_str(), b.as_str()), (b.as_str(), a.as_str())]).unwrap();
        let sum: f32 = model.logits(&tokenized.iter().collect::<Vec<_>>()).unwrap().iter().sum();
        let label = sum + f32::from(n * 37 % 101) / 50.5 - 1.0 >= 0.0;
        writer.write_record([a.as_str(), b.as_str(), if label { "1" } else { "0" }]).unwrap();
    }
    writer.flush().unwrap();
    path
}

#[test]
fn a_target_moves_the_threshold_and_is_noted() {
    let folder = folder();
    let labels = own_labels(folder.path());
    let fit = |more: &[&str]| {
        let model = folder.path().join(format!("model{}", more.iter().map(|word| word.len()).sum::<usize>()));
        copy_model(CROSS, &model);
        let arguments = ["calibrate", "--pairs", text(&labels), "--cross-encoder", text(&model), "--json"];
        json(&[&arguments[..], more].concat())
    };
    let best = fit(&[]);
    let threshold = |answer: &Value| number(&answer["calibration"]["probability_threshold"]);
    for (flag, figure, goal) in [
        ("--target-precision", "precision", "the lowest with precision 0.94"),
        ("--target-recall", "recall", "the highest with recall 0.94"),
    ] {
        let answer = fit(&[flag, "0.94"]);
        assert!(number(&answer["at_threshold"][figure]) >= 0.94, "{answer}");
        assert!(answer["calibration"]["measured_on"].as_str().unwrap().contains(goal), "{answer}");
        assert_ne!(threshold(&answer), threshold(&best), "{flag}");
    }
    // with two models the target is that of both, and noted too
    let together = fit(&["--bi-encoder", BI, "--target-precision", "0.94"]);
    let noted = together["calibration"]["measured_on"].as_str().unwrap();
    assert!(noted.contains("the lowest with precision 0.94"), "{together}");
}
