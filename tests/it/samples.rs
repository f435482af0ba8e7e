//! Labelled samples: drawn, drawn again, measured at any threshold, and shown in the report with the same figures.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::evaluate::{QUESTIONS, number};
use crate::support::*;

/// A run of the fixture and its folder.
fn mined(work: &Path) -> PathBuf {
    let out = work.join("mined");
    mine_ok(&tiny(QUESTIONS, text(&out), &["--top-k", "5", "--min-cosine", "0.8", "--threshold", "0.95"]));
    out
}

/// A row of a sample.
#[derive(Clone)]
struct Row {
    ids: (i64, i64),
    probability: f64,
    predicted: bool,
    stratum: u32,
    stratum_pairs: f64,
    label: Option<bool>,
}

/// Fills the column is_duplicate of a sample; returns its rows.
fn fill(file: &Path, label: impl Fn(&Row, usize) -> Option<bool>) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let mut writer = csv::Writer::from_path(file).unwrap();
    writer.write_record(&header).unwrap();
    let mut rows = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let cell = |name: &str| record.get(at(name)).unwrap();
        let mut row = Row {
            ids: (cell("id_a").parse().unwrap(), cell("id_b").parse().unwrap()),
            probability: cell("probability").parse().unwrap(),
            predicted: cell("predicted") == "true",
            stratum: cell("stratum").parse().unwrap(),
            stratum_pairs: cell("stratum_pairs").parse().unwrap(),
            label: None,
        };
        row.label = label(&row, number);
        let written = row.label.map_or("", |label| if label { "1" } else { "0" });
        let cells =
            record.iter().enumerate().map(|(column, cell)| if column == at("is_duplicate") { written } else { cell });
        writer.write_record(cells).unwrap();
        rows.push(row);
    }
    writer.flush().unwrap();
    rows
}

/// A label that anyone can check: pairs with a high probability are duplicates more often.
fn rule(row: &Row) -> bool {
    let noise = (row.ids.0 * 31 + row.ids.1 * 17) % 10;
    row.probability > 0.8 + 0.02 * noise as f64
}

/// Precision and recall, each label with the weight of its stratum's pairs by the labels there.
fn by_hand(rows: &[Row], called: impl Fn(&Row) -> bool) -> (f64, f64) {
    let mut labels: BTreeMap<u32, f64> = BTreeMap::new();
    rows.iter().filter(|row| row.label.is_some()).for_each(|row| *labels.entry(row.stratum).or_default() += 1.0);
    let sum = |keep: &dyn Fn(&Row, bool) -> bool| -> f64 {
        let kept = rows.iter().filter(|row| row.label.is_some_and(|label| keep(row, label)));
        kept.map(|row| row.stratum_pairs / labels[&row.stratum]).sum()
    };
    let hits = sum(&|row, label| label && called(row));
    (hits / sum(&|row, _| called(row)), hits / sum(&|_, label| label))
}

fn assert_figures(answer: &Value, (precision, recall): (f64, f64)) {
    for (name, expected) in [("precision", precision), ("recall", recall)] {
        let figure = &answer[name];
        assert!((number(&figure["value"]) - expected).abs() < 1e-9, "{name}: {figure}, by hand {expected}");
        let [low, high] = [number(&figure["interval"][0]), number(&figure["interval"][1])];
        assert!(low <= expected && expected <= high && high <= 1.0, "{figure}");
    }
}

#[test]
fn the_threshold_that_is_typed_decides() {
    let work = folder();
    let out = mined(work.path());
    let stem = work.path().join("labels");
    mine_ok(&["sample", text(&out), "--n", "90", "--output", text(&stem)]);
    let file = work.path().join("labels.csv");
    // a third is left empty
    let rows = fill(&file, |row, at| (at % 3 != 0).then(|| rule(row)));
    let evaluate = |more: &[&str]| json(&[&["evaluate", "--sample", text(&file), "--json"], more].concat());
    let recorded = evaluate(&[]);
    assert_figures(&recorded, by_hand(&rows, |row| row.predicted));
    assert!(recorded["threshold"].is_null() && recorded["source"] == "the decisions in the file", "{recorded}");
    let at = |threshold: f64| by_hand(&rows, |row| row.probability >= threshold);
    let typed = evaluate(&["--threshold", "0.9"]);
    assert_figures(&typed, at(0.9));
    assert!(at(0.9) != at(0.95), "or nothing is shown");
    assert_eq!((&typed["threshold"], &typed["source"]), (&0.9.into(), &"--threshold".into()));
    let curve = recorded["curve"].as_array().unwrap();
    assert!(curve.len() > 4, "{recorded}");
    curve.iter().for_each(|point| assert_figures(point, at(number(&point["threshold"]))));

    let wanted = evaluate(&["--target-precision", "0.9"]);
    let threshold = number(&wanted["threshold"]);
    assert_figures(&wanted, at(threshold));
    assert!(number(&wanted["precision"]["value"]) >= 0.9);
    let lower = rows.iter().filter(|row| row.label.is_some()).map(|row| row.probability).filter(|p| *p < threshold);
    assert!(lower.into_iter().all(|probability| at(probability).0 < 0.9), "{wanted}");
    let shown = mine(&["evaluate", "--sample", text(&file), "--target-precision", "0.9"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&format!("{threshold} is the lowest threshold with precision 0.9")), "{shown}");
    assert!(shown.contains("from 60 labels of 90 sampled pairs"), "{shown}");

    fill(&file, |_, at| (at < 50).then_some(false));
    let refused = mine_fails(&["evaluate", "--sample", text(&file), "--target-precision", "0.5"], 1);
    assert!(refused.contains("no threshold reaches precision 0.5") && refused.contains("hint: "), "{refused}");
    mine_fails(&["evaluate", "--sample", text(&file), "--target-precision", "1.5"], 2);
    mine_fails(&["evaluate", "--sample", text(&file), "--threshold", "7"], 2);
    mine_fails(&["evaluate", "--sample", text(&file), "--target-precision", "0.5", "--threshold", "0.5"], 2);
}

#[test]
fn a_run_decides_by_its_present_threshold_and_the_report_says_the_same() {
    let work = folder();
    let out = mined(work.path());
    let stem = work.path().join("labels");
    mine_ok(&["sample", "--run", text(&out), "--n", "90", "--output", text(&stem)]);
    let file = work.path().join("labels.csv");
    let rows = fill(&file, |row, at| (at % 4 != 1).then(|| rule(row)));
    let before = json(&["evaluate", text(&out), "--sample", text(&file), "--json"]);
    assert_figures(&before, by_hand(&rows, |row| row.predicted));
    mine_ok(&tiny(QUESTIONS, text(&out), &["--top-k", "5", "--min-cosine", "0.8", "--threshold", "0.9"]));
    for run in [vec![text(&out)], vec!["--run", text(&out)]] {
        let after = json(&[&["evaluate", "--sample", text(&file), "--json"], &run[..]].concat());
        assert_figures(&after, by_hand(&rows, |row| row.probability >= 0.9));
        assert_eq!(after["source"], "the run's threshold");
    }
    let without = json(&["evaluate", "--sample", text(&file), "--json"]);
    assert_eq!(without["precision"], before["precision"], "the file says what the run decided then");

    let page = work.path().join("page.html");
    mine_ok(&["report", text(&out), "--labels", text(&file), "--output", text(&page)]);
    let page = std::fs::read_to_string(page).unwrap();
    let (precision, recall) = by_hand(&rows, |row| row.probability >= 0.9);
    for (name, value) in [("precision", precision), ("recall", recall)] {
        let fact = format!("<dt>{name} at the threshold</dt><dd>{:.1} %", (100.0 * value).min(99.9));
        assert!(page.contains(&fact), "{fact}");
    }

    // ids of another run
    let other = work.path().join("other");
    let questions = work.path().join("other.parquet");
    write_rows(&questions, &[(-1, "how do i learn guitar".into()), (-2, "how do i learn a guitar".into())]);
    mine_ok(&tiny(text(&questions), text(&other), &[]));
    let refused = mine_fails(&["evaluate", text(&other), "--sample", text(&file)], 1);
    assert!(refused.contains("none of the") && refused.contains("is among its pairs"), "{refused}");
}

#[test]
fn a_second_sample_has_other_pairs_and_both_are_one_sample() {
    let work = folder();
    let out = mined(work.path());
    let path = |name: &str| work.path().join(name);
    let sample = |name: &str, more: &[&str]| {
        let stem = path(name);
        let arguments = ["sample", text(&out), "--output", text(&stem)];
        mine_ok(&[&arguments[..], more].concat())
    };
    sample("first", &["--n", "60"]);
    let first = fill(&path("first.csv"), |row, _| Some(rule(row)));
    let (one, two) = (path("first.csv"), path("second.csv"));
    sample("second", &["--n", "60", "--exclude", text(&one)]);
    let second = fill(&two, |row, _| Some(rule(row)));
    let ids = |rows: &[Row]| rows.iter().map(|row| row.ids).collect::<HashSet<_>>();
    assert!(ids(&first).is_disjoint(&ids(&second)) && second.len() == 60);

    let both = [first.clone(), second].concat();
    let files = ["evaluate", "--sample", text(&one), "--sample", text(&two), "--json"];
    assert_figures(&json(&files), by_hand(&both, |row| row.predicted));
    assert_eq!(json(&files)["labelled"], 120);
    let twice = mine_fails(&["evaluate", "--sample", text(&one), "--sample", text(&one)], 1);
    assert!(twice.contains("is labelled twice"), "{twice}");

    // without the first file the second sample would be the first
    sample("again", &["--n", "60"]);
    assert_eq!(ids(&fill(&path("again.csv"), |_, _| None)), ids(&first));
    let stderr = sample("rest", &["--n", "100000", "--exclude", text(&one), "--exclude", text(&two)]);
    let rest = ids(&fill(&path("rest.csv"), |_, _| None));
    let all = strings(&read(&out.join("pairs.parquet")), "kind").iter().filter(|kind| *kind == "semantic").count();
    assert_eq!(rest.len() + both.len(), all, "{stderr}");
    let files =
        ["--exclude", text(&one), "--exclude", text(&two), "--exclude", text(&path("rest.csv"))].map(String::from);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let stem = path("none");
    let refused = mine_fails(&[&["sample", text(&out), "--output", text(&stem)], &files[..]].concat(), 1);
    assert!(refused.contains("there is no other to label"), "{refused}");
    let exists = mine_fails(&["sample", text(&out), "--output", text(&path("first"))], 1);
    assert!(exists.contains("may hold labels") && exists.contains("--exclude"), "{exists}");

    // samples of different thresholds are cut differently
    mine_ok(&tiny(QUESTIONS, text(&out), &["--top-k", "5", "--min-cosine", "0.8", "--threshold", "0.9"]));
    sample("later", &["--n", "60"]);
    let refused = mine_fails(&["evaluate", "--sample", text(&one), "--sample", text(&path("later.csv"))], 1);
    assert!(refused.contains("contradict each other") && refused.contains("one run with one threshold"), "{refused}");
    mine_fails(&["sample", "--n", "5"], 2);
    mine_fails(&["sample", text(&out), "--run", text(&out)], 2);
}
