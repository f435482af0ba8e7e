//! What `mine report` makes of labels: every form of them, and what other thresholds would give.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::evaluate::QUESTIONS;
use crate::report::{chromium, visit};
use crate::support::*;

fn mined(work: &Path, threshold: &str) -> PathBuf {
    let out = work.join("mined");
    mine_ok(&tiny(QUESTIONS, text(&out), &["--top-k", "5", "--min-cosine", "0.8", "--threshold", threshold]));
    out
}

fn page(out: &Path, labels: &Path, more: &[&str]) -> (String, String) {
    let file = out.join("labels.html");
    let stderr = mine_ok(&[&["report", text(out), "--labels", text(labels), "--output", text(&file)], more].concat());
    (std::fs::read_to_string(file).unwrap(), stderr)
}

fn fact(page: &str, name: &str) -> String {
    let start = format!("<dt>{name}</dt><dd>");
    let rest = page.split(&start).nth(1).unwrap_or_else(|| panic!("no {name}"));
    rest.split("</dd>").next().unwrap().to_string()
}

/// The table of thresholds: its cells by the threshold.
fn thresholds(page: &str) -> BTreeMap<String, [String; 4]> {
    let table = page.split("<table id=\"threshold-table\">").nth(1).expect("a table").split("</table>").next().unwrap();
    let rows = table.split("<tr data-place=").skip(1).map(|row| {
        let cells: Vec<&str> =
            row.split("<td class=\"n\">").skip(1).map(|cell| cell.split('<').next().unwrap()).collect();
        (cells[0].to_string(), [cells[1], cells[2], cells[3], cells[4]].map(String::from))
    });
    rows.collect()
}

#[test]
fn another_threshold_gives_what_the_page_says() {
    let work = folder();
    let out = mined(work.path(), "0.95");
    let pairs = read(&out.join("pairs.parquet"));
    let (a, b, p) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"), f32s(&pairs, "probability"));
    let kinds = strings(&pairs, "kind");
    let semantic: Vec<usize> = (0..kinds.len()).filter(|&row| kinds[row] == "semantic").collect();
    let is_duplicate = |row: usize| p[row].unwrap() > 0.85 + 0.01 * ((a[row] + b[row]) % 10) as f32;
    let mut csv = String::from("id_a,id_b,is_duplicate\n");
    for &row in semantic.iter().step_by(2) {
        csv += &format!("{},{},{}\n", a[row], b[row], is_duplicate(row));
    }
    let labels = work.path().join("labels.csv");
    std::fs::write(&labels, csv).unwrap();
    let (page, _) = page(&out, &labels, &[]);
    let rows = thresholds(&page);
    assert!(rows.len() >= 35 && page.matches("class=\"own\"").count() == 1, "{}", rows.len());
    assert!(page.contains("<input id=\"threshold-slider\" type=\"range\"") && page.len() < 10_000_000);
    for threshold in ["0.95", "0.9", "0.87"] {
        let [precision, recall, duplicates, clusters] = &rows[threshold];
        let t: f32 = threshold.parse().unwrap();
        let of = |keep: &dyn Fn(usize) -> bool| semantic.iter().step_by(2).filter(|row| keep(**row)).count() as f64;
        let called = of(&|row| p[row].unwrap() >= t);
        let hits = of(&|row| p[row].unwrap() >= t && is_duplicate(row));
        let shown = |share: f64| format!("{:.1} %", if share < 1.0 { (100.0 * share).min(99.9) } else { 100.0 });
        assert_eq!((precision, recall), (&shown(hits / called), &shown(hits / of(&is_duplicate))), "{threshold}");
        // a run at this threshold has these pairs and clusters
        let other = work.path().join(format!("at {threshold}"));
        mine_ok(&tiny(QUESTIONS, text(&other), &["--top-k", "5", "--min-cosine", "0.8", "--threshold", threshold]));
        let metrics = json(&["show", text(&other), "--json"])["metrics"].clone();
        let metric = |name: &str| metrics[name].as_f64().unwrap().to_string();
        assert_eq!(duplicates.replace(',', ""), metric("pairs.duplicates"), "{threshold}");
        assert_eq!(clusters.replace(',', ""), metric("cluster.clusters"), "{threshold}");
    }
    // a run writes no such table: it has no labels
    assert!(!std::fs::read_to_string(out.join("report.html")).unwrap().contains("threshold-table\">"));
}

#[test]
fn in_a_browser_the_slider_begins_at_the_threshold_of_the_run() {
    let Some(browser) = chromium() else { return };
    let work = folder();
    let out = mined(work.path(), "0.95");
    let pairs = read(&out.join("pairs.parquet"));
    let (a, b, p) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"), f32s(&pairs, "probability"));
    let line = |row: usize| format!("{},{},{}\n", a[row], b[row], p[row].unwrap() > 0.9);
    let labels = work.path().join("labels.csv");
    std::fs::write(&labels, (0..a.len()).map(line).fold("id_a,id_b,is_duplicate\n".to_string(), |all, row| all + &row))
        .unwrap();
    page(&out, &labels, &[]);
    let seen = visit(&browser, work.path(), &out.join("labels.html"), "");
    assert!(!seen.log.contains("CONSOLE"), "the console is silent: {}", seen.log);
    assert!(seen.dom.contains("<div id=\"threshold-control\">"), "the control is shown");
    assert!(seen.dom.contains("<strong id=\"threshold-value\">0.95</strong>"));
    assert!(seen.dom.contains("class=\"own chosen\"") && seen.dom.contains("id=\"threshold-line\""));
}

#[test]
fn labels_of_every_form_are_taken() {
    let work = folder();
    let out = mined(work.path(), "0.9");
    let questions = read(Path::new(QUESTIONS));
    let texts: HashMap<i64, String> = i64s(&questions, "id").into_iter().zip(strings(&questions, "text")).collect();
    let pairs = read(&out.join("pairs.parquet"));
    let (a, b, p) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"), f32s(&pairs, "probability"));
    let kinds = strings(&pairs, "kind");
    let rows: Vec<usize> = (0..kinds.len()).filter(|&row| kinds[row] == "semantic").step_by(3).collect();
    let file = |name: &str, header: &[&str], lines: &mut dyn Iterator<Item = Vec<String>>| {
        let path = work.path().join(name);
        let mut writer = csv::Writer::from_path(&path).unwrap();
        writer.write_record(header).unwrap();
        lines.for_each(|line| writer.write_record(&line).unwrap());
        writer.flush().unwrap();
        path
    };
    let label = |row: usize| if p[row].unwrap() >= 0.93 { "1".to_string() } else { "0".to_string() };
    let by_id = file(
        "ids.csv",
        &["id_a", "id_b", "is_duplicate"],
        &mut rows.iter().map(|&row| vec![a[row].to_string(), b[row].to_string(), label(row)]),
    );
    let by_text = file(
        "texts.csv",
        &["q1", "question2", "is_duplicate"],
        &mut rows.iter().map(|&row| {
            // white space does not make another question
            vec![format!("{} ", texts[&a[row]]), texts[&b[row]].clone(), label(row)]
        }),
    );
    let (of_ids, _) = page(&out, &by_id, &[]);
    let (of_texts, _) = page(&out, &by_text, &["--question1-column", "q1"]);
    assert_eq!(fact(&of_ids, "labelled pairs"), rows.len().to_string());
    for name in ["labelled pairs", "precision at the threshold", "recall at the threshold", "average precision"] {
        assert_eq!(fact(&of_ids, name), fact(&of_texts, name), "{name}");
    }

    // groups: two questions of one group are duplicates, two of different groups that the run paired are none
    let paired: Vec<(i64, i64)> =
        (0..kinds.len()).filter(|&row| kinds[row] == "semantic").map(|row| (a[row], b[row])).collect();
    let near_of = |id: i64| -> Vec<i64> {
        let near = paired.iter().filter(|(a, b)| *a == id || *b == id);
        near.map(|&(a, b)| if a == id { b } else { a }).collect()
    };
    let first = paired.iter().map(|pair| pair.0).find(|&id| near_of(id).len() >= 2).unwrap();
    let others = near_of(first);
    let (second, third) = (others[0], others[1]);
    let lines = [(first, "x"), (second, "x"), (third, "y")];
    let mut lines = lines.iter().map(|(id, group)| vec![id.to_string(), group.to_string()]);
    let groups = file("groups.csv", &["id", "group"], &mut lines);
    let (of_groups, _) = page(&out, &groups, &[]);
    let is_paired = |a: i64, b: i64| paired.contains(&(a.min(b), a.max(b)));
    let others = [first, second].into_iter().filter(|&id| is_paired(id, third)).count();
    assert!(others > 0);
    assert_eq!(fact(&of_groups, "labelled pairs"), (1 + others).to_string());
    let duplicates =
        file("duplicates.csv", &["id_a", "id_b"], &mut [vec![first.to_string(), second.to_string()]].into_iter());
    let (of_duplicates, stderr) = page(&out, &duplicates, &[]);
    assert!(stderr.contains("no column \"is_duplicate\": all of its 1 pairs count as duplicates"), "{stderr}");
    assert_eq!(fact(&of_duplicates, "labelled pairs"), "1");
}

#[test]
fn every_cluster_is_listed_once_and_options_have_their_effect() {
    let work = folder();
    let out = work.path().join("mined");
    mine_ok(&tiny(QUESTIONS, text(&out), &[]));
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    let section = page.split("<section id=\"clusters\">").nth(1).unwrap().split("</section>").next().unwrap();
    let mut ids: Vec<&str> =
        section.split("Cluster <code>").skip(1).map(|rest| rest.split("</code>").next().unwrap()).collect();
    let listed = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == listed && listed > 15, "{listed} clusters, {} different", ids.len());
    assert_eq!(section.matches("<span class=\"tag\">biggest</span>").count(), 15);
    assert_eq!(section.matches("<span class=\"tag\">least cohesive</span>").count(), 15);
    assert!(section.contains("<span class=\"tag review\">review</span>"));
    assert!(page.contains("<dt>rerank-floor</dt><dd><bdi>none: there is no cross-encoder</bdi>"));
    assert!(page.contains("<dt>index</dt><dd><bdi>exact, chosen by auto</bdi>"));
    assert!(page.contains("nav { position: sticky;") && page.contains("flex-wrap: wrap; gap: .2rem"));
    assert!(!page.contains("<th>BLAKE3</th>"));

    let built_in = work.path().join("built-in");
    let few = work.path().join("few.parquet");
    write_questions(&few, &["how do i learn guitar", "how do i learn to play guitar", "tax in paris"]);
    mine_ok(&["--input", text(&few), "--output", text(&built_in)]);
    let page = std::fs::read_to_string(built_in.join("report.html")).unwrap();
    assert!(page.contains("<dt>rerank-floor</dt><dd><bdi>0.7671911, measured for the two models</bdi>"), "the floor");
}
