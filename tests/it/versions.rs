//! `mine history`, `mine rollback`, `mine verify`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::*;

fn nights(work: &Path, output: &Path, count: usize) {
    let input = work.join("q.parquet");
    for night in 0..count as i64 {
        let copy = |id: i64| format!("how do i  cook {id} eggs");
        let rows: Vec<(i64, String)> = (0..40)
            .map(|id| (id, format!("how do i cook {id} eggs")))
            .chain((0..=night * 3).map(|id| (100 + id, copy(id))))
            .collect();
        write_rows(&input, &rows);
        let time = format!("2026-11-{:02}T03:00:00Z", night + 1);
        mine_ok(&tiny(text(&input), text(output), &["--threshold", "1", "--run-time", &time]));
    }
}

fn stdout(arguments: &[&str]) -> String {
    let output = mine(arguments);
    assert!(output.status.success(), "mine {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn clusters(output: &Path) -> BTreeMap<i64, i64> {
    let batch = read(&output.join("clusters.parquet"));
    i64s(&batch, "id").into_iter().zip(i64s(&batch, "cluster_id")).collect()
}

#[test]
fn going_back_is_a_version_of_its_own_and_its_events_add_up() {
    let work = folder();
    let output = work.path().join("out");
    nights(work.path(), &output, 3);
    let out = text(&output);
    let third = clusters(&output);
    let history = stdout(&["history", out]);
    let page = std::fs::read_to_string(output.join("report.html")).unwrap();
    assert!(
        page.contains("<h2>Since version 2</h2>") && page.contains("<dt>clusters created</dt><dd>3</dd>"),
        "{page}"
    );
    assert!(page.contains("how do i  cook 4 eggs") || page.contains("how do i cook 4 eggs"));
    let first = std::fs::read_to_string(output.join(".mine/versions/000001/report.html")).unwrap();
    assert!(!first.contains("Since version"));
    assert!(history.contains("3 *") && history.contains("2026-11-02"), "{history}");
    assert!(history.contains("41 questions new") && history.contains("; clusters: "), "{history}");
    assert!(history.lines().all(|line| line.chars().count() <= 80), "{history}");
    let kept = |name: &str| std::fs::read(output.join(".mine/versions/000001").join(name)).unwrap();
    let (pairs, members) = (kept("pairs.parquet"), kept("clusters.parquet"));

    let said = mine_ok(&["rollback", out, "--to", "1", "--run-time", "2026-11-09T03:00:00Z"]);
    assert!(said.contains("version 4 has the results of version 1: 41 questions"), "{said}");
    assert_eq!(
        (std::fs::read(output.join("pairs.parquet")).unwrap(), std::fs::read(output.join("clusters.parquet")).unwrap()),
        (pairs, members)
    );
    // a job that applied version 3 applies the changes of version 4
    let batch = read(&output.join("membership_changes.parquet"));
    let (versions, ids) = (u64s(&batch, "version"), i64s(&batch, "id"));
    let to = optional_i64s(&batch, "to_cluster_id");
    let mut folded = third.clone();
    for row in (0..ids.len()).filter(|&row| versions[row] == 4) {
        match to[row] {
            Some(to) => folded.insert(ids[row], to),
            None => folded.remove(&ids[row]),
        };
    }
    assert_eq!(folded, clusters(&output));
    let history = json(&["history", out, "--json"]);
    assert_eq!((&history["current"], &history["versions"][0]["rolled_back_to"]), (&4.into(), &1.into()));
    assert_eq!(history["versions"].as_array().unwrap().len(), 4);
    assert!(mine_ok(&["rollback", out, "--to", "1"]).contains("has the results of version 1 already"));

    // forward again: clusters that were gone are back under their ids
    mine_ok(&["rollback", out, "--to", "3"]);
    assert_eq!(clusters(&output), third);
    let events = read(&output.join("cluster_events.parquet"));
    let (names, versions) = (strings(&events, "event"), u64s(&events, "version"));
    let fifth: Vec<&str> = (0..names.len()).filter(|&row| versions[row] == 5).map(|row| names[row].as_str()).collect();
    assert_eq!(fifth, ["revived"; 6]);
    // the input of version 3 is still there: its run has nothing to do
    let input = work.path().join("q.parquet");
    let said = mine_ok(&tiny(text(&input), out, &["--threshold", "1"]));
    assert!(said.contains("version    5: nothing changed since"), "{said}");
    let error = mine_fails(&["rollback", out, "--to", "17"], 1);
    assert!(error.contains("has no version 17") && error.contains("hint: it keeps 1, 2, 3, 4, 5"), "{error}");
    let error = mine_fails(&["history", text(work.path())], 2);
    assert!(error.contains("has no versions"), "{error}");
}

#[test]
fn a_run_says_what_it_did_to_the_program_that_started_it() {
    let work = folder();
    let output = work.path().join("out");
    nights(work.path(), &output, 2);
    let input = work.path().join("q.parquet");
    let result =
        json(&tiny(text(&input), text(&output), &["--threshold", "1", "--quiet", "--json", "--keep-versions", "3"]));
    assert_eq!((result["version"].as_u64(), result["questions"].as_u64()), (Some(2), Some(44)));
    assert_eq!((result["counts"]["new"].as_u64(), result["counts"]["events"]["created"].as_u64()), (Some(3), Some(3)));
    assert!(result["stages"].as_array().unwrap().len() > 4 && result["run_time"] == "2026-11-02T03:00:00Z");
}

#[test]
fn as_many_versions_are_kept_as_asked_for() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    for night in 0..4 {
        let rows: Vec<(i64, String)> = (0..30 + night).map(|id| (id, format!("how do i cook {id} eggs"))).collect();
        write_rows(&input, &rows);
        mine_ok(&tiny(
            text(&input),
            text(&output),
            &["--keep-versions", "2", "--write-embeddings", "--threshold", "1"],
        ));
    }
    let history = json(&["history", text(&output), "--json"]);
    let numbers: Vec<u64> =
        history["versions"].as_array().unwrap().iter().map(|version| version["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 3]);
    let changes = read(&output.join("membership_changes.parquet"));
    assert!(u64s(&changes, "version").iter().all(|version| *version >= 3));
    assert!(output.join(".mine/versions/000004/embeddings.parquet").exists());
    assert!(!output.join(".mine/versions/000003/embeddings.parquet").exists());
    let said = mine_ok(&["rollback", text(&output), "--to", "3"]);
    assert!(said.contains("embeddings.parquet of version 3 was not kept"), "{said}");
}

#[test]
fn verify_finds_what_is_not_the_models_answer() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let cross = repo("fixtures/models/tiny-bert-cross");
    std::fs::copy(repo("fixtures/questions.parquet"), &input).unwrap();
    let options = ["--cross-encoder", text(&cross), "--threshold", "0.6", "--top-k", "5"];
    mine_ok(&tiny(text(&input), text(&output), &options));
    let out = text(&output);
    for arguments in [vec!["verify", out], vec!["verify", out, "--all"]] {
        let said = stdout(&arguments);
        assert!(said.contains("no difference") && said.contains("decisions "), "{said}");
    }
    // a score that the model does not give, in an otherwise good store and result
    let edit = |name: &str, change: &dyn Fn(&mut Vec<Option<f32>>)| {
        let path = output.join("pairs.parquet");
        let batch = read(&path);
        let mut values = f32s(&batch, name);
        change(&mut values);
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
            let column: arrow::array::ArrayRef = match field.name() == name {
                true => std::sync::Arc::new(values.iter().copied().collect::<arrow::array::Float32Array>()),
                false => column.clone(),
            };
            (field.name().clone(), column)
        });
        let columns: Vec<(String, arrow::array::ArrayRef)> = columns.collect();
        let kept = std::fs::read(&path).unwrap();
        // the file of the version shares the bytes: it must not change with it
        std::fs::remove_file(&path).unwrap();
        write_parquet(&path, columns.iter().map(|(name, column)| (name.as_str(), column.clone())).collect(), 1000);
        kept
    };
    let kept = edit("probability", &|values| values.iter_mut().flatten().take(2).for_each(|p| *p = 0.125));
    let error = mine(&["verify", out]);
    assert_eq!(error.status.code(), Some(1));
    let said = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(said.contains("2 pairs have another decision: ") && said.contains("hint: "), "{said}");
    std::fs::remove_file(output.join("pairs.parquet")).unwrap();
    std::fs::write(output.join("pairs.parquet"), &kept).unwrap();
    edit("cosine", &|values| values.iter_mut().flatten().take(3).for_each(|cosine| *cosine -= 0.1));
    let error = mine(&["verify", out, "--all"]);
    let said = String::from_utf8_lossy(&error.stderr).into_owned();
    assert!(error.status.code() == Some(1) && said.contains("pairs have another cosine"), "{said}");
}
