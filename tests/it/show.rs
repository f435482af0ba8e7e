//! `mine show` and `mine explain`: what they say must be what the files hold.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

fn run(output: &Path) {
    mine_ok(&tiny(text(&repo("fixtures/questions.parquet")), text(output), &[]));
}

fn stdout(arguments: &[&str]) -> String {
    let output = mine(arguments);
    assert!(output.status.success(), "mine {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

#[test]
fn the_overview_and_a_cluster_are_those_of_the_files() {
    let work = folder();
    let output = work.path().join("out");
    run(&output);
    let out = text(&output);
    let stats = read(&output.join("cluster_stats.parquet"));
    let (ids, sizes) = (i64s(&stats, "cluster_id"), u32s(&stats, "size"));
    let overview = json(&["show", out, "--json"]);
    let most = sizes.iter().max().unwrap();
    assert_eq!(overview["biggest_clusters"][0]["size"], *most);
    assert_eq!(overview["metrics"]["cluster.clusters"], ids.len() as f64);

    let at = sizes.iter().position(|size| size == most).unwrap();
    let id = ids[at].to_string();
    let cluster = json(&["show", out, "--cluster", &id, "--json"]);
    assert_eq!((&cluster["cluster_id"], cluster["members"].as_array().unwrap().len() as u32), (&ids[at].into(), *most));
    let clusters = read(&output.join("clusters.parquet"));
    let of: std::collections::HashMap<i64, i64> =
        i64s(&clusters, "id").into_iter().zip(i64s(&clusters, "cluster_id")).collect();
    let pairs = read(&output.join("pairs.parquet"));
    let (a, b) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"));
    let inside = |x: &i64| of.get(x) == Some(&ids[at]);
    let expected = a.iter().zip(&b).filter(|(a, b)| inside(a) && inside(b)).count();
    assert_eq!(cluster["pairs"].as_array().unwrap().len(), expected);
    assert!(expected > 0);
    let shown = stdout(&["show", out, "--cluster", &id]);
    assert!(shown.starts_with(&format!("cluster {id}: {most} questions")), "{shown}");
    // other scripts may hold characters without a width
    let fits = |line: &str| !line.is_ascii() || line.len() <= 110;
    assert!(shown.lines().all(fits), "fits where there is no terminal: {shown}");
}

#[test]
fn a_run_is_shown_from_any_folder() {
    let work = folder();
    std::fs::copy(repo("fixtures/questions.parquet"), work.path().join("q.parquet")).unwrap();
    let arguments = tiny("q.parquet", "out", &[]);
    assert!(command(&arguments).current_dir(work.path()).output().unwrap().status.success());
    let shown = json(&["show", text(&work.path().join("out")), "--question", "1", "--json"]);
    assert!(shown["text"].is_string(), "{shown}");
}

#[test]
fn a_question_says_why_it_is_where_it_is() {
    let work = folder();
    let output = work.path().join("out");
    let input = repo("fixtures/questions.parquet");
    mine_ok(&tiny(text(&input), text(&output), &["--min-cosine", "0.95", "--threshold", "0.97"]));
    let out = text(&output);
    let clusters = read(&output.join("clusters.parquet"));
    let clustered = i64s(&clusters, "id");
    let pairs = read(&output.join("pairs.parquet"));
    let paired = [i64s(&pairs, "id_a"), i64s(&pairs, "id_b")].concat();
    let why =
        |id: i64| json(&["show", out, "--question", &id.to_string(), "--json"])["why"].as_str().unwrap().to_string();
    let all = i64s(&read(&repo("fixtures/questions.parquet")), "id");
    let alone = all.iter().find(|id| !paired.contains(id)).expect("a question without a candidate");
    assert!(why(*alone).contains("reaches the minimum cosine 0.95"), "{}", why(*alone));
    let low = paired.iter().find(|id| !clustered.contains(id)).expect("a question with candidates and no cluster");
    assert!(why(*low).contains("below the threshold 0.97") || why(*low).contains("kept it out"), "{}", why(*low));
    let member = json(&["show", out, "--question", &clustered[0].to_string(), "--json"]);
    assert!(!member["cluster"].is_null() && !member["pairs"].as_array().unwrap().is_empty());
    assert!(stdout(&["show", out, "--question", &clustered[0].to_string()]).contains("why "));
}

#[test]
fn texts_in_the_terminal_cannot_act_and_skipped_rows_say_so() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_questions(&input, &["\x1b[2Jevil \u{202e}text", "\x1b[2Jevil \u{202e}text ", "  "]);
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let cluster = i64s(&read(&output.join("clusters.parquet")), "cluster_id")[0].to_string();
    for arguments in [vec!["show"], vec!["show", "--cluster", &cluster], vec!["show", "--question", "2"]] {
        let shown = stdout(&[&arguments[..1], &[text(&output)], &arguments[1..]].concat());
        assert!(!shown.contains(['\x1b', '\u{202e}']) && shown.contains("␛[2Jevil ⟨U+202E⟩text"), "{shown}");
    }
    let skipped = stdout(&["show", text(&output), "--question", "3"]);
    assert!(skipped.contains("its row was skipped: blank text"), "{skipped}");
}

#[test]
fn what_is_not_there_is_named() {
    let work = folder();
    let output = work.path().join("out");
    run(&output);
    let out = text(&output);
    let error = mine_fails(&["show", out, "--question", "99999999"], 1);
    assert!(
        error.contains("no question \"99999999\" in this run") && error.contains("hint: the most similar id is"),
        "{error}"
    );
    let clusters = read(&output.join("clusters.parquet"));
    let (ids, of) = (i64s(&clusters, "id"), i64s(&clusters, "cluster_id"));
    let at = (0..ids.len()).find(|&at| ids[at] != of[at]).unwrap();
    let error = mine_fails(&["show", out, "--cluster", &ids[at].to_string()], 1);
    assert!(error.contains(&format!("hint: question {} is in cluster {}", ids[at], of[at])), "{error}");
    let error = mine_fails(&["show", text(work.path())], 2);
    assert!(error.contains("holds no finished run: it has no manifest.json") && error.contains("hint:"), "{error}");
    mine_fails(&["show", out, "--cluster", "1", "--question", "1"], 2);
    std::fs::write(output.join("manifest.json"), "{}").unwrap();
    let error = mine_fails(&["show", out], 1);
    assert!(error.contains("manifest.json: not a manifest of mine"), "{error}");
}

#[test]
fn without_its_input_a_run_is_shown_by_ids() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    std::fs::copy(repo("fixtures/questions.parquet"), &input).unwrap();
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let with_texts = json(&["show", text(&output), "--json"]);
    // the output keeps the questions; without them the input is asked
    std::fs::write(&input, "changed").unwrap();
    assert_eq!(json(&["show", text(&output), "--json"]), with_texts);
    std::fs::remove_dir_all(output.join(".mine/questions")).unwrap();
    let warning = mine_ok(&["show", text(&output)]);
    assert!(warning.contains("has changed since the run: ids are shown without texts"), "{warning}");
    std::fs::remove_file(&input).unwrap();
    let without = json(&["show", text(&output), "--json"]);
    assert!(mine_ok(&["report", text(&output)]).contains("is gone: the report shows ids without texts"));
    let representative = |object: &Value| object["biggest_clusters"][0]["representative"].clone();
    assert_eq!(representative(&with_texts)["id"], representative(&without)["id"]);
    assert!(representative(&with_texts)["text"].is_string() && representative(&without)["text"].is_null());
    let page = std::fs::read_to_string(output.join("report.html")).unwrap();
    assert!(page.contains("Only ids are shown") && page.contains("text not available"));
}

#[test]
fn explain_agrees_with_a_run() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let (a, b, c) = ("how do i learn guitar", "how do i learn to play guitar", "tax in paris");
    write_questions(&input, &[a, b, c]);
    let (bi, cross) = (repo("fixtures/models/tiny-bert"), repo("fixtures/models/tiny-bert-cross"));
    let models =
        ["--bi-encoder", text(&bi), "--cross-encoder", text(&cross), "--min-cosine", "-1", "--threshold", "0.5"];
    mine_ok(&[&["--input", text(&input), "--output", text(&output)][..], &models].concat());
    let pairs = read(&output.join("pairs.parquet"));
    let number = |name: &str| f64::from(f32s(&pairs, name)[0].unwrap());
    let explained = json(&[&["explain", "--a", a, "--b", b, "--json"][..], &models].concat());
    for (ours, theirs) in [("cosine", "cosine"), ("score_ab", "score_ab"), ("probability", "probability")] {
        assert!((explained[ours].as_f64().unwrap() - number(theirs)).abs() < 1e-5, "{ours}: {explained}");
    }
    let tokens: Vec<&str> = explained["a"]["tokens"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!((tokens[0], tokens[tokens.len() - 1]), ("[CLS]", "[SEP]"));
    assert!(tokens.len() > 5 && tokens.iter().all(|token| !token.is_empty()), "{tokens:?}");
    let floored =
        [&["explain", "--a", a, "--b", c][..], &models[..4], &["--min-cosine", "1", "--threshold", "0.5"]].concat();
    let shown = stdout(&floored);
    assert!(
        shown.contains("below the minimum cosine 1: a run would not look at the pair")
            && shown.contains("not duplicates"),
        "{shown}"
    );
    let same = json(&[&["explain", "--a", " a  b", "--b", "a b", "--json"][..], &models].concat());
    assert_eq!((&same["same"], &same["probability"]), (&"normalised".into(), &1.0.into()));
    let error = mine_fails(&["explain", "--a", " ", "--b", "x"], 2);
    assert!(error.contains("--a is blank"), "{error}");
}
