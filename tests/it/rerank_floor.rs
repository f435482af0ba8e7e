//! The rerank floor is checked on the corpus at hand.

use std::path::Path;

use dupmine::calibration::Calibrator;
use dupmine::calibration::decision::Decision;
use dupmine::models::checkpoint::calibration::{self, Calibration, ScoreFusion};
use dupmine::models::checkpoint::folder::ModelFolder;
use serde_json::Value;

use crate::support::*;

const BI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");

/// Writes a cross-encoder that calls duplicates what has at least `called` as its cosine, and reranks from `floor` on.
fn calibrated(folder: &Path, called: f32, floor: f32) {
    // the logits of the tiny model hardly differ: the cosine decides
    let weight = 1e6;
    let calibrator = Calibrator::Platt { slope: 1.0, intercept: -weight * f64::from(called) };
    let decision =
        Decision { cosine_weight: weight, calibrator, threshold: 0.5, rerank_floor: Some(floor), rerank_ceiling: None };
    let bi_encoder = ModelFolder::open(Path::new(BI)).unwrap().fingerprint().unwrap();
    let together = Some(ScoreFusion { bi_encoder, decision, gain: None, profile: None });
    let measured = Calibration { probability_threshold: Some(0.5), together, ..Calibration::default() };
    calibration::write(&folder.join(calibration::FILE), &measured).unwrap();
}

#[test]
fn a_floor_that_loses_duplicates_moves_down_and_one_that_fits_stays() {
    let work = folder();
    let of = |name: &str| work.path().join(name);
    let (cross, input) = (of("cross"), of("questions.parquet"));
    copy_model(CROSS, &cross);
    let (verbs, things) = (["buy", "sell", "find", "repair", "paint"], ["cat", "house", "car", "bird", "book", "tree"]);
    let texts: Vec<String> =
        (0..150).map(|n| format!("how do I {} a {} for {n} people", verbs[n % 5], things[n / 5 % 6])).collect();
    write_questions(&input, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let plain = of("plain");
    let models = ["--bi-encoder", BI, "--min-cosine", "-1", "--top-k", "150"];
    let run = |output: &Path, more: &[&str]| {
        mine_ok(&[&["--input", text(&input), "--output", text(output)], &models[..], more].concat())
    };
    run(&plain, &["--cross-encoder", "none", "--threshold", "0.9"]);
    let mut cosines: Vec<f32> = f32s(&read(&plain.join("pairs.parquet")), "cosine").into_iter().flatten().collect();
    cosines.sort_by(|a, b| b.total_cmp(a));
    assert!(cosines.len() > 8000, "{}", cosines.len());
    let (floor, called) = (cosines[2000], cosines[3000]);
    let decision = |output: &Path| -> Value {
        let manifest: Value = serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap();
        manifest["lowered_rerank_floor"].clone()
    };

    // a thousand duplicates lie below the floor
    calibrated(&cross, called, floor);
    let (moved, kept) = (of("moved"), of("kept"));
    let with = ["--cross-encoder", text(&cross)];
    let said = run(&moved, &with);
    assert!(said.contains("the rerank floor moves from"), "{said}");
    let lower = decision(&moved).as_f64().unwrap() as f32;
    assert!(lower < floor, "{lower} {floor}");
    // another output of the same store computes nothing, and lowers the floor as far
    let second = of("second");
    let again = run(&second, &[&with[..], &["--store", text(&moved.join(".mine"))]].concat());
    assert!(again.contains("the rerank floor moves from"), "{again}");
    let read_manifest = |output: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap()
    };
    let manifest = read_manifest(&second);
    let rerank = manifest["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "rerank").unwrap();
    assert_eq!(rerank["computed"], 0, "{rerank}");
    let pairs = |output: &Path| std::fs::read(output.join("pairs.parquet")).unwrap();
    assert!(pairs(&moved) == pairs(&second));
    // the lowered floor is the run's own, not the models'
    mine_ok(&["verify", text(&moved)]);
    // where a share is reranked, a share of the pairs above the lowered floor is, again and again the same
    let share = [&with[..], &["--rerank-share", "60%"]].concat();
    let (some, again) = (of("some"), of("some-again"));
    for (output, more) in [(&some, &[][..]), (&again, &["--store", text(&moved.join(".mine"))])] {
        let said = run(output, &[&share[..], more].concat());
        assert!(said.contains("the rerank floor moves from"), "{said}");
    }
    assert!(pairs(&some) == pairs(&again));
    let scored = |output: &Path| {
        let pairs = read(&output.join("pairs.parquet"));
        f32s(&pairs, "score_ab").iter().zip(f32s(&pairs, "score_ba")).filter(|(ab, ba)| ab.or(*ba).is_some()).count()
    };
    assert!(scored(&some) < scored(&moved), "{} {}", scored(&some), scored(&moved));
    mine_ok(&["verify", text(&some)]);
    // as if the floor had been typed
    let typed = of("typed");
    run(&typed, &["--cross-encoder", text(&cross), "--rerank-floor", &lower.to_string()]);
    let found = bools(&read(&typed.join("pairs.parquet")), "is_duplicate").iter().filter(|is| **is).count();
    assert!((2800..=3001).contains(&found), "{found} of 3,001 duplicates");
    assert_eq!(partition(&typed), partition(&moved));
    // a typed floor stays
    let said = run(&kept, &["--cross-encoder", text(&cross), "--rerank-floor", &floor.to_string()]);
    assert!(!said.contains("moves"), "{said}");

    // none lies below this one
    let fits = of("fits");
    calibrated(&cross, cosines[1500], floor);
    let said = run(&fits, &["--cross-encoder", text(&cross)]);
    assert!(!said.contains("moves"), "{said}");
    assert!(decision(&fits).is_null());
    let figures = metrics(&fits);
    assert_eq!(figures["rerank.duplicates_below_rerank_floor"], 0.0);
    assert!(figures["rerank.sampled_below_rerank_floor"] >= 50.0);
}
