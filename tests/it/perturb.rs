//! `mine perturb`: pairs made by rules.

use std::collections::BTreeSet;

use arrow::array::AsArray;

use crate::support::*;

fn questions() -> String {
    repo("fixtures/questions.parquet").to_str().unwrap().to_string()
}

#[test]
fn pairs_have_both_labels_and_can_be_measured() {
    let work = folder();
    let (seen, held_out) = (work.path().join("seen.parquet"), work.path().join("held-out.parquet"));
    let perturb = |output: &std::path::Path, more: &[&str]| {
        mine_ok(&[&["perturb", "--input", &questions(), "--output", text(output), "--n", "200"], more].concat())
    };
    let said = perturb(&seen, &[]);
    assert!(said.contains("another meaning: number") && said.contains("the same meaning: how-to"), "{said}");
    perturb(&held_out, &["--held-out"]);
    let rules = |file| strings(&read(file), "rule").into_iter().collect::<BTreeSet<_>>();
    assert!(rules(&seen).len() > 8 && rules(&held_out).len() > 2 && rules(&seen).is_disjoint(&rules(&held_out)));
    let pairs = read(&seen);
    let labels = i64s(&pairs, "is_duplicate");
    assert_eq!(labels.iter().sum::<i64>() * 2, labels.len() as i64);
    assert!(!pairs.column_by_name("natural").unwrap().as_boolean().iter().any(|natural| natural == Some(true)));
    let (questions1, questions2) = (strings(&pairs, "question1"), strings(&pairs, "question2"));
    assert!(questions1.iter().zip(&questions2).all(|(question, edit)| question != edit));
    // the same seed, the same file
    let bytes = std::fs::read(&seen).unwrap();
    perturb(&seen, &["--force"]);
    assert_eq!(std::fs::read(&seen).unwrap(), bytes);
    perturb(&seen, &["--force", "--seed", "1"]);
    assert_ne!(std::fs::read(&seen).unwrap(), bytes);
    let measured = json(&["evaluate", "--pairs", text(&seen), "--include-added", "--bi-encoder", "built-in", "--json"]);
    assert!(measured["cosine"]["f1"].as_f64().unwrap() > 0.6, "{measured}");
}

#[test]
fn what_cannot_be_made_is_said() {
    let work = folder();
    let (output, foreign) = (work.path().join("perturbed.parquet"), work.path().join("foreign.parquet"));
    write_questions(&foreign, &["什么是爱", "你好吗"]);
    let perturb = |input: &str, more: &[&str], code| {
        mine_fails(&[&["perturb", "--input", input, "--output", text(&output)], more].concat(), code)
    };
    let error = perturb(text(&foreign), &["--held-out"], 1);
    assert!(error.contains("no rule applies to its 2 questions") && !output.exists(), "{error}");
    assert!(perturb(&questions(), &["--n", "0"], 2).contains("--n is 0"));
    std::fs::write(&output, "mine").unwrap();
    assert!(perturb(&questions(), &[], 1).contains("--force"));
    assert_eq!(std::fs::read(&output).unwrap(), b"mine");
}
