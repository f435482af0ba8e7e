//! Flags, pipeline files, caching, reproducibility.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::Float32Type;

use crate::support::*;

fn fixture() -> String {
    text(&repo("fixtures/questions.parquet")).to_string()
}

fn plan(arguments: &[&str]) -> Vec<String> {
    let output = mine(&[arguments, &["--plan"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

#[test]
fn a_pipeline_file_and_its_flags_are_the_same_run() {
    let work = folder();
    let (by_flags, by_file) = (work.path().join("flags"), work.path().join("file"));
    mine_ok(&tiny(&fixture(), text(&by_flags), &["--top-k", "7", "--clustering", "star"]));
    let pipeline = work.path().join("p.toml");
    let model = repo("fixtures/models/tiny-bert");
    let toml = format!(
        "bi-encoder = {:?}\ncross-encoder = \"none\"\nmin-cosine = 0.7\nthreshold = 0.9\ntop-k = 50\nclustering = \"components\"\n\
         run-time = {RUN_TIME:?}\n",
        text(&model)
    );
    std::fs::write(&pipeline, toml).unwrap();
    let set_input = format!("input={}", fixture());
    let set_output = format!("output={}", text(&by_file));
    let arguments =
        ["run", text(&pipeline), "--set", &set_input, "--set", &set_output, "--set", "clustering=star", "--top-k", "7"];
    mine_ok(&arguments);
    assert_same_results(&by_flags, &by_file);
}

#[test]
fn pipeline_errors_name_file_line_and_key() {
    let work = folder();
    let pipeline = work.path().join("p.toml");
    std::fs::write(&pipeline, "input = \"q.parquet\"\n\ntreshold = 0.5\n").unwrap();
    let error = mine_fails(&["run", text(&pipeline)], 2);
    assert!(error.contains("p.toml: line 3: unknown key `treshold`; the nearest known key is `threshold`"), "{error}");
    std::fs::write(&pipeline, "input = \"q.parquet\"\nindex = \"flat\"\n").unwrap();
    let error = mine_fails(&["run", text(&pipeline)], 2);
    assert!(error.contains("p.toml: line 2: key `index`") && error.contains("hnsw"), "{error}");
    let error = mine_fails(&["run", text(&repo("pipelines/mine.toml")), "--set", "topk=5"], 2);
    assert!(error.contains("--set topk=5: unknown key `topk`; the nearest known key is `top-k`"), "{error}");
}

#[test]
fn the_plan_says_what_is_stale_and_why() {
    let work = folder();
    let output = work.path().join("out");
    let (input, output) = (fixture(), text(&output).to_string());
    let arguments = tiny(&input, &output, &[]);
    let before = plan(&arguments);
    assert!(
        before[0].starts_with("embed") && before[0].ends_with("texts have no vector: never ran here"),
        "{before:?}"
    );
    assert!(!Path::new(&output).exists(), "a plan creates nothing");
    mine_ok(&arguments);
    assert!(plan(&arguments).iter().all(|line| line.ends_with("fresh")), "{:?}", plan(&arguments));
    let other_k = tiny(&input, &output, &["--top-k", "3"]);
    let lines = plan(&other_k);
    assert!(lines[0].ends_with("fresh"), "{lines:?}");
    assert!(lines[1].starts_with("candidates") && lines[1].contains("changed: top-k"), "{lines:?}");
    assert!(lines[2].starts_with("cluster") && lines[2].contains("after candidates"), "{lines:?}");
    assert_eq!(lines.len(), 3);
    // columns that are named and would be taken anyway change nothing
    let named = plan(&tiny(&input, &output, &["--text-column", "text", "--id-column", "id", "--force"]));
    assert!(named.iter().all(|line| line.ends_with("fresh")), "{named:?}");
    let clustered = plan(&tiny(&input, &output, &["--clustering", "star", "--force"]));
    assert!(
        clustered[1].ends_with("fresh") && clustered[2].contains("its options, ids or column of --keep changed"),
        "{clustered:?}"
    );
}

#[test]
fn fresh_stages_are_not_run_again() {
    let work = folder();
    let output = work.path().join("out");
    let input = fixture();
    mine_ok(&tiny(&input, text(&output), &[]));
    let manifest = || std::fs::read_to_string(output.join("manifest.json")).unwrap();
    let kept = work.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    for file in RESULTS {
        std::fs::copy(output.join(file), kept.join(file)).unwrap();
    }
    let before = manifest();
    let said = mine_ok(&tiny(&input, text(&output), &[]));
    for stage in ["embed cached", "candidates cached", "write cached"] {
        assert!(said.contains(stage), "{said}");
    }
    assert!(said.contains("version    1: nothing changed since its run at"), "{said}");
    assert_same_results(&kept, &output);
    assert_eq!(manifest(), before, "the figures are those of the run that computed");
    // a new threshold clusters again and computes nothing else
    mine_ok(&tiny(&input, text(&output), &["--force", "--threshold", "0.97"]));
    let stages: serde_json::Value = serde_json::from_str(&manifest()).unwrap();
    assert_eq!(stages["stages"].as_array().unwrap().iter().filter(|s| s["cached"] == true).count(), 2, "{stages}");
}

#[test]
fn results_of_other_options_are_kept_and_foreign_files_are_refused_without_force() {
    let work = folder();
    let output = work.path().join("out");
    let input = fixture();
    mine_ok(&tiny(&input, text(&output), &[]));
    let before = std::fs::read(output.join("pairs.parquet")).unwrap();
    let said = mine_ok(&tiny(&input, text(&output), &["--top-k", "2"]));
    assert!(
        said.contains("changed    --top-k was 100 and is now 2") && said.contains("version 1 is kept: mine rollback "),
        "{said}"
    );
    assert_ne!(before, std::fs::read(output.join("pairs.parquet")).unwrap());
    assert_eq!(before, std::fs::read(output.join(".mine/versions/000001/pairs.parquet")).unwrap());

    std::fs::write(output.join("manifest.json"), "{\"run_id\": 3}").unwrap();
    let error = mine_fails(&tiny(&input, text(&output), &[]), 1);
    assert!(error.contains("manifest.json: not a manifest of mine") && error.contains("--force"), "{error}");

    let foreign = work.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("pairs.parquet"), "somebody's own").unwrap();
    let error = mine_fails(&tiny(&input, text(&foreign), &[]), 1);
    assert!(error.contains("holds a pairs.parquet without a manifest"), "{error}");
    assert_eq!(std::fs::read(foreign.join("pairs.parquet")).unwrap(), b"somebody's own");
}

#[test]
fn the_same_command_over_a_grown_corpus_needs_no_force() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_questions(&input, &["how are you", "how are you"]);
    mine_ok(&tiny(text(&input), text(&output), &[]));
    write_questions(&input, &["how are you", "how are you", "how  are you"]);
    mine_ok(&tiny(text(&input), text(&output), &[]));
    assert_eq!(read(&output.join("clusters.parquet")).num_rows(), 3);
}

#[test]
fn threads_do_not_change_a_byte() {
    let work = folder();
    let input = fixture();
    let run = |threads: &'static str| {
        let output = work.path().join(threads);
        mine_ok(&tiny(&input, text(&output), &["--threads", threads, "--clustering", "cohesive"]));
        output
    };
    let one = run("1");
    assert_same_results(&one, &run("2"));
    assert_same_results(&one, &run("5"));
}

#[test]
fn deterministic_hnsw_gives_the_same_bytes_again() {
    let work = folder();
    let input = fixture();
    let run = |name: &str, threads: &'static str| {
        let output = work.path().join(name);
        // a graph so poor that what is found depends on its every link
        let poor = ["--hnsw-links", "4", "--hnsw-ef-construction", "4", "--hnsw-ef-search", "2", "--top-k", "1"];
        let index = ["--index", "hnsw", "--deterministic", "--threads", threads, "--min-cosine", "-1"];
        let said = mine_ok(&tiny(&input, text(&output), &[&index[..], &poor, &["--min-recall", "0.9"]].concat()));
        assert!(said.contains("less than --min-recall 90.00 %: raise --hnsw-ef-search"), "{said}");
        assert!(metrics(&output)["candidates.recall_above_floor"] < 0.9);
        output
    };
    let first = run("first", "4");
    assert_same_results(&first, &run("second", "3"));
    // of kept candidates it warns again
    run("first", "4");
}

#[test]
fn row_order_does_not_change_pairs_or_clusters() {
    let work = folder();
    let batch = read(&repo("fixtures/questions.parquet"));
    let (ids, texts) = (i64s(&batch, "id"), strings(&batch, "text"));
    // copies differ in bytes, so which of them comes first would change kinds: one of each text is enough here
    let mut rows: Vec<usize> = (0..ids.len()).collect();
    let mut seen = std::collections::HashSet::new();
    rows.retain(|&row| seen.insert(dupmine::text::normalise::normalise(&texts[row]).into_owned()));
    let run = |name: &str, rows: &[usize]| {
        let (input, output) = (work.path().join(format!("{name}.parquet")), work.path().join(name));
        let picked = Int64Array::from_iter_values(rows.iter().map(|&row| ids[row]));
        let texts = StringArray::from_iter_values(rows.iter().map(|&row| texts[row].as_str()));
        write_parquet(&input, vec![("id", Arc::new(picked)), ("text", Arc::new(texts))], 100);
        mine_ok(&tiny(text(&input), text(&output), &["--index", "exact", "--top-k", "1000"]));
        let pairs = read(&output.join("pairs.parquet"));
        let mut found: Vec<(i64, i64)> =
            i64s(&pairs, "id_a").into_iter().zip(i64s(&pairs, "id_b")).map(|(a, b)| (a.min(b), a.max(b))).collect();
        found.sort();
        let clusters = read(&output.join("clusters.parquet"));
        let representatives = clusters.column_by_name("is_representative").unwrap().as_boolean().clone();
        let mut groups = std::collections::BTreeMap::<i64, Vec<(i64, bool)>>::new();
        for (row, (id, cluster)) in i64s(&clusters, "id").into_iter().zip(i64s(&clusters, "cluster_id")).enumerate() {
            groups.entry(cluster).or_default().push((id, representatives.value(row)));
        }
        let mut groups: Vec<Vec<(i64, bool)>> = groups.into_values().collect();
        groups.iter_mut().for_each(|group| group.sort());
        groups.sort();
        (found, groups)
    };
    let straight = run("straight", &rows);
    assert!(straight.0.len() > 50 && straight.1.len() > 10);
    let mut shuffled = rows.clone();
    let mut state = 1u64;
    for at in (1..shuffled.len()).rev() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        shuffled.swap(at, (state >> 33) as usize % (at + 1));
    }
    assert_eq!(straight, run("shuffled", &shuffled));
    rows.reverse();
    assert_eq!(straight, run("reversed", &rows));
}

#[test]
fn embeddings_are_written_when_asked_for() {
    let work = folder();
    let output = work.path().join("out");
    let input = fixture();
    mine_ok(&tiny(&input, text(&output), &["--write-embeddings"]));
    let batch = read(&output.join("embeddings.parquet"));
    assert_eq!(batch.num_rows(), 556);
    let list = batch.column_by_name("embedding").unwrap().as_fixed_size_list();
    assert_eq!(list.value_length(), 32);
    let values = list.values().as_primitive::<Float32Type>().values().to_vec();
    let norms: Vec<f32> = values.chunks(32).map(|v| v.iter().map(|x| x * x).sum()).collect();
    // zero where the vocabulary knows nothing of a text
    let unknown = norms.iter().filter(|&&norm| norm == 0.0).count() as f64;
    assert!(unknown >= metrics(&output)["embed.unknown"] && unknown < 50.0, "copies count too: {unknown}");
    assert!(norms.iter().all(|norm| *norm == 0.0 || (norm - 1.0).abs() < 1e-5));
    // asked for no more, they go with the run that wrote them
    mine_ok(&tiny(&input, text(&output), &["--force"]));
    assert!(!output.join("embeddings.parquet").exists());
}

#[test]
fn a_model_without_calibration_runs_with_a_warning() {
    let work = folder();
    let output = work.path().join("out");
    let model = repo("fixtures/models/tiny-bert");
    let models = ["--bi-encoder", text(&model), "--cross-encoder", "none"];
    let stderr = mine_ok(&[&["--input", &fixture(), "--output", text(&output)], &models[..]].concat());
    assert!(stderr.contains("has no measured minimum cosine: 0.75 is used; set it with --min-cosine"), "{stderr}");
    assert!(stderr.contains("has no measured threshold: 0.75 is used; set it with --threshold"), "{stderr}");
}

#[test]
fn quiet_is_quiet() {
    let work = folder();
    let output = work.path().join("out");
    assert_eq!(
        mine_ok(&tiny(&fixture(), text(&output), &["--quiet"])).lines().filter(|l| !l.starts_with("warning:")).count(),
        0
    );
}

#[test]
fn written_columns_carry_unit_and_meaning() {
    let work = folder();
    let output = work.path().join("out");
    mine_ok(&tiny(&fixture(), text(&output), &["--write-embeddings"]));
    for file in RESULTS.iter().chain(&["embeddings.parquet"]) {
        for field in read(&output.join(file)).schema().fields() {
            assert!(field.metadata().get("description").is_some_and(|d| d.len() > 5), "{file} {}", field.name());
        }
    }
    let pairs = read(&output.join("pairs.parquet"));
    assert_eq!(pairs.schema().field_with_name("score_ab").unwrap().metadata()["unit"], "logit");
}
