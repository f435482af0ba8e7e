//! `mine evaluate` and `mine sample` through the binary.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Float64Type;
use dupmine::text::normalise::normalise;
use serde_json::Value;

use crate::support::{
    bools, folder, i64s, json, mine, mine_fails, mine_ok, read, repo, shared, strings, text, tiny, write_parquet,
};

pub const BI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
pub const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");
pub const QUESTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/questions.parquet");
const GOLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/questions-gold.parquet");
pub const PAIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pairs.csv");

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A scored file from the reference that Python made, and the case itself.
fn reference_file(folder: &Path) -> (PathBuf, Value) {
    let reference: Value =
        serde_json::from_slice(&std::fs::read(repo("fixtures/reference/evaluation.json")).unwrap()).unwrap();
    let case = reference["pairs"][1].clone();
    let numbers = |key: &str| case[key].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<_>>();
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers("labels").iter().map(|&n| n as i64)));
    let scores: ArrayRef = Arc::new(Float64Array::from(numbers("scores")));
    let path = folder.join("scored.parquet");
    write_parquet(&path, vec![("is_duplicate", labels), ("my_score", scores)], 50);
    (path, case)
}

#[test]
fn own_scores_get_pythons_figures() {
    let folder = folder();
    let (path, case) = reference_file(folder.path());
    let arguments = ["evaluate", "--pairs", text(&path), "--score-column", "my_score", "--json"];
    let answer = json(&arguments);
    let ours = &answer["my_score"];
    for key in ["f1", "f1_threshold", "precision", "recall", "mcc", "accuracy", "average_precision", "roc_auc"] {
        assert!((number(&ours[key]) - number(&case[key])).abs() < 1e-9, "{key}: {} {}", ours[key], case[key]);
    }
    assert_eq!((number(&ours["pairs"]), answer.as_object().unwrap().len()), (120.0, 1));
    for (key, interval) in ours["intervals"].as_object().unwrap() {
        let [low, high] = [number(&interval[0]), number(&interval[1])];
        assert!(low < number(&ours[key]) && number(&ours[key]) < high && high - low < 0.4, "{key}: {interval}");
    }
    assert_eq!(answer, json(&arguments), "the seed decides the intervals");
    let other = json(&[&arguments[..], &["--seed", "7"]].concat());
    assert_ne!(other["my_score"]["intervals"], ours["intervals"]);
    let none = json(&[&arguments[..], &["--bootstrap", "0"]].concat());
    assert!(none["my_score"].get("intervals").is_none());
    let at = json(&[&arguments[..], &["--threshold", "0.5", "--grid", "0.01"]].concat());
    let confusion = ["true_positives", "false_positives", "false_negatives", "true_negatives"]
        .map(|key| at["my_score"]["at_threshold"][key].clone());
    assert_eq!(Value::from(confusion.to_vec()), case["at_threshold"]["confusion"]);
    assert!((number(&at["my_score"]["grid"]["f1"]) - number(&case["grid_f1"])).abs() < 1e-9);
}

#[test]
fn models_are_scored_on_natural_pairs_and_bad_rows_are_told() {
    let folder = folder();
    let path = folder.path().join("pairs.parquet");
    let texts = |texts: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let columns = vec![
        ("q1", texts(&[Some("How do I cook rice?"), Some("Where is Rome?"), Some("What is 2?"), None, Some("x")])),
        ("q2", texts(&[Some("How to cook rice?"), Some("Who is Rome?"), Some("What is two?"), Some("y"), Some("z")])),
        ("same", Arc::new(Int64Array::from(vec![Some(1), Some(0), Some(1), Some(1), Some(3)])) as ArrayRef),
        ("natural", Arc::new(BooleanArray::from(vec![true, true, false, true, true])) as ArrayRef),
    ];
    write_parquet(&path, columns, 10);
    let names = ["--question1-column", "q1", "--question2-column", "q2", "--label-column", "same"];
    let arguments = ["evaluate", "--pairs", text(&path), "--bi-encoder", BI, "--cross-encoder", CROSS, "--json"];
    let arguments = [&arguments[..], &names].concat();
    let stderr = mine_ok(&arguments);
    assert!(stderr.contains("1 added pairs (natural is false) left out, 2 measured"), "{stderr}");
    assert!(
        stderr.contains("2 rows left out, the first: row 3 (\"q1\" is null), row 4 (\"same\" is 3, expected 0 or 1)")
    );
    let answer = json(&arguments);
    let scorers: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(scorers, ["cosine", "cross_encoder", "dot", "euclidean", "manhattan"]);
    assert!(answer.as_object().unwrap().values().all(|figures| figures["pairs"] == 2));
    let all = json(&[&arguments[..], &["--include-added"]].concat());
    assert_eq!(all["cosine"]["pairs"], 3);
    let without_names = ["evaluate", "--pairs", text(&path), "--bi-encoder", BI];
    let stderr = mine_fails(&without_names, 1);
    assert!(stderr.contains("no column \"question1\"") && stderr.contains("hint: name it with --question1-column"));
}

#[test]
fn senseless_questions_are_usage_errors() {
    let refused = |arguments: &[&str]| mine_fails(arguments, 2);
    refused(&["evaluate"]);
    refused(&["evaluate", "mined"]);
    refused(&["evaluate", "--gold", GOLD]);
    refused(&["evaluate", "mined", "--run", "mined", "--gold", GOLD]);
    refused(&["evaluate", "mined", "--gold", GOLD, "--threshold", "0.5"]);
    refused(&["evaluate", "--pairs", PAIRS, "--cross-encoder", "none", "--one-order"]);
    refused(&["evaluate", "--pairs", PAIRS, "--run", "mined"]);
    refused(&["evaluate", "--pairs", PAIRS, "--grid", "0"]);
    refused(&["evaluate", "--pairs", PAIRS, "--score-column", "x", "--bi-encoder", BI]);
    refused(&["evaluate", "--compare", BI, "--valid", PAIRS]);
    refused(&["evaluate", "--pairs", PAIRS, "--one-order"]);
    refused(&["evaluate", "--sample", PAIRS, "--include-added"]);
    refused(&["evaluate", "--sample", PAIRS, "--bootstrap", "18446744073709551615"]);
    refused(&["calibrate", "--pairs", PAIRS]);
    refused(&["calibrate", "--pairs", PAIRS, "--bi-encoder", BI, "--target-precision", "1.5"]);
    let stderr = mine_fails(&["evaluate", "--run", text(folder().path()), "--gold", GOLD], 2);
    assert!(stderr.contains("holds no finished run"), "{stderr}");
    let stderr = mine_fails(&["calibrate", "--pairs", PAIRS, "--bi-encoder", "built-in"], 1);
    assert!(stderr.contains("part of the binary") && stderr.contains("hint: "), "{stderr}");
}

/// The run's funnel is counted again by hand from the files it wrote.
#[test]
fn a_run_is_measured_and_every_lost_duplicate_has_its_reason() {
    let folder = folder();
    let out = folder.path().join("mined");
    mine_ok(&tiny(QUESTIONS, text(&out), &["--top-k", "5", "--min-cosine", "0.8", "--threshold", "0.95"]));
    let evaluate = |more: &[&str]| json(&[&["evaluate", "--run", text(&out), "--json"], more].concat());
    let answer = evaluate(&["--gold", GOLD]);
    let funnel = &answer["funnel"];
    let count = |key: &str| funnel[key].as_u64().unwrap();
    let lost = ["lost_by_floor", "lost_by_index", "lost_by_budget", "lost_by_score", "lost_by_clustering"].map(count);
    assert_eq!(lost.iter().sum::<u64>() + count("found"), count("duplicates"));
    assert_eq!(answer["gold"]["duplicates"], funnel["duplicates"]);
    for part in ["funnel_shares", "mining", "clusters"] {
        let figures = &answer[part];
        assert!(!figures["intervals"].as_object().unwrap().is_empty(), "{part}");
        for (name, interval) in figures["intervals"].as_object().unwrap() {
            let (low, value, high) = (number(&interval[0]), number(&figures[name]), number(&interval[1]));
            assert!(low <= value && value <= high, "{part} {name}: {value} in {interval}");
        }
    }
    assert_eq!(answer["retrieval"].as_array().unwrap().len(), 5);

    // copies of a text are one question to mining: its gold is between distinct texts
    let questions = read(Path::new(QUESTIONS));
    let text_of: HashMap<i64, String> = i64s(&questions, "id").into_iter().zip(strings(&questions, "text")).collect();
    let mut first_of: HashMap<String, i64> = HashMap::new();
    for (id, text) in i64s(&questions, "id").into_iter().zip(strings(&questions, "text")) {
        first_of.entry(normalise(&text).into_owned()).or_insert(id);
    }
    let one = |id: i64| first_of[normalise(&text_of[&id]).as_ref()];
    let gold = read(Path::new(GOLD));
    let gold: Vec<(i64, i64)> = i64s(&gold, "id_a").into_iter().zip(i64s(&gold, "id_b")).collect();
    let distinct: HashSet<(i64, i64)> =
        gold.iter().map(|&(a, b)| (one(a).min(one(b)), one(a).max(one(b)))).filter(|(a, b)| a != b).collect();
    let clusters = read(&out.join("clusters.parquet"));
    let cluster: HashMap<i64, i64> = i64s(&clusters, "id").into_iter().zip(i64s(&clusters, "cluster_id")).collect();
    let together = |(a, b): &&(i64, i64)| cluster.get(a).is_some_and(|own| cluster.get(b) == Some(own));
    let raw = evaluate(&["--gold", GOLD, "--no-closure"]);
    assert_eq!(raw["funnel"]["duplicates"], distinct.len());
    assert_eq!(raw["funnel"]["found"], distinct.iter().filter(together).count());
    assert_eq!(raw["in_one_cluster"]["known_duplicates"], raw["funnel"]["found"]);
    let pairs = read(&out.join("pairs.parquet"));
    let (kinds, called) = (strings(&pairs, "kind"), bools(&pairs, "is_duplicate"));
    let called = kinds.iter().zip(called).filter(|(kind, called)| *called && *kind == "semantic").count();
    assert_eq!(raw["called_duplicates"]["pairs"], called);
    let decided: HashMap<(i64, i64), bool> =
        i64s(&pairs, "id_a").into_iter().zip(i64s(&pairs, "id_b")).zip(bools(&pairs, "is_duplicate")).collect();
    let lost = |is_duplicate: Option<bool>| {
        distinct.iter().filter(|pair| !together(pair) && decided.get(pair).copied() == is_duplicate).count()
    };
    assert_eq!(raw["funnel"]["lost_by_clustering"], lost(Some(true)));
    assert_eq!(raw["funnel"]["lost_by_score"], lost(Some(false)));
    let funnel = &raw["funnel"];
    assert_eq!(number(&funnel["lost_by_floor"]) + number(&funnel["lost_by_index"]), lost(None) as f64);
    let mended = distinct.iter().filter(|pair| together(pair) && decided.get(pair) != Some(&true)).count();
    assert_eq!(funnel["mended_by_clustering"], mended);
    assert!(kinds.iter().any(|kind| kind != "semantic"), "the fixture has copies, which are not counted as mined");
    assert_eq!(raw["mining"]["pairs"], kinds.iter().filter(|kind| *kind == "semantic").count());

    assert_eq!(json(&["evaluate", text(&out), "--gold", GOLD, "--json"]), answer, "a run can be named as elsewhere");

    // the same gold as texts gives the same answer
    let by_text = folder.path().join("gold.csv");
    let mut writer = csv::Writer::from_path(&by_text).unwrap();
    writer.write_record(["question1", "question2", "is_duplicate"]).unwrap();
    for (a, b) in &gold {
        writer.write_record([text_of[a].as_str(), text_of[b].as_str(), "1"]).unwrap();
    }
    writer.flush().unwrap();
    assert_eq!(evaluate(&["--gold", text(&by_text)]), answer);

    // and so does each closed group of it: a group says what its closure says
    let groups = folder.path().join("groups.csv");
    std::fs::write(&groups, format!("id,group\n{},x\n{},x\n", gold[0].0, gold[0].1)).unwrap();
    let of_groups = evaluate(&["--gold", text(&groups)]);
    assert_eq!((&of_groups["gold"]["duplicates"], &of_groups["gold"]["questions"]), (&Value::from(1), &Value::from(2)));
}

#[test]
fn floor_and_budget_are_told_apart() {
    let folder = folder();
    let out = folder.path().join("mined");
    let funnel = |more: &[&str]| {
        mine_ok(&tiny(QUESTIONS, text(&out), &[more, &["--force"]].concat()));
        json(&["evaluate", "--run", text(&out), "--gold", GOLD, "--json", "--bootstrap", "0"])["funnel"].clone()
    };
    let all = |funnel: &Value, key: &str| {
        let rest = number(&funnel["found"]) - number(&funnel["mended_by_clustering"]);
        assert!(number(&funnel[key]) > 0.9 * (number(&funnel["duplicates"]) - rest), "{key}: {funnel}");
    };
    all(&funnel(&["--min-cosine", "0.9999", "--threshold", "0.99995"]), "lost_by_floor");
    let budget = ["--min-cosine", "-1", "--top-k", "600", "--threshold", "0.5"];
    all(&funnel(&[&budget[..], &["--cross-encoder", CROSS, "--rerank-budget", "1"]].concat()), "lost_by_budget");
    let index = funnel(&["--min-cosine", "-1", "--top-k", "1", "--threshold", "0.99"]);
    assert!(number(&index["lost_by_index"]) > 0.0 && number(&index["lost_by_floor"]) == 0.0, "{index}");
}

#[test]
fn a_labelled_sample_estimates_the_run() {
    let folder = folder();
    let (out, sample) = (folder.path().join("mined"), folder.path().join("to label"));
    mine_ok(&tiny(QUESTIONS, text(&out), &["--top-k", "5", "--min-cosine", "0.8", "--threshold", "0.95"]));
    let draw = ["sample", "--run", text(&out), "--output", text(&sample), "--n"];
    mine_ok(&[&draw[..], &["60"]].concat());
    let csv_path = folder.path().join("to label.csv");
    let drawn = std::fs::read(&csv_path).unwrap();
    let stderr = mine_fails(&[&draw[..], &["60"]].concat(), 1);
    assert!(stderr.contains("may hold labels") && stderr.contains("--force"), "{stderr}");
    mine_ok(&[&draw[..], &["60", "--force"]].concat());
    assert_eq!(drawn, std::fs::read(&csv_path).unwrap(), "the seed decides");
    let parquet = read(&folder.path().join("to label.parquet"));
    assert_eq!(parquet.num_rows(), 60);
    // each row stands for its share of its stratum: together for all of the run
    let all = strings(&read(&out.join("pairs.parquet")), "kind").iter().filter(|kind| *kind == "semantic").count();
    let weights = parquet.column_by_name("weight").unwrap().as_primitive::<Float64Type>();
    assert!((weights.values().iter().sum::<f64>() - all as f64).abs() < 1e-6 && all > 60);
    let stderr = mine_fails(&["evaluate", "--sample", text(&csv_path)], 1);
    assert!(stderr.contains("no row of 60 has a label"), "{stderr}");

    // everything labelled, by a rule that anyone can check: the estimate is the count
    mine_ok(&[&draw[..], &["1000000", "--force"]].concat());
    let mut reader = csv::Reader::from_path(&csv_path).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let mut rows: Vec<Vec<String>> =
        reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect();
    let (mut predicted, mut hits, mut duplicates) = (0.0, 0.0, 0.0);
    for row in &mut rows {
        let label = (row[at("id_a")].parse::<i64>().unwrap() + row[at("id_b")].parse::<i64>().unwrap()) % 3 == 0;
        row[at("is_duplicate")] = if label { "1".into() } else { "0".into() };
        let called = row[at("predicted")] == "true";
        predicted += f64::from(u8::from(called));
        duplicates += f64::from(u8::from(label));
        hits += f64::from(u8::from(called && label));
    }
    let labelled = folder.path().join("labelled.csv");
    let mut writer = csv::Writer::from_path(&labelled).unwrap();
    writer.write_record(&header).unwrap();
    rows.iter().for_each(|row| writer.write_record(row).unwrap());
    writer.flush().unwrap();
    let answer = json(&["evaluate", "--sample", text(&labelled), "--json"]);
    assert!((number(&answer["precision"]["value"]) - hits / predicted).abs() < 1e-12, "{answer}");
    assert!((number(&answer["recall"]["value"]) - hits / duplicates).abs() < 1e-12, "{answer}");
    // and the labelled file is a pairs file as it stands
    assert_eq!(
        json(&["evaluate", "--pairs", text(&labelled), "--bi-encoder", BI, "--json"])["cosine"]["pairs"],
        rows.len()
    );
}

/// Without a scorer, what a run decides with is measured.
#[test]
fn a_run_decides_with_both_models_and_so_does_evaluate() {
    let work = folder();
    let few = work.path().join("few.csv");
    let lines: Vec<String> = std::fs::read_to_string(PAIRS).unwrap().lines().take(41).map(String::from).collect();
    std::fs::write(&few, lines.join("\n")).unwrap();
    let evaluate =
        |more: &[&str]| json(&[&["evaluate", "--pairs", text(&few), "--json", "--bootstrap", "0"], more].concat());
    let both = evaluate(&["--bi-encoder", "built-in", "--cross-encoder", "built-in"]);
    assert!(both["together"].is_object());
    assert_eq!(evaluate(&[]), both);
    let cosine = evaluate(&["--bi-encoder", "built-in"]);
    assert!(cosine.get("together").is_none() && cosine.get("cross_encoder").is_none());
    assert_eq!(evaluate(&["--cross-encoder", "none"]), cosine);
    assert_eq!(evaluate(&["--bi-encoder", "built-in", "--cross-encoder", "none"]), cosine);
    let shown = mine(&["evaluate", "--pairs", text(&few), "--bootstrap", "0"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let header: Vec<&str> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header[0], "together", "{shown}");
}

#[test]
fn models_are_compared_at_the_threshold_chosen_on_valid() {
    let folder = folder();
    let mut reader = csv::Reader::from_path(PAIRS).unwrap();
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    let half = |name: &str, first: usize| {
        let path = folder.path().join(name);
        let mut writer = csv::Writer::from_path(&path).unwrap();
        writer.write_record(&header).unwrap();
        rows.iter().skip(first).step_by(2).for_each(|row| writer.write_record(row).unwrap());
        writer.flush().unwrap();
        path
    };
    let (valid, test) = (half("valid.csv", 0), half("test.csv", 1));
    let alone = |pairs: &Path, more: &[&str]| {
        let arguments = ["evaluate", "--pairs", text(pairs), "--bi-encoder", BI, "--bootstrap", "0", "--json"];
        json(&[&arguments[..], more].concat())["cosine"].clone()
    };
    let chosen = alone(&valid, &[])["f1_threshold"].clone();
    assert_ne!(chosen, alone(&test, &[])["f1_threshold"], "or nothing is shown");
    for name in ["new/table.csv", "table.parquet"] {
        let path = folder.path().join(name);
        let files = ["--valid", text(&valid), "--test", text(&test), "--output", text(&path)];
        let answer = json(&[&["evaluate", "--compare", BI, CROSS, "--json"], &files[..]].concat())["models"].clone();
        assert_eq!((&answer[0]["kind"], &answer[1]["kind"]), (&"bi-encoder".into(), &"cross-encoder".into()));
        assert_eq!(answer[0]["threshold"], chosen);
        let there = alone(&test, &["--threshold", &chosen.to_string()]);
        assert_eq!(answer[0]["test_f1"], there["at_threshold"]["f1"]);
        assert_eq!(answer[0]["test_best_f1"], there["f1"]);
        assert!(answer[0]["difference_to_first"].is_null());
        let difference = number(&answer[1]["test_f1"]) - number(&answer[0]["test_f1"]);
        assert!((number(&answer[1]["difference_to_first"]["f1"]["value"]) - difference).abs() < 1e-12);
        assert!(path.exists());
    }
    let bad = folder.path().join("table.xlsx");
    mine_fails(&["evaluate", "--compare", BI, "--valid", PAIRS, "--test", PAIRS, "--output", text(&bad)], 2);
}

#[test]
fn the_built_in_models_keep_their_promise_on_real_pairs() {
    let Some(dev) = shared("data/qqp/dev.parquet") else { return };
    let models = ["--bi-encoder", "built-in", "--cross-encoder", "built-in"];
    let more = ["--json", "--bootstrap", "0", "--grid", "0.01"];
    let answer = json(&[&["evaluate", "--pairs", text(&dev)], &models[..], &more[..]].concat());
    // all-MiniLM-L6-v2 before it was trained: 0.742 and 0.803
    for (scorer, f1, average_precision) in
        [("cosine", 0.784, 0.851), ("cross_encoder", 0.800, 0.862), ("together", 0.807, 0.877)]
    {
        let figures = &answer[scorer];
        assert_eq!(figures["pairs"], 3265);
        assert!((number(&figures["f1"]) - f1).abs() < 0.002, "{scorer}: {}", figures["f1"]);
        let found = number(&figures["average_precision"]);
        assert!((found - average_precision).abs() < 0.002, "{scorer}: {found}");
        let on_a_grid = number(&figures["grid"]["f1"]);
        assert!(on_a_grid <= number(&figures["f1"]) && on_a_grid > f1 - 0.01, "{scorer}: {on_a_grid}");
    }
}

#[test]
fn a_precision_changes_scores_a_little() {
    for (flag, model, scorer) in [("--bi-encoder", BI, "cosine"), ("--cross-encoder", CROSS, "cross_encoder")] {
        let measured = |precision: &str| {
            let answer = json(&[
                "evaluate",
                "--pairs",
                PAIRS,
                flag,
                model,
                "--precision",
                precision,
                "--json",
                "--bootstrap",
                "0",
            ]);
            number(&answer[scorer]["average_precision"])
        };
        let (exact, coarse) = (measured("f32"), measured("bf16"));
        assert!((exact - coarse).abs() < 0.05, "{scorer}: {exact} and {coarse}");
        assert_ne!(exact, coarse, "{scorer} computes in bf16");
    }
    let error = mine_fails(&["evaluate", "--pairs", PAIRS, "--precision", "f8"], 2);
    assert!(error.contains("f8"), "{error}");
}
