//! What a text keeps: vectors and scores are found again by what it says, whatever else changes.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");

fn rerank(input: &Path, output: &Path, more: &[&str]) -> String {
    let options = [&["--cross-encoder", CROSS, "--threshold", "0.6", "--swap-margin", "0.1"], more].concat();
    mine_ok(&tiny(text(input), text(output), &options))
}

/// Texts embedded or pairs scored by the last run in `output`.
fn computed(output: &Path, stage: &str) -> u64 {
    let manifest: Value = serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap();
    let stages = manifest["stages"].as_array().unwrap();
    stages.iter().find(|record| record["stage"] == stage).unwrap()["computed"].as_u64().unwrap()
}

fn fixture_rows() -> Vec<(i64, String)> {
    let batch = read(&repo("fixtures/questions.parquet"));
    i64s(&batch, "id").into_iter().zip(strings(&batch, "text")).collect()
}

fn shuffle<T>(rows: &mut [T]) {
    let mut state = 1u64;
    for at in (1..rows.len()).rev() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        rows.swap(at, (state >> 33) as usize % (at + 1));
    }
}

#[test]
fn a_changed_input_costs_what_changed_and_ends_as_a_run_from_nothing() {
    let work = folder();
    let (input, output, fresh) = (work.path().join("q.parquet"), work.path().join("out"), work.path().join("fresh"));
    let mut rows = fixture_rows();
    write_rows(&input, &rows);
    rerank(&input, &output, &[]);
    let first = (computed(&output, "embed"), computed(&output, "rerank"));
    // ten removed, ten edited, ten new, and the rest in another order
    rows.drain(30..40);
    for (_, text) in &mut rows[100..110] {
        text.push_str(" today");
    }
    rows.extend((0..10).map(|n| (10_000 + n, format!("how do i cook rice for {n} people"))));
    shuffle(&mut rows);
    write_rows(&input, &rows);
    rerank(&input, &output, &[]);
    assert_eq!(computed(&output, "embed"), 20);
    rerank(&input, &fresh, &[]);
    assert_same_decisions(&fresh, &output);
    let (again, all) = (computed(&output, "rerank"), computed(&fresh, "rerank"));
    assert!(again > 0 && again * 3 < all && all < first.1 * 2, "{again} of {all}, {} before", first.1);
    assert!(computed(&fresh, "embed") > 500 && first.0 > 500);

    // the old texts come back: nothing is computed
    write_rows(&input, &fixture_rows());
    let said = rerank(&input, &output, &[]);
    assert_eq!((computed(&output, "embed"), computed(&output, "rerank")), (0, 0));
    assert!(!said.contains("loading "), "{said}");
}

#[test]
fn the_order_of_the_input_changes_no_byte() {
    let work = folder();
    let (input, shuffled) = (work.path().join("q.parquet"), work.path().join("shuffled.parquet"));
    let (straight, other) = (work.path().join("straight"), work.path().join("other"));
    // copies in other bytes stand beside each other, and their tree must not depend on which comes first
    let mut rows = fixture_rows();
    rows.extend([(9001, " How  do I learn Rust? ".to_string()), (9000, "How do I learn Rust?".into())]);
    write_rows(&input, &rows);
    shuffle(&mut rows);
    write_rows(&shuffled, &rows);
    rerank(&input, &straight, &["--write-embeddings"]);
    rerank(&shuffled, &other, &["--write-embeddings"]);
    assert_same_results(&straight, &other);
    let embeddings = |output: &Path| std::fs::read(output.join("embeddings.parquet")).unwrap();
    assert!(embeddings(&straight) == embeddings(&other));
    // CSV with the same content is the same run
    let csv = work.path().join("q.csv");
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let lines: Vec<String> = rows.iter().map(|(id, text)| format!("{id},{}", quoted(text))).collect();
    std::fs::write(&csv, format!("id,text\n{}\n", lines.join("\n"))).unwrap();
    let from_csv = work.path().join("from-csv");
    rerank(&csv, &from_csv, &["--write-embeddings"]);
    assert_same_results(&straight, &from_csv);
}

#[test]
fn outputs_share_a_store() {
    let work = folder();
    let (input, store) = (repo("fixtures/questions.parquet"), work.path().join("store"));
    let (one, two) = (work.path().join("one"), work.path().join("two"));
    let shared = ["--store", text(&store)];
    rerank(&input, &one, &shared);
    let said = rerank(&input, &two, &shared);
    assert!(!said.contains("loading "), "{said}");
    assert_eq!((computed(&two, "embed"), computed(&two, "rerank")), (0, 0));
    assert_same_results(&one, &two);
    assert!(!one.join(".mine/vectors").exists() && store.join("vectors").exists());
    // a run of one output with other models does not cost the other its work
    mine_ok(&tiny(text(&input), text(&one), &[&shared[..], &["--force"]].concat()));
    let said = rerank(&input, &two, &shared);
    assert!(!said.contains("loading ") && said.contains("candidates cached"), "{said}");

    let foreign = work.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("notes.txt"), "mine").unwrap();
    let error = mine_fails(&tiny(text(&input), text(&two), &["--store", text(&foreign), "--force"]), 1);
    assert!(error.contains("holds something else") && error.contains("hint:"), "{error}");
}

#[test]
fn what_version_0_1_left_is_computed_once_more() {
    let work = folder();
    let (input, output, fresh) =
        (repo("fixtures/questions.parquet"), work.path().join("out"), work.path().join("fresh"));
    mine_ok(&tiny(text(&input), text(&fresh), &[]));
    for stage in ["embed/0a", "candidates/0b", "rerank-ab/0c"] {
        std::fs::create_dir_all(output.join(".mine").join(stage)).unwrap();
        std::fs::write(output.join(".mine").join(stage).join("done.json"), "{}").unwrap();
    }
    std::fs::write(output.join(".mine/lock"), "").unwrap();
    // its manifest had no format and no content, and hashed its files
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(fresh.join("manifest.json")).unwrap()).unwrap();
    let old = manifest.as_object_mut().unwrap();
    old.remove("format");
    old.remove("content");
    old.remove("number");
    old["inputs"][0]["blake3"] = "0".repeat(64).into();
    let margin = old["options"].as_object_mut().unwrap().remove("swap-margin").unwrap();
    old["options"]["second-order-margin"] = margin;
    std::fs::write(output.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::copy(fresh.join("pairs.parquet"), output.join("pairs.parquet")).unwrap();
    let said = mine_ok(&tiny(text(&input), text(&output), &[]));
    assert!(said.contains("was written by mine 0.1") && said.contains("computed once more"), "{said}");
    assert_same_results(&fresh, &output);
    assert!(!output.join(".mine/embed").exists() && output.join(".mine/CURRENT").exists());
    assert!(!mine_ok(&tiny(text(&input), text(&output), &[])).contains("mine 0.1"), "it says so once");
}

#[test]
fn what_a_later_version_wrote_is_refused_by_name() {
    let work = folder();
    let (input, output) = (repo("fixtures/questions.parquet"), work.path().join("out"));
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let store = output.join(".mine/store.json");
    let kept = std::fs::read_to_string(&store).unwrap();
    std::fs::write(&store, "{\"format\": 99, \"runs\": 1}").unwrap();
    let error = mine_fails(&tiny(text(&input), text(&output), &[]), 1);
    assert!(error.contains("store.json: it has format 99, this mine reads up to 2"), "{error}");
    std::fs::write(&store, kept).unwrap();
    let manifest = output.join("manifest.json");
    let newer = std::fs::read_to_string(&manifest).unwrap().replacen("\"format\": 2", "\"format\": 3", 1);
    std::fs::write(&manifest, newer).unwrap();
    let error = mine_fails(&["show", text(&output)], 1);
    assert!(error.contains("manifest.json: it has format 3, this mine reads up to 2"), "{error}");
}

/// A graph that is built in parallel finds other lists: those of a search that did not end must not stand in the way.
#[test]
fn lists_of_an_unfinished_search_are_replaced() {
    let work = folder();
    let (input, output) = (repo("fixtures/questions.parquet"), work.path().join("out"));
    let hnsw = ["--index", "hnsw", "--hnsw-links", "4", "--hnsw-ef-search", "2", "--top-k", "3", "--min-cosine", "-1"];
    let run = || mine_ok(&tiny(text(&input), text(&output), &hnsw));
    run();
    let neighbours = std::fs::read_dir(output.join(".mine/neighbours")).unwrap().flatten().next().unwrap().path();
    for _ in 0..2 {
        std::fs::remove_file(neighbours.join("record.json")).unwrap();
        assert!(!run().contains("candidates cached"));
    }
    assert!(run().contains("candidates cached"));
}

#[test]
fn an_outputs_own_store_can_be_named() {
    let work = folder();
    let (input, output) = (repo("fixtures/questions.parquet"), work.path().join("out"));
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let own = output.join(".mine");
    let said = mine_ok(&tiny(text(&input), text(&output), &["--store", text(&own)]));
    assert!(said.contains("embed cached"), "{said}");
}

#[test]
fn seven_versions_are_kept_and_what_none_needs_goes() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    for night in 0..10 {
        let texts: Vec<String> = (night * 20..night * 20 + 100).map(|n| format!("how do i cook {n} eggs")).collect();
        write_questions(&input, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        mine_ok(&tiny(text(&input), text(&output), &["--force"]));
        assert_eq!(computed(&output, "embed"), if night == 0 { 100 } else { 20 });
    }
    let count = |folder: &str| std::fs::read_dir(output.join(".mine").join(folder)).unwrap().count();
    // a record and a folder of files each
    assert_eq!((count("versions"), count("texts"), count("neighbours")), (14, 7, 1));
    assert_eq!((count("questions"), count("clusters")), (7, 7));
    assert_eq!(std::fs::read_to_string(output.join(".mine/CURRENT")).unwrap().trim(), "10");
}
