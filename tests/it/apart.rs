//! Duplicates in different clusters: `mine show --question` says so and why, and `mine explain` takes ids of a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::evaluate::{BI, CROSS, QUESTIONS};
use crate::support::*;

/// A run whose threshold is so low that the clustering has to keep many duplicates apart.
fn mined(work: &Path) -> PathBuf {
    let out = work.join("mined");
    mine_ok(&tiny(QUESTIONS, text(&out), &["--threshold", "0.92", "--top-k", "600", "--min-cosine", "0.3"]));
    out
}

fn stdout(arguments: &[&str]) -> String {
    let output = mine(arguments);
    assert!(output.status.success(), "mine {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The pairs of a run by their ids: probability and decision.
fn pairs_of(out: &Path) -> HashMap<(i64, i64), (f32, bool)> {
    let pairs = read(&out.join("pairs.parquet"));
    let ids = i64s(&pairs, "id_a").into_iter().zip(i64s(&pairs, "id_b"));
    let scores = f32s(&pairs, "probability").into_iter().map(Option::unwrap).zip(bools(&pairs, "is_duplicate"));
    ids.zip(scores).collect()
}

fn clusters_of(out: &Path) -> HashMap<i64, i64> {
    let clusters = read(&out.join("clusters.parquet"));
    i64s(&clusters, "id").into_iter().zip(i64s(&clusters, "cluster_id")).collect()
}

#[test]
fn a_duplicate_in_another_cluster_is_named_with_the_pair_that_rules_it_out() {
    let work = folder();
    let out = mined(work.path());
    let (pairs, clusters) = (pairs_of(&out), clusters_of(&out));
    let place = |id: i64| clusters.get(&id).copied();
    let apart = |a: i64, b: i64| place(a).is_none() || place(a) != place(b);
    let limit = 0.92_f32 * 0.85;
    let mut seen = [0; 2];
    let mut ids: Vec<i64> =
        pairs.iter().filter(|((a, b), pair)| pair.1 && apart(*a, *b)).map(|(ids, _)| ids.0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() > 3, "the threshold is low enough to keep duplicates apart");
    for id in ids.into_iter().take(12) {
        let typed = id.to_string();
        let shown = json(&["show", text(&out), "--question", &typed, "--json"]);
        for pair in shown["pairs"].as_array().unwrap() {
            let [a, b] = ["id_a", "id_b"].map(|name| pair[name].as_i64().unwrap());
            let other = if a == id { b } else { a };
            assert_eq!(pair["other_cluster_id"].as_i64(), place(other));
            assert_eq!(pair["in_same_cluster"], !apart(id, other));
        }
        let expected = pairs.iter().filter(|((a, b), pair)| pair.1 && (*a == id || *b == id) && apart(*a, *b)).count();
        let named = shown["apart"].as_array().unwrap();
        assert_eq!(named.len(), expected);
        for duplicate in named {
            let other = duplicate["id"].as_i64().unwrap();
            let members = |id: i64| match place(id) {
                Some(cluster) => clusters.iter().filter(|(_, of)| **of == cluster).map(|(id, _)| *id).collect(),
                None => vec![id],
            };
            let low = |keep: &dyn Fn(i64) -> bool| {
                let between = members(id).into_iter().flat_map(|a| members(other).into_iter().map(move |b| (a, b)));
                let kept = between.filter(|(a, b)| keep(*a) || keep(*b)).map(|(a, b)| (a.min(b), a.max(b)));
                kept.filter_map(|ids| pairs.get(&ids)).map(|pair| pair.0).fold(f32::INFINITY, f32::min)
            };
            let (own, any) = (low(&|member| member == id || member == other), low(&|_| true));
            let low = if own < limit { own } else { any };
            let why = duplicate["why"].as_str().unwrap();
            if low < limit {
                assert_eq!(duplicate["ruled_out_by"]["probability"].as_f64().unwrap() as f32, low);
                assert!(why.contains(&format!("have {low:.4}: a pair below 0.7820 keeps two clusters apart")), "{why}");
                seen[0] += 1;
            } else {
                assert!(duplicate["ruled_out_by"].is_null());
                assert!(why.contains("no pair between them rules it out"), "{why}");
                seen[1] += 1;
            }
        }
        let lines = stdout(&["show", text(&out), "--question", &typed]);
        assert!(
            lines.contains("cluster") && lines.contains("duplicates that are not in its cluster, and why"),
            "{lines}"
        );
        if place(id).is_none() {
            assert!(shown["why"].as_str().unwrap().contains("kept it out"), "{}", shown["why"]);
        }
    }
    assert!(seen[0] > 0, "a ruled out pair is among them: {seen:?}");
}

#[test]
fn explain_takes_ids_of_a_run() {
    let work = folder();
    let out = work.path().join("mined");
    let models = ["--bi-encoder", BI, "--cross-encoder", CROSS, "--min-cosine", "0.9", "--threshold", "0.6"];
    mine_ok(&[&["--input", QUESTIONS, "--output", text(&out)][..], &models].concat());
    let (pairs, clusters) = (read(&out.join("pairs.parquet")), clusters_of(&out));
    let (a, b) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"));
    let (p, kinds) = (f32s(&pairs, "probability"), strings(&pairs, "kind"));
    let questions = read(Path::new(QUESTIONS));
    let texts: HashMap<i64, String> = i64s(&questions, "id").into_iter().zip(strings(&questions, "text")).collect();
    let semantic: Vec<usize> = (0..kinds.len()).filter(|&row| kinds[row] == "semantic").step_by(7).take(5).collect();
    for row in semantic {
        let (first, second) = (a[row].to_string(), b[row].to_string());
        for run in [vec![text(&out)], vec!["--run", text(&out)]] {
            let arguments = [&["explain"], &run[..], &["--a", &first, "--b", &second, "--json"]].concat();
            let explained = json(&arguments);
            assert_eq!(explained["a"]["text"], texts[&a[row]].as_str());
            let probability = |value: &Value| value.as_f64().unwrap() as f32;
            assert!((probability(&explained["probability"]) - p[row].unwrap()).abs() < 1e-4, "{explained}");
            assert_eq!(probability(&explained["run"]["pair"]["probability"]), p[row].unwrap());
            assert_eq!(explained["threshold"].as_f64().unwrap() as f32, 0.6);
            let same = clusters.contains_key(&a[row]) && clusters.get(&a[row]) == clusters.get(&b[row]);
            assert_eq!(explained["run"]["in_same_cluster"], same);
            assert_eq!(explained["run"]["cluster_ids"][1].as_i64(), clusters.get(&b[row]).copied());
        }
        let lines = stdout(&["explain", text(&out), "--a", &second, "--b", &first]);
        assert!(lines.contains("the run said") && lines.contains("cluster"), "{lines}");
    }

    let copy = (0..kinds.len()).find(|&row| kinds[row] == "exact").unwrap();
    let (first, second) = (a[copy].to_string(), b[copy].to_string());
    let explained = json(&["explain", text(&out), "--a", &first, "--b", &second, "--json"]);
    assert_eq!((&explained["same"], &explained["run"]["in_same_cluster"]), (&"exact".into(), &true.into()));
    let known: Vec<(i64, i64)> = a.iter().copied().zip(b.iter().copied()).collect();
    let ids = i64s(&questions, "id");
    let far =
        ids.iter().find(|id| texts[*id] != texts[&a[0]] && !known.contains(&(a[0].min(**id), a[0].max(**id)))).unwrap();
    let explained = json(&["explain", text(&out), "--a", &a[0].to_string(), "--b", &far.to_string(), "--json"]);
    assert!(explained["run"]["pair"].is_null(), "{explained}");
    assert!(explained["run"]["said"][0].as_str().unwrap().starts_with("not compared: "));

    let refused = mine_fails(&["explain", text(&out), "--a", "99999999", "--b", &first], 1);
    assert!(refused.contains("no question \"99999999\" in this run") && refused.contains("hint: "), "{refused}");
    mine_fails(&["explain", text(&out), "--a", &first, "--b", &second, "--threshold", "0.5"], 2);
    mine_fails(&["explain", text(&out), "--a", &first, "--b", &first], 2);
}
