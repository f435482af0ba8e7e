//! Training: mined negatives, teachers and mixes of losses.

use dupmine::calibration::Calibrator;
use dupmine::calibration::decision::Decision;
use dupmine::models::checkpoint::calibration::{self, Calibration, ScoreFusion};
use dupmine::models::checkpoint::folder::ModelFolder;

use crate::support::*;
use crate::training::{PAIRS, TINY, TINY_CROSS, arguments, last_state};

#[test]
fn negatives_and_teachers_work_end_to_end() {
    let work = folder();
    let train = |name: &str, kind: &str, from: &str, more: &[&str]| {
        let output = work.path().join(name);
        let stderr = {
            let all = arguments(kind, from, text(&output), &[&["--epochs", "1"], more].concat());
            let all: Vec<&str> = all.into_iter().filter(|flag| *flag != "--quiet").collect();
            mine_ok(&all)
        };
        assert!(output.join("model.safetensors").exists());
        stderr
    };
    let said = train("negatives", "bi", TINY, &["--hard-negatives", "2", "--teacher", TINY_CROSS]);
    assert!(said.contains("hard negatives mined") && !said.contains("has no effect"), "{said}");
    let said = train("idle", "bi", TINY, &["--teacher", TINY_CROSS, "--pos-weight", "2", "--warmup-steps", "99"]);
    assert!(said.contains("--teacher has no effect: no --loss distils"), "{said}");
    assert!(said.contains("--pos-weight has no effect") && said.contains("is never reached"), "{said}");
    train("margin", "bi", TINY, &["--loss", "margin-mse", "--hard-negatives", "2", "--teacher", TINY_CROSS]);
    train("imitate", "bi", TINY, &["--loss", "cosine-distillation", "--teacher", TINY]);
    let said = train(
        "augmented",
        "bi",
        TINY,
        &["--loss", "cosine-similarity", "--mined-pairs", "20", "--teacher", TINY_CROSS],
    );
    assert!(said.contains("20 mined pairs labelled"), "{said}");
    train(
        "distilled",
        "cross",
        TINY_CROSS,
        &["--loss", "score-distillation", "--teacher", TINY_CROSS, "--swap-orders"],
    );
    let said = train(
        "pairs",
        "cross",
        TINY_CROSS,
        &["--hard-negatives", "1", "--negatives-from", TINY, "--negatives-choice", "random"],
    );
    assert!(said.contains("added as pairs that are no duplicates"), "{said}");
    // and pairs of one label alone then have both
    let duplicates = work.path().join("duplicates.csv");
    std::fs::write(
        &duplicates,
        "question1,question2,is_duplicate\na cat,one cat,1\na dog,one dog,1\na bird,one bird,1\n",
    )
    .unwrap();
    let model = work.path().join("of-duplicates");
    let files = ["--pairs", text(&duplicates), "--dev", PAIRS, "--output", text(&model)];
    let few = ["--kind", "cross", "--from", TINY_CROSS, "--max-steps", "1", "--quiet"];
    let negatives = ["--hard-negatives", "1", "--negatives-from", TINY];
    mine_ok(&[&["train"], &files[..], &few, &negatives].concat());
    // the miner is known by what it holds, not by where it lies
    let moved = work.path().join("moved");
    copy_model(TINY, &moved);
    let same = ["--hard-negatives", "1", "--negatives-from", text(&moved)];
    let said = mine_ok(&[&["train"], &files[..], &few[..few.len() - 1], &same].concat());
    assert!(said.contains("trained already"), "{said}");
    let said = mine_fails(&[&["train"], &files[..], &few, &["--force"]].concat(), 1);
    assert!(said.contains("3 duplicates and 0 others"), "{said}");
    let mix = ["--loss", "contrastive=1,ranking=0.5", "--directions", "both-ways"];
    train("mix", "bi", TINY, &mix);
    train("mix-of-negatives", "bi", TINY, &[&mix[..], &["--hard-negatives", "2"]].concat());
    train("plain", "bi", TINY, &[]);
    // each of them has learnt something else
    let learnt = |name: &str| last_state(&work.path().join(format!("{name}.run")));
    assert!(learnt("mix") != learnt("mix-of-negatives") && learnt("plain") != learnt("negatives"));
}

#[test]
fn a_cross_encoder_learns_from_labels_and_from_a_teacher_that_decides_beside_the_miner() {
    let work = folder();
    let of = |name: &str| work.path().join(name);
    let teacher = of("teacher");
    copy_model(TINY_CROSS, &teacher);
    let mined = ["--hard-negatives", "1", "--negatives-from", TINY, "--max-steps", "5"];
    let train = |name: &str, more: &[&str]| {
        let output = of(name);
        let all = arguments("cross", TINY_CROSS, text(&output), &[&mined, more].concat());
        mine_ok(&all.into_iter().filter(|flag| *flag != "--quiet").collect::<Vec<_>>());
        last_state(&of(&format!("{name}.run")))
    };
    let taught = ["--teacher", text(&teacher), "--teacher-weight", "0.5"];
    let labels = train("labels", &[]);
    let plain = train("plain", &taught);
    // the same teacher's probabilities are others where it was measured alone, and others beside the miner
    let calibrator = Calibrator::Platt { slope: 2.0, intercept: -9.0 };
    let alone = Calibration {
        calibrator: Some(calibrator.clone()),
        probability_threshold: Some(0.5),
        ..Calibration::default()
    };
    calibration::write(&teacher.join(calibration::FILE), &alone).unwrap();
    let measured = train("measured", &taught);
    let bi_encoder = ModelFolder::open(TINY.as_ref()).unwrap().fingerprint().unwrap();
    let decision =
        Decision { cosine_weight: 10.0, calibrator, threshold: 0.5, rerank_floor: None, rerank_ceiling: None };
    let beside =
        Calibration { together: Some(ScoreFusion { bi_encoder, decision, gain: None, profile: None }), ..alone };
    calibration::write(&teacher.join(calibration::FILE), &beside).unwrap();
    let together = train("together", &taught);
    assert!(labels != plain && plain != measured && measured != together);
}

#[test]
fn pairs_by_rules_and_by_cosines_join_the_labelled_ones() {
    let work = folder();
    let train = |name: &str, more: &[&str]| {
        let output = work.path().join(name);
        let all = arguments("cross", TINY_CROSS, text(&output), &[&["--max-steps", "4"], more].concat());
        let said = mine_ok(&all.into_iter().filter(|flag| *flag != "--quiet").collect::<Vec<_>>());
        (said, last_state(&work.path().join(format!("{name}.run"))))
    };
    let (_, plain) = train("plain", &[]);
    let (said, rules) = train("rules", &["--perturbed-pairs", "40"]);
    assert!(said.contains(" pairs made by rules"), "{said}");
    // duplicates and strangers: a cosine tells them apart
    let easy = work.path().join("easy.csv");
    let rows: Vec<[String; 3]> = csv::Reader::from_path(PAIRS).unwrap().deserialize().map(Result::unwrap).collect();
    let duplicates: Vec<_> = rows.iter().filter(|row| row[2] == "1").collect();
    let mut writer = csv::Writer::from_path(&easy).unwrap();
    writer.write_record(["question1", "question2", "is_duplicate"]).unwrap();
    for two in duplicates.windows(2) {
        writer.write_record([&two[0][0], &two[0][1], "1"]).unwrap();
        writer.write_record([&two[0][0], &two[1][1], "0"]).unwrap();
    }
    writer.flush().unwrap();
    let cosines = |name: &str| {
        let output = work.path().join(name);
        let files = ["--pairs", text(&easy), "--dev", PAIRS, "--allow-shared-questions", "--output", text(&output)];
        let more = ["--kind", "cross", "--from", TINY_CROSS, "--max-steps", "4", "--batch-size", "6"];
        let cosines = ["--cosine-pairs", "30", "--negatives-from", "built-in"];
        let said = mine_ok(&[&["train"], &files[..], &more, &cosines].concat());
        (said, last_state(&work.path().join(format!("{name}.run"))))
    };
    let (said, cosine) = cosines("cosines");
    assert!(said.contains("30 unlabelled pairs added with the probability of their cosine"), "{said}");
    assert!(plain != rules);
    // the same again, bit for bit
    assert_eq!(cosines("again").1, cosine);
}

#[test]
fn a_share_of_the_start_is_measured_and_written() {
    let work = folder();
    let train = |name: &str, more: &[&str]| {
        let output = work.path().join(name);
        let few = ["--max-steps", "4", "--write-last"];
        mine_ok(&arguments("bi", TINY, text(&output), &[&few[..], more].concat()));
        let bytes = std::fs::read(output.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let weight = file.tensor("encoder.layer.0.attention.self.query.weight").unwrap();
        weight.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>()
    };
    let bytes = std::fs::read(std::path::Path::new(TINY).join("model.safetensors")).unwrap();
    let start = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let name = start.names().into_iter().find(|name| name.ends_with("layer.0.attention.self.query.weight")).unwrap();
    let start = start.tensor(name).unwrap().data().to_vec();
    let start: Vec<f32> = start.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let (trained, mixed) = (train("trained", &[]), train("mixed", &["--start-share", "0.25"]));
    assert!(start.iter().zip(&trained).any(|(a, b)| (a - b).abs() > 1e-4), "training moved the weights");
    for ((start, trained), mixed) in start.iter().zip(&trained).zip(&mixed) {
        assert!((0.25 * start + 0.75 * trained - mixed).abs() < 1e-6, "{start} {trained} {mixed}");
    }
}

#[test]
fn duplicates_without_enough_negatives_are_left_out_of_margins() {
    let work = folder();
    let pairs = work.path().join("few.csv");
    // one question has three others that are unlike it, the rest two
    std::fs::write(&pairs, "question1,question2,is_duplicate\na,b,1\nc,d,1\nc,e,1\n").unwrap();
    let output = work.path().join("model");
    let train = |count| {
        let margins = ["--loss", "margin-mse", "--teacher", TINY_CROSS, "--hard-negatives", count, "--max-steps", "1"];
        let files = ["--pairs", text(&pairs), "--dev", PAIRS, "--output", text(&output), "--quiet"];
        mine(&[&["train", "--kind", "bi", "--from", TINY], &files[..], &margins].concat())
    };
    let error = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();
    let said = error(train("4"));
    assert!(said.contains("no duplicate has 4 negatives") && !said.contains("panicked"), "{said}");
    let said = error(train("3"));
    assert!(said.contains("2 duplicates left out") && output.exists(), "{said}");
}
