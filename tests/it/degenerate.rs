//! Corpora at the edges: none, one, two, all alike, k larger than the corpus.

use clap::ValueEnum;
use dupmine::clustering::Algorithm;

use crate::support::*;

fn run(texts: &[&str], more: &[&str]) -> (tempfile::TempDir, std::collections::BTreeMap<String, f64>) {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_questions(&input, texts);
    mine_ok(&tiny(text(&input), text(&output), more));
    let metrics = metrics(&output);
    (work, metrics)
}

#[test]
fn tiny_corpora_behave_with_every_engine_and_algorithm() {
    for engine in ["exact", "hnsw", "auto"] {
        for clustering in Algorithm::value_variants() {
            let clustering = clustering.name();
            let more = ["--index", engine, "--clustering", clustering, "--top-k", "100"];
            let (_work, none) = run(&[], &more);
            assert_eq!((none["read.rows_out"], none["candidates.rows_out"]), (0.0, 0.0));
            let (_work, one) = run(&["only one question"], &more);
            assert_eq!((one["read.rows_out"], one["cluster.clusters"]), (1.0, 0.0));
            let (_work, two) = run(&["how are you", "how are you?"], &more);
            assert_eq!((two["read.rows_out"], two["candidates.rows_out"]), (2.0, 1.0));
        }
    }
}

#[test]
fn texts_of_which_the_vocabulary_knows_nothing_are_no_duplicates() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let questions = ["ทำไมท้องฟ้าเป็นสีฟ้า", "ฉันจะหุงข้าวได้อย่างไร", "🦀🦀?", "🙃!", "how are you", "how are you?"];
    write_questions(&input, &questions);
    let said = mine_ok(&["--input", text(&input), "--output", text(&output), "--rerank-floor", "-1"]);
    assert!(said.contains("4 texts hold no word that the vocabulary of built-in bi-encoder knows"), "{said}");
    let pairs = read(&output.join("pairs.parquet"));
    assert_eq!((i64s(&pairs, "id_a"), i64s(&pairs, "id_b")), (vec![5], vec![6]));
    assert_eq!(metrics(&output)["embed.unknown"], 4.0);
    // the vectors are kept, and so is what they lack
    let said = mine_ok(&["--input", text(&input), "--output", text(&output), "--threshold", "0.7", "--force"]);
    assert!(said.contains("4 texts hold no word") && !said.contains("loading built-in bi-encoder"), "{said}");
    let explained = json(&["explain", "--json", "--a", questions[0], "--b", questions[1]]);
    assert_eq!((&explained["is_candidate"], &explained["is_duplicate"]), (&false.into(), &false.into()));
    assert!(explained["why"][0].as_str().unwrap().contains("knows no word of a text"), "{explained}");
    let none = work.path().join("none.csv");
    std::fs::write(&none, "id,text\n").unwrap();
    let arguments = ["--input", text(&none), "--output", text(&output), "--cross-encoder", "none", "--force"];
    let said = mine_ok(&[&arguments[..], &["--rerank-floor", "0"]].concat());
    assert!(said.contains("holds no questions") && said.contains("--rerank-floor has no effect"), "{said}");
}

#[test]
fn all_questions_alike_make_one_cluster_and_linear_pairs() {
    let texts = vec!["the same question"; 500];
    let (work, metrics) = run(&texts, &[]);
    assert_eq!((metrics["pairs.exact"], metrics["cluster.clusters"], metrics["cluster.largest"]), (499.0, 1.0, 500.0));
    let clusters = read(&work.path().join("out/clusters.parquet"));
    assert_eq!(clusters.num_rows(), 500);
    assert!(f32s(&clusters, "probability_to_representative").iter().all(|&p| p == Some(1.0)));
    let stats = read(&work.path().join("out/cluster_stats.parquet"));
    assert_eq!(f32s(&stats, "density"), [Some(1.0)]);
}

#[test]
fn k_cuts_each_question_and_says_so() {
    // near-copies of one question: every pair is above the floor, so k decides
    let texts: Vec<String> = (0..40).map(|n| format!("how do i get {n} books")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_questions(&input, &texts);
    let stderr = mine_ok(&tiny(text(&input), text(&output), &["--top-k", "3", "--min-cosine", "-1"]));
    assert!(stderr.contains("have more than 3 neighbours above the minimum cosine"), "{stderr}");
    let metrics = metrics(&output);
    assert_eq!(metrics["candidates.texts_with_more_than_k_above_floor"], 40.0);
    assert_eq!(metrics["candidates.neighbours_below_floor"], 0.0);
    let pairs = read(&output.join("pairs.parquet"));
    let (a, b) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"));
    assert!((60..=120).contains(&a.len()), "40 questions with 3 neighbours each: {}", a.len());
    assert!(a.iter().zip(&b).all(|(a, b)| a < b), "no question with itself, each pair once");
    let mut unique: Vec<(i64, i64)> = a.into_iter().zip(b).collect();
    unique.dedup();
    assert_eq!(unique.len(), pairs.num_rows());
}

#[test]
fn what_the_floor_drops_is_counted() {
    let texts = ["how are you", "how are you?", "why is the sky blue", "what time is it in new york"];
    let (_work, all) = run(&texts, &["--min-cosine", "-1", "--top-k", "2"]);
    let (_work, some) = run(&texts, &["--min-cosine", "0.95", "--top-k", "2"]);
    assert_eq!(all["candidates.neighbours_below_floor"], 0.0);
    assert!(some["candidates.neighbours_below_floor"] > 0.0);
    assert!(some["candidates.rows_out"] < all["candidates.rows_out"]);
}
