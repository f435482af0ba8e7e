//! A cross-encoder and a bi-encoder that were measured together decide together.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::AsArray;
use dupmine::calibration::Calibrator;
use dupmine::calibration::decision::{Ceiling, Decision};
use dupmine::models::checkpoint::calibration::{self, Calibration, ScoreFusion};
use dupmine::models::checkpoint::folder::ModelFolder;
use serde_json::Value;

use crate::support::*;

const BI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");
const QUESTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/questions.parquet");
const PAIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pairs.csv");

#[test]
fn calibrating_both_finds_how_they_decide() {
    let work = folder();
    // duplicates, and strangers; few pairs hang together, so that folds can be made
    let pairs = work.path().join("pairs.csv");
    let rows: Vec<[String; 3]> = csv::Reader::from_path(PAIRS).unwrap().deserialize().map(Result::unwrap).collect();
    let duplicates: Vec<_> = rows.iter().filter(|row| row[2] == "1").collect();
    let mut writer = csv::Writer::from_path(&pairs).unwrap();
    writer.write_record(["question1", "question2", "is_duplicate"]).unwrap();
    for four in duplicates.chunks_exact(4) {
        let [[a, b, _], [c, d, _], [e, f, _], [g, h, _]] = [four[0], four[1], four[2], four[3]];
        for (question1, question2, label) in [(a, b, "1"), (c, d, "1"), (e, h, "0"), (g, f, "0")] {
            writer.write_record([question1, question2, label]).unwrap();
        }
    }
    writer.flush().unwrap();
    let output = work.path().join("dupmine.json");
    let models = ["--bi-encoder", "built-in", "--cross-encoder", "built-in"];
    let answer =
        json(&[&["calibrate", "--pairs", text(&pairs), "--output", text(&output), "--json"], &models[..]].concat());
    let decision: Decision = serde_json::from_value(answer["calibration"]["together"]["decision"].clone()).unwrap();
    assert!(decision.cosine_weight > 0.0 && decision.check().is_ok(), "{answer}");
    assert!(answer["together"]["at_threshold"]["f1"].as_f64().unwrap() > 0.8, "{answer}");
    let error = mine_fails(&[&["calibrate", "--pairs", PAIRS, "--keep", "0.9"], &models[..]].concat(), 2);
    assert!(error.contains("--keep"), "{error}");
}

#[test]
fn runs_and_explanations_decide_by_both() {
    let work = folder();
    let (cross, out) = (work.path().join("cross"), work.path().join("mined"));
    copy_model(CROSS, &cross);
    let calibrator = Calibrator::Platt { slope: 1.5, intercept: -14.0 };
    let decision =
        Decision { cosine_weight: 10.0, calibrator, threshold: 0.6, rerank_floor: None, rerank_ceiling: None };
    let bi_encoder = ModelFolder::open(Path::new(BI)).unwrap().fingerprint().unwrap();
    let together = Some(ScoreFusion { bi_encoder, decision: decision.clone(), gain: None, profile: None });
    let measured = Calibration { probability_threshold: Some(0.5), together, ..Calibration::default() };
    calibration::write(&cross.join(calibration::FILE), &measured).unwrap();

    let models = ["--bi-encoder", BI, "--cross-encoder", text(&cross)];
    let run = ["--input", QUESTIONS, "--output", text(&out), "--min-cosine", "0.9"];
    mine_ok(&[&run[..], &models].concat());
    let manifest = || -> Value { serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap() };
    assert_eq!(manifest()["models"]["decision"]["cosine-weight"], 10.0);
    assert_eq!(manifest()["options"]["threshold"], 0.6);
    let pairs = read(&out.join("pairs.parquet"));
    let column = |name: &str| f32s(&pairs, name);
    let (ab, ba, cosines, probabilities) =
        (column("score_ab"), column("score_ba"), column("cosine"), column("probability"));
    let scored: Vec<usize> = (0..ab.len()).filter(|&row| ab[row].is_some()).collect();
    assert!(scored.len() > 10);
    for &row in &scored {
        let ab = ab[row].unwrap();
        let logit = ba[row].map_or(ab, |ba| (ab + ba) / 2.0);
        let expected = decision.probability(f64::from(logit), f64::from(cosines[row].unwrap()));
        assert!((expected - f64::from(probabilities[row].unwrap())).abs() < 1e-6);
    }

    let questions = read(Path::new(QUESTIONS));
    let texts: HashMap<i64, String> = i64s(&questions, "id").into_iter().zip(strings(&questions, "text")).collect();
    let text_of = |column: &str| texts[&i64s(&pairs, column)[scored[0]]].clone();
    let (a, b) = (text_of("id_a"), text_of("id_b"));
    let explained = json(&[&["explain", "--a", &a, "--b", &b, "--min-cosine", "0.9", "--json"], &models[..]].concat());
    let p = explained["probability"].as_f64().unwrap();
    assert!((p - f64::from(probabilities[scored[0]].unwrap())).abs() < 1e-5, "{explained}");

    // the f32 of this threshold has a long decimal: the second run must find its own options again
    let again = [&run[..], &models, &["--threshold", "0.97"]].concat();
    mine_ok(&[&again[..], &["--force"]].concat());
    mine_ok(&again);

    // another bi-encoder's cosines mean something else
    let other = ["--bi-encoder", "built-in", "--cross-encoder", text(&cross), "--force"];
    let stderr = mine_ok(&[&run[..], &other].concat());
    assert!(stderr.contains("warning: ") && stderr.contains("measured beside another bi-encoder"), "{stderr}");
    assert_eq!(manifest()["models"]["decision"]["cosine-weight"], 0.0);
}

#[test]
fn what_lies_below_the_rerank_floor_is_decided_unasked() {
    let work = folder();
    let cross = work.path().join("cross");
    copy_model(CROSS, &cross);
    // called duplicates from a cosine of about 0.97 on: a floor that loses many would move
    let calibrator = Calibrator::Platt { slope: 1.5, intercept: -1455.0 };
    // a number whose f32 is another f64: the same command must find its own options again
    let decision =
        Decision { cosine_weight: 1000.0, calibrator, threshold: 0.6, rerank_floor: Some(0.96), rerank_ceiling: None };
    let bi_encoder = ModelFolder::open(Path::new(BI)).unwrap().fingerprint().unwrap();
    let together = Some(ScoreFusion { bi_encoder, decision: decision.clone(), gain: None, profile: None });
    let measured = Calibration { probability_threshold: Some(0.5), together, ..Calibration::default() };
    calibration::write(&cross.join(calibration::FILE), &measured).unwrap();

    let models = ["--bi-encoder", BI, "--cross-encoder", text(&cross)];
    let run = |name: &str, more: &[&str]| {
        let out = work.path().join(name);
        let base = ["--input", QUESTIONS, "--output", text(&out), "--min-cosine", "0.9", "--top-k", "10"];
        let said = mine_ok(&[&base[..], &models, more].concat());
        let pairs = read(&out.join("pairs.parquet"));
        let semantic: Vec<bool> = strings(&pairs, "kind").iter().map(|kind| kind == "semantic").collect();
        let columns = ["cosine", "score_ab", "score_ba", "probability"].map(|name| f32s(&pairs, name));
        let rows = (0..semantic.len()).filter(|&row| semantic[row]);
        let verdicts: Vec<Option<bool>> = pairs.column_by_name("is_duplicate").unwrap().as_boolean().iter().collect();
        let verdicts: Vec<Option<bool>> = rows.clone().map(|row| verdicts[row]).collect();
        let rows: Vec<[Option<f32>; 4]> = rows.map(|row| columns.each_ref().map(|column| column[row])).collect();
        (rows, verdicts, said)
    };
    let (rows, verdicts, said) = run("floor", &[]);
    let below = rows.iter().filter(|[cosine, ..]| cosine.unwrap() < 0.96).count();
    assert!(below > 0 && below < rows.len(), "{below} of {}", rows.len());
    let said = said.replace(',', "");
    assert!(said.contains(&format!("{below} below cosine 0.96 not reranked")), "{said}");
    // the order whose first text has the smaller key is scored first
    let is_scored = |[_, ab, ba, _]: &[Option<f32>; 4]| ab.or(*ba).is_some();
    for (row, is_duplicate) in rows.iter().zip(&verdicts) {
        let [cosine, .., probability] = row;
        let is_below = cosine.unwrap() < 0.96;
        assert_eq!((is_scored(row), probability.is_some()), (!is_below, !is_below));
        assert!(is_duplicate.is_some() && !(is_below && *is_duplicate == Some(true)));
    }
    let (again, _, _) = run("floor", &[]);
    assert_eq!(rows, again);
    // asked about all: by hand, or because a lower threshold was not measured; what was scored before stays as it was
    for more in [["--rerank-floor", "-1"], ["--threshold", "0.3"]] {
        let (all, _, said) = run(more[0], &more);
        assert_eq!(said.contains("every pair is reranked"), more[0] == "--threshold", "{said}");
        assert!(all.iter().all(is_scored));
        let kept: Vec<_> = rows.iter().zip(&all).filter(|(row, _)| is_scored(row)).collect();
        let same = |one: Option<f32>, other: Option<f32>| one.is_none() || other.is_none() || one == other;
        assert!(!kept.is_empty());
        assert!(kept.into_iter().all(|(one, other)| same(one[1], other[1]) && same(one[2], other[2])));
    }
    // a budget is of the pairs that are asked about
    let (.., said) = run("budget", &["--rerank-budget", "3"]);
    assert!(
        said.contains(&format!("before {} of {} candidates", rows.len() - below - 3, rows.len() - below)),
        "{said}"
    );

    // any cross-encoder can have a floor by hand, and one below the candidates' does nothing
    let out = work.path().join("other");
    let base = ["--input", QUESTIONS, "--output", text(&out), "--min-cosine", "0.9", "--top-k", "10", "--force"];
    let other = |floor: &str| {
        let models = ["--bi-encoder", BI, "--cross-encoder", CROSS, "--threshold", "0.5", "--rerank-floor", floor];
        mine_ok(&[&base[..], &models].concat()).replace(',', "")
    };
    assert!(other("0.96").contains(&format!("{below} below cosine 0.96 not reranked")));
    assert!(!other("0.9").contains("not reranked"));
    let questions = ["--a", "How do I learn Rust?", "--b", "Why is the sky blue at noon?", "--min-cosine", "-1"];
    let explained =
        |floor: &str| json(&[&["explain", "--json", "--rerank-floor", floor], &questions[..], &models].concat());
    let (below, asked) = (explained("1"), explained("-1"));
    assert!(below["why"].to_string().contains("below the rerank floor 1") && below["probability"].is_null(), "{below}");
    assert!(!asked["why"].to_string().contains("rerank floor") && asked["probability"].is_number(), "{asked}");
}

#[test]
fn what_lies_above_the_rerank_ceiling_is_decided_by_the_cosine() {
    let work = folder();
    let cross = work.path().join("cross");
    copy_model(CROSS, &cross);
    let calibrator = Calibrator::Platt { slope: 1.5, intercept: -14.0 };
    let ceiling = Ceiling { cosine: 0.97, log_odds: 0.5 };
    let decision = Decision {
        cosine_weight: 10.0,
        calibrator,
        threshold: 0.6,
        rerank_floor: Some(0.92),
        rerank_ceiling: Some(ceiling),
    };
    let bi_encoder = ModelFolder::open(Path::new(BI)).unwrap().fingerprint().unwrap();
    let together = Some(ScoreFusion { bi_encoder, decision: decision.clone(), gain: None, profile: None });
    let measured = Calibration { probability_threshold: Some(0.5), together, ..Calibration::default() };
    calibration::write(&cross.join(calibration::FILE), &measured).unwrap();

    let models = ["--bi-encoder", BI, "--cross-encoder", text(&cross)];
    let out = work.path().join("out");
    let run = |more: &[&str]| {
        let base = ["--input", QUESTIONS, "--output", text(&out), "--min-cosine", "0.9", "--top-k", "10"];
        let base = [&base[..], &["--rerank-floor", "0.92"]].concat();
        let said = mine_ok(&[&base[..], &models, more].concat()).replace(',', "");
        let pairs = read(&out.join("pairs.parquet"));
        let columns = ["cosine", "score_ab", "score_ba", "probability"].map(|name| f32s(&pairs, name));
        let kinds = strings(&pairs, "kind");
        let verdicts: Vec<Option<bool>> = pairs.column_by_name("is_duplicate").unwrap().as_boolean().iter().collect();
        let rows = (0..kinds.len()).filter(|&row| kinds[row] == "semantic");
        let rows: Vec<_> = rows.map(|row| (columns.each_ref().map(|column| column[row]), verdicts[row])).collect();
        (rows, said)
    };
    let is_scored = |[_, ab, ba, _]: &[Option<f32>; 4]| ab.or(*ba).is_some();
    let (rows, said) = run(&[]);
    let above = rows.iter().filter(|(row, _)| row[0].unwrap() > 0.97).count();
    assert!(above > 0 && said.contains(&format!("{above} above cosine 0.97 not reranked")), "{said}");
    for (row, verdict) in &rows {
        let cosine = row[0].unwrap();
        assert_eq!(is_scored(row), (0.92..=0.97).contains(&cosine), "{row:?}");
        if cosine > 0.97 {
            let expected = decision.probability(0.5, f64::from(cosine)) as f32;
            assert_eq!((row[3], *verdict), (Some(expected), Some(expected >= 0.6)), "{row:?}");
        }
    }
    // a higher threshold keeps it, as long as the cosine alone reaches that threshold
    let lowest = decision.probability(0.5, 0.97);
    assert!((0.7..0.9).contains(&lowest), "{lowest}");
    let (higher, _) = run(&["--threshold", "0.7"]);
    assert!(higher.iter().all(|(row, called)| row[0].unwrap() <= 0.97 || (!is_scored(row) && *called == Some(true))));
    let (all, said) = run(&["--threshold", "0.9"]);
    assert!(said.contains("pairs above the rerank ceiling 0.97 are reranked"), "{said}");
    assert!(all.iter().all(|(row, _)| is_scored(row) == (row[0].unwrap() >= 0.92)));
    // by hand all are asked about, or fewer
    assert!(run(&["--rerank-ceiling", "1"]).0.iter().all(|(row, _)| is_scored(row) == (row[0].unwrap() >= 0.92)));
    assert!(
        run(&["--rerank-ceiling", "0.95"])
            .0
            .iter()
            .all(|(row, _)| is_scored(row) == (0.92..=0.95).contains(&row[0].unwrap()))
    );
    let base = ["--input", QUESTIONS, "--output", text(&out), "--bi-encoder", BI, "--cross-encoder", CROSS];
    let error = mine_fails(&[&base[..], &["--threshold", "0.5", "--rerank-ceiling", "0.95"]].concat(), 2);
    assert!(error.contains("has none to move") && error.contains("--rerank-ceiling 1 reranks every pair"), "{error}");

    // the same tokens
    let same = ["--a", "How do I learn Rust?", "--b", "how do i learn rust?", "--min-cosine", "-1"];
    let explained = json(&[&["explain", "--json"], &same[..], &models].concat());
    let cosine = explained["cosine"].as_f64().unwrap() as f32;
    assert!(cosine > 0.97 && explained["why"].to_string().contains("above the rerank ceiling 0.97"), "{explained}");
    let probability = explained["probability"].as_f64().map(|p| p as f32);
    assert_eq!(probability, decision.unasked_probability(cosine).map(|p| p as f32), "{explained}");
}
