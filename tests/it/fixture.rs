//! The fixture with the built-in model: the README's first command, and what it must find.

use std::collections::{HashMap, HashSet};

use crate::support::*;

/// Share of the gold pairs that are clustered together.
fn found(gold: &HashSet<(i64, i64)>, cluster_of: &HashMap<i64, i64>) -> f64 {
    let together = |a: &i64, b: &i64| cluster_of.contains_key(a) && cluster_of.get(a) == cluster_of.get(b);
    let found = gold.iter().filter(|(a, b)| together(a, b)).count() as f64 / gold.len() as f64;
    println!("{:.1} % of the gold pairs are clustered together", 100.0 * found);
    found
}

#[test]
fn the_readme_command_finds_the_known_duplicates() {
    let work = folder();
    let output = work.path().join("mined");
    let input = repo("fixtures/questions.parquet");
    let stderr = mine_ok(&["--input", text(&input), "--top-k", "100", "--output", text(&output)]);
    for line in ["questions  556", "clusters   ", "biggest clusters", "rerank", "results    "] {
        assert!(stderr.contains(line), "no {line:?} in\n{stderr}");
    }

    let gold = read(&repo("fixtures/questions-gold.parquet"));
    let gold: HashSet<(i64, i64)> = i64s(&gold, "id_a").into_iter().zip(i64s(&gold, "id_b")).collect();
    let clusters = read(&output.join("clusters.parquet"));
    let cluster_of: HashMap<i64, i64> = i64s(&clusters, "id").into_iter().zip(i64s(&clusters, "cluster_id")).collect();
    let together = |a: &i64, b: &i64| cluster_of.contains_key(a) && cluster_of.get(a) == cluster_of.get(b);
    // the built-in cross-encoder knows English alone and leaves out what it is not sure of: few, but all of them right
    let found = found(&gold, &cluster_of);
    assert!(found > 0.12, "{found}");
    let clustered: Vec<(&i64, &i64)> = cluster_of.iter().collect();
    for (at, (a, of_a)) in clustered.iter().enumerate() {
        for (b, _) in clustered[at + 1..].iter().filter(|(_, of_b)| of_a == of_b) {
            assert!(gold.contains(&(**a.min(b), **a.max(b))), "{a} and {b} are no duplicates");
        }
    }

    // copies are certain, whatever the model
    let pairs = read(&output.join("pairs.parquet"));
    let kinds = strings(&pairs, "kind");
    let (a, b) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"));
    let copies: Vec<usize> = (0..pairs.num_rows()).filter(|&row| kinds[row] != "semantic").collect();
    assert!(copies.len() >= 18, "{}", copies.len());
    assert!(copies.iter().all(|&row| gold.contains(&(a[row], b[row])) && together(&a[row], &b[row])));
    let metrics = metrics(&output);
    assert_eq!(metrics["pairs.exact"] + metrics["pairs.normalised"], copies.len() as f64);
    assert_eq!(metrics["candidates.recall_above_floor"], 1.0);

    let alone = ["--input", text(&input), "--output", text(&output), "--cross-encoder", "none", "--force", "--quiet"];
    mine_ok(&alone);
    let clusters = read(&output.join("clusters.parquet"));
    let by_cosine = i64s(&clusters, "id").into_iter().zip(i64s(&clusters, "cluster_id")).collect();
    assert!(self::found(&gold, &by_cosine) > 0.15);

    // the fixture is hard on purpose: most of its paraphrases lie below the floor measured on Quora, and show above 0.3
    let cosine = ["--cross-encoder", "none", "--min-cosine", "0.3", "--force"];
    let stderr = mine_ok(&[&["--input", text(&input), "--output", text(&output)], &cosine[..]].concat());
    assert!(stderr.contains("decided by cosine alone"), "{stderr}");
    let pairs = read(&output.join("pairs.parquet"));
    let candidates: HashSet<(i64, i64)> = i64s(&pairs, "id_a").into_iter().zip(i64s(&pairs, "id_b")).collect();
    let reached = gold.iter().filter(|pair| candidates.contains(pair)).count() as f64 / gold.len() as f64;
    println!("{:.0} % of the gold pairs are candidates at floor 0.3", 100.0 * reached);
    assert!(reached > 0.8, "{reached}");
}
