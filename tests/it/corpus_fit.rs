//! A run says whether the calibration of its models fits its corpus.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use dupmine::calibration::Calibrator;
use dupmine::calibration::decision::Decision;
use dupmine::calibration::profile::Profile;
use dupmine::models::checkpoint::calibration::{self, Calibration, ScoreFusion};
use dupmine::models::checkpoint::folder::ModelFolder;
use serde_json::Value;

use crate::support::*;

const BI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");
const WARNING: &str = "the calibration may not fit";

/// Writes a cross-encoder that was calibrated for a corpus with this profile.
fn calibrated(folder: &Path, profile: Option<Profile>) {
    let calibrator = Calibrator::Platt { slope: 1.0, intercept: 0.0 };
    let decision =
        Decision { cosine_weight: 1.0, calibrator, threshold: 0.5, rerank_floor: None, rerank_ceiling: None };
    let bi_encoder = ModelFolder::open(Path::new(BI)).unwrap().fingerprint().unwrap();
    let together = Some(ScoreFusion { bi_encoder, decision, gain: None, profile });
    let measured = Calibration { probability_threshold: Some(0.5), together, ..Calibration::default() };
    calibration::write(&folder.join(calibration::FILE), &measured).unwrap();
}

fn fit(output: &Path) -> Value {
    let manifest = std::fs::read(output.join("manifest.json")).unwrap();
    serde_json::from_slice::<Value>(&manifest).unwrap()["fit"].clone()
}

#[test]
fn a_corpus_with_other_scores_for_the_same_cosines_is_told() {
    let work = folder();
    let of = |name: &str| work.path().join(name);
    copy_model(CROSS, &of("cross"));
    let input = repo("fixtures/questions.parquet");
    let cross = of("cross");
    let run = |name: &str| {
        let models = ["--bi-encoder", BI, "--cross-encoder", text(&cross), "--min-cosine", "0.9"];
        mine_ok(&[&["--input", text(&input), "--output", text(&of(name))], &models[..]].concat())
    };
    calibrated(&cross, None);
    let said = run("plain");
    assert!(!said.contains(WARNING) && fit(&of("plain")).is_null(), "{said}");

    let pairs = read(&of("plain").join("pairs.parquet"));
    let (cosines, ab, ba) = (f32s(&pairs, "cosine"), f32s(&pairs, "score_ab"), f32s(&pairs, "score_ba"));
    let logit = |row: usize| match (ab[row], ba[row]) {
        (Some(ab), Some(ba)) => Some((ab + ba) / 2.0),
        (one, other) => one.or(other),
    };
    let scored = || (0..cosines.len()).filter_map(|row| Some((cosines[row]?, logit(row)?)));
    calibrated(&cross, Some(Profile::of(scored())));
    let said = run("same");
    assert!(!said.contains(WARNING), "{said}");
    assert!(fit(&of("same"))["apart"].as_f64().unwrap() < 1e-3, "{}", fit(&of("same")));

    calibrated(&cross, Some(Profile::of(scored().map(|(cosine, logit)| (cosine, logit - 2.0)))));
    let said = run("other");
    assert!(said.contains(WARNING) && said.contains("are 2.0 apart"), "{said}");
    assert!((metrics(&of("other"))["rerank.log_odds_apart"] - 2.0).abs() < 1e-2);
    mine_ok(&["report", text(&of("other"))]);
    let page = std::fs::read_to_string(of("other").join("report.html")).unwrap();
    assert!(page.contains("Fit of the calibration") && page.contains("2.0 apart on average, so"));
    // what was said of the corpus changes no decision
    let decided = |name: &str| read(&of(name).join("pairs.parquet"));
    assert!(decided("plain") == decided("other"));
    mine_ok(&["verify", text(&of("other"))]);
}

#[test]
fn calibrate_keeps_what_the_models_said_of_a_corpus() {
    let work = folder();
    let of = |name: &str| work.path().join(name);
    let (input, mined) = (repo("fixtures/questions.parquet"), of("mined"));
    mine_ok(&["--input", text(&input), "--output", text(&mined), "--min-cosine", "0.6", "--rerank-floor", "-1"]);
    let file = of("measured.json");
    let both =
        ["--bi-encoder", "built-in", "--cross-encoder", "built-in", "--output", text(&file), "--threshold", "0.3"];
    let pairs = of("pairs.csv");
    let subjects = ["guitar", "piano", "chess", "french", "python", "poker", "yoga", "cricket", "surfing", "algebra"];
    let mut rows = String::from("question1,question2,is_duplicate\n");
    for (subject, verb) in subjects.iter().flat_map(|subject| ["learn", "teach", "enjoy"].map(|verb| (subject, verb))) {
        rows += &format!("How do I {verb} {subject}?,What is the best way to {verb} {subject}?,1\n");
        rows += &format!("Where can I {verb} {subject} in May?,Why do people dislike {subject} so much?,0\n");
    }
    std::fs::write(&pairs, rows).unwrap();
    let calibrate = ["calibrate", "--pairs", text(&pairs)];
    mine_ok(&[&calibrate[..], &both, &["--corpus", text(&mined)]].concat());
    let measured: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let parts = measured["together"]["profile"].as_array().unwrap();
    let pairs: u64 = parts.iter().map(|part| part["pairs"].as_u64().unwrap()).sum();
    assert!(pairs > 300, "{measured}");
    let log_odds = |at: usize| parts[at]["log_odds"].as_f64().unwrap();
    assert!(log_odds(0) < log_odds(parts.len() - 2), "{parts:?}");

    let tiny = of("tiny");
    mine_ok(&["--input", text(&input), "--output", text(&tiny), "--bi-encoder", BI, "--cross-encoder", "none"]);
    let error = mine_fails(&[&calibrate[..], &both, &["--corpus", text(&tiny)]].concat(), 1);
    assert!(error.contains("it is a run of other models") && error.contains("hint: mine --bi-encoder"), "{error}");
}

/// The built-in models were calibrated for questions: captions and headlines are another matter.
#[test]
fn the_built_in_calibration_fits_questions_and_no_captions() {
    let (Some(dev), Some(captions)) = (shared("data/qqp/questions-dev.parquet"), shared("data/other/sick.parquet"))
    else {
        return;
    };
    let work = folder();
    let column = |batch: &RecordBatch, name: &str| {
        let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        column.as_string::<i32>().iter().flatten().map(String::from).collect::<Vec<_>>()
    };
    let sentences = read(&captions);
    let texts: BTreeSet<String> = column(&sentences, "question1").into_iter().take(1500).collect();
    let input = work.path().join("captions.parquet");
    write_questions(&input, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let said = mine_ok(&["--input", text(&input), "--output", text(&work.path().join("captions"))]);
    assert!(said.contains(WARNING), "{said}");
    let questions = read(&dev);
    let input = work.path().join("questions.parquet");
    let some: Vec<String> = column(&questions, "text").into_iter().take(3000).collect();
    write_questions(&input, &some.iter().map(String::as_str).collect::<Vec<_>>());
    let output = work.path().join("questions");
    let said = mine_ok(&["--input", text(&input), "--output", text(&output)]);
    assert!(!said.contains(WARNING), "{said}");
    assert!(fit(&output)["apart"].as_f64().unwrap() < 0.5, "{}", fit(&output));
}
