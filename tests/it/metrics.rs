//! Metrics and calibration against what scikit-learn and sentence-transformers' evaluators answered.

use dupmine::calibration::Calibrator;
use dupmine::calibration::{isotonic, platt, temperature};
use dupmine::metrics::calibration::{brier, expected_calibration_error};
use dupmine::metrics::confusion::{Confusion, grid_best_f1};
use dupmine::metrics::gold::Gold;
use dupmine::metrics::ranking::Ranking;
use dupmine::metrics::retrieval::{self, RankedHits};
use serde_json::Value;

use crate::support::repo;

fn reference() -> Value {
    serde_json::from_slice(&std::fs::read(repo("fixtures/reference/evaluation.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn labels(value: &Value) -> Vec<bool> {
    value.as_array().unwrap().iter().map(|label| *label == 1).collect()
}

fn assert_near(ours: f64, theirs: &Value, tolerance: f64, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= tolerance, "{what}: {ours}, Python has {theirs}");
}

#[test]
fn pair_figures_equal_python() {
    let reference = reference();
    let cases = reference["pairs"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let (name, labels) = (case["name"].as_str().unwrap(), labels(&case["labels"]));
        let sign = if case["distance"] == true { -1.0 } else { 1.0 };
        let scores: Vec<f64> = numbers(&case["scores"]).into_iter().map(|score| sign * score).collect();
        let figures = Ranking::new(&labels, &scores).figures();
        let (best, accuracy) = (figures.best_f1.unwrap(), figures.best_accuracy.unwrap());
        for (key, ours) in [
            ("f1", best.f1),
            ("f1_threshold", sign * best.threshold),
            ("precision", best.precision),
            ("recall", best.recall),
            ("mcc", best.mcc),
            ("accuracy", accuracy.accuracy),
            ("accuracy_threshold", sign * accuracy.threshold),
            ("average_precision", figures.average_precision.unwrap()),
            ("roc_auc", figures.roc_auc.unwrap()),
        ] {
            assert_near(ours, &case[key], 1e-9, &format!("{name}: {key}"));
        }
        let confusion = Confusion::at(&labels, &scores, sign * case["threshold"].as_f64().unwrap());
        let counts =
            [confusion.true_positives, confusion.false_positives, confusion.false_negatives, confusion.true_negatives];
        assert_eq!(serde_json::json!(counts), case["at_threshold"]["confusion"], "{name}");
        for (key, ours) in [("f1", confusion.f1()), ("accuracy", confusion.accuracy()), ("mcc", confusion.mcc())] {
            assert_near(ours, &case["at_threshold"][key], 1e-9, &format!("{name}: {key} at a threshold"));
        }
        if sign > 0.0 {
            assert_near(
                grid_best_f1(&labels, &scores, 0.01).unwrap().0,
                &case["grid_f1"],
                1e-9,
                &format!("{name}: grid"),
            );
        }
    }
}

#[test]
fn mined_pairs_are_scored_like_the_paraphrase_mining_evaluator() {
    for case in reference()["mining"].as_array().unwrap() {
        let pair = |row: &Value, at: usize| (row[at].as_u64().unwrap() as u32, row[at + 1].as_u64().unwrap() as u32);
        let labelled: Vec<(u32, u32, bool)> =
            case["gold"].as_array().unwrap().iter().map(|row| pair(row, 0)).map(|(a, b)| (a, b, true)).collect();
        let gold = Gold::new(case["questions"].as_u64().unwrap() as usize, &labelled, case["closure"] == true).unwrap();
        assert_eq!(gold.duplicates.len() as u64, case["duplicates"].as_u64().unwrap());
        let mined = case["pairs"].as_array().unwrap();
        let found: Vec<bool> = mined.iter().map(|row| pair(row, 1)).map(|(a, b)| gold.has(a, b)).collect();
        let scores: Vec<f64> = mined.iter().map(|row| row[0].as_f64().unwrap()).collect();
        let figures = Ranking::new(&found, &scores).figures_of_known(gold.duplicates.len() as u64);
        let best = figures.best_f1.unwrap();
        for (key, ours) in [
            ("average_precision", figures.average_precision.unwrap()),
            ("f1", best.f1),
            ("precision", best.precision),
            ("recall", best.recall),
            ("threshold", best.threshold),
        ] {
            assert_near(ours, &case[key], 1e-9, &format!("closure {}: {key}", case["closure"]));
        }
    }
}

#[test]
fn retrieval_equals_the_information_retrieval_evaluator() {
    let reference = reference();
    let queries: Vec<RankedHits> = reference["retrieval"]["queries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|query| RankedHits {
            relevant: query["relevant"].as_array().unwrap().iter().map(|hit| *hit == true).collect(),
            known: query["known"].as_u64().unwrap() as usize,
        })
        .collect();
    for case in reference["retrieval"]["at"].as_array().unwrap() {
        let k = case["k"].as_u64().unwrap() as usize;
        let figures: Vec<[f64; 6]> = queries.iter().map(|query| retrieval::of_query(k, query)).collect();
        let ours = retrieval::mean(&figures, |_| 1.0).unwrap();
        for (name, value) in retrieval::NAMES.into_iter().zip(ours) {
            assert_near(value, &case[name], 1e-9, &format!("{name}@{k}"));
        }
    }
}

#[test]
fn calibration_equals_scikit_learn() {
    let case = &reference()["calibration"];
    let (labels, scores) = (labels(&case["labels"]), numbers(&case["scores"]));
    let Some(Calibrator::Platt { slope, intercept }) = platt::fit(&labels, &scores) else { panic!("no Platt fit") };
    assert_near(slope, &case["slope"], 1e-6, "slope");
    assert_near(intercept, &case["intercept"], 1e-6, "intercept");
    let Some(Calibrator::Temperature { temperature }) = temperature::fit(&labels, &scores) else { panic!("no T") };
    assert_near(temperature, &case["temperature"], 1e-6, "temperature");
    let map = isotonic::fit(&labels, &scores).unwrap();
    for probe in case["isotonic_at"].as_array().unwrap() {
        assert_near(map.probability(probe[0].as_f64().unwrap()), &probe[1], 1e-9, "isotonic");
    }
    let Calibrator::Isotonic { scores: points, probabilities } = map else { panic!("not isotonic") };
    assert_eq!(points, numbers(&case["isotonic_points"][0]));
    for (ours, theirs) in probabilities.iter().zip(case["isotonic_points"][1].as_array().unwrap()) {
        assert_near(*ours, theirs, 1e-9, "isotonic point");
    }
    let sigmoid: Vec<f64> = scores.iter().map(|&score| Calibrator::default().probability(score)).collect();
    assert_near(brier(&labels, &sigmoid).unwrap(), &case["brier"], 1e-9, "Brier");
    let error = expected_calibration_error(&labels, &sigmoid).unwrap();
    assert_near(error, &case["expected_calibration_error"], 1e-9, "ECE");
}
