//! What comes in at night: changes alone, broken exports, and a reference to compare with.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::*;

fn numbered(count: usize) -> Vec<(i64, String)> {
    (0..count as i64).map(|id| (id, format!("how do i cook {} eggs for {} guests", id % 40, id / 40))).collect()
}

fn exit_code(arguments: &[&str]) -> Option<i32> {
    mine(arguments).status.code()
}

#[test]
fn changes_alone_give_the_results_of_the_whole_input() {
    let work = folder();
    let (input, changes) = (work.path().join("q.parquet"), work.path().join("changes.csv"));
    let (delta, whole) = (work.path().join("delta"), work.path().join("whole"));
    let mut rows = numbered(120);
    write_rows(&input, &rows);
    for output in [&delta, &whole] {
        mine_ok(&tiny(text(&input), text(output), &[]));
    }
    std::fs::write(
        &changes,
        "id,text,op\n5,how do i cook 5 eggs,upsert\n500,how do i cook 77 eggs,\n7,,delete\n500,how do i cook 78 eggs,upsert\n\
         9999,,delete\n",
    )
    .unwrap();
    let said = mine_ok(&tiny(text(&changes), text(&delta), &["--delta"]));
    assert!(said.contains("changes    2 rows added or replaced, 1 deleted, in 120 questions"), "{said}");
    assert!(said.contains("warning: 1 deletions name ids that are not there"), "{said}");
    rows[5].1 = "how do i cook 5 eggs".into();
    rows.remove(7);
    rows.push((500, "how do i cook 78 eggs".into()));
    write_rows(&input, &rows);
    mine_ok(&tiny(text(&input), text(&whole), &[]));
    assert_same_results(&whole, &delta);
    // the same changes once more change nothing
    let said = mine_ok(&tiny(text(&changes), text(&delta), &["--delta"]));
    assert!(said.contains("version    2: nothing changed since"), "{said}");
    // JSON lines that delete need no text; ids are matched in the type of the corpus
    let lines = work.path().join("changes.jsonl");
    std::fs::write(&lines, "{\"id\": 500, \"op\": \"delete\"}\n").unwrap();
    mine_ok(&tiny(text(&lines), text(&delta), &["--delta"]));
    assert_eq!(metrics(&delta)["read.rows_out"], 119.0);
    // a night without changes
    std::fs::write(&lines, "").unwrap();
    assert!(mine_ok(&tiny(text(&lines), text(&delta), &["--delta"])).contains("nothing changed since"));
    // a version knows its texts, although the input has only changes
    assert!(json(&["show", text(&delta), "--question", "3", "--json"])["text"].is_string());
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_rows(&input, &numbered(30));
    let error = mine_fails(&tiny(text(&input), text(&output), &["--delta"]), 1);
    assert!(error.contains("holds no version") && error.contains("hint: the first run needs all"), "{error}");
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let refused = |name: &str, content: &str, said: &str| {
        let path = work.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = mine_fails(&tiny(text(&path), text(&output), &["--delta"]), 1);
        assert!(error.contains(said), "{error}");
    };
    refused("op.csv", "id,text,op\n1,a,upsert\n2,b,remove\n", "op.csv: line 3: column \"op\" holds \"remove\"");
    refused("noid.csv", "text\na\n", "changes need ids");
    refused("type.csv", "id,text\nx1,a\n", "the changes do not fit the corpus: ids of type Utf8, expected Int64");
    assert_eq!(std::fs::read_to_string(output.join(".mine/CURRENT")).unwrap().trim(), "1");
}

#[test]
fn an_export_cut_in_half_changes_nothing() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let rows = numbered(400);
    write_rows(&input, &rows);
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let kept = work.path().join("kept");
    copy_folder(&output, &kept);
    write_rows(&input, &rows[..200]);
    let arguments = tiny(text(&input), text(&output), &[]);
    let error = mine_fails(&arguments, 3);
    assert!(
        error.contains("--max-deleted: 200 of the 400 questions of version 1 are gone or edited (50 %)"),
        "{error}"
    );
    assert!(error.contains(".refused; if that is right, --max-deleted 50% accepts it"), "{error}");
    assert_same_results(&kept, &output);
    assert_eq!(
        std::fs::read(kept.join("manifest.json")).unwrap(),
        std::fs::read(output.join("manifest.json")).unwrap()
    );
    let gone = read(&output.join(".refused/gone.parquet"));
    assert_eq!((gone.num_rows(), strings(&gone, "text")[0].as_str()), (200, rows[200].1.as_str()));
    let why: Value = serde_json::from_slice(&std::fs::read(output.join(".refused/refusal.json")).unwrap()).unwrap();
    assert_eq!(why["accept"], "--max-deleted 50%");
    mine_ok(&[&arguments[..], &["--max-deleted", "60%"]].concat());
    assert!(!output.join(".refused").exists());
    assert_eq!(metrics(&output)["read.rows_out"], 200.0);
    // an export without questions is refused however few there were
    let empty = work.path().join("empty.csv");
    std::fs::write(&empty, "id,text\n").unwrap();
    assert_eq!(exit_code(&tiny(text(&empty), text(&output), &["--max-new-duplicates", "100%"])), Some(3));
    // other ids for the same texts are no deletions
    let moved: Vec<(i64, String)> = rows[..200].iter().map(|(id, text)| (id + 7, text.clone())).collect();
    write_rows(&input, &moved);
    let said = mine_ok(&arguments);
    assert!(!said.contains("loading "), "vectors are found by text: {said}");
    mine_fails(&["--input", text(&input), "--output", text(&output), "--max-deleted", "5 of 7"], 2);
}

#[test]
fn clusters_that_grow_too_much_are_refused_and_kept_beside() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let different: Vec<(i64, String)> = (0..60)
        .map(|id| (id, format!("{} {} {}", "tax rice cat".split(' ').nth(id as usize % 3).unwrap(), id, id * id)))
        .collect();
    write_rows(&input, &different);
    mine_ok(&tiny(text(&input), text(&output), &["--threshold", "1"]));
    let loose = tiny(text(&input), text(&output), &["--threshold", "0.1", "--min-cosine", "-1"]);
    let error = mine_fails(&[&loose[..], &["--max-new-duplicates", "20%"]].concat(), 3);
    assert!(error.contains("--max-new-duplicates: ") && error.contains("of 60 questions are in a cluster"), "{error}");
    // what was found can be looked at as any run
    let refused = output.join(".refused");
    assert!(json(&["show", text(&refused), "--json"])["metrics"]["cluster.largest"].as_f64().unwrap() > 20.0);
    assert_eq!(read(&output.join("clusters.parquet")).num_rows(), 0);
    let limits = [&loose[..], &["--max-new-duplicates", "100%", "--max-cluster-size", "10"]].concat();
    let error = mine_fails(&limits, 3);
    assert!(error.contains("--max-cluster-size: cluster ") && error.contains("more than 10 may be in one"), "{error}");
    // who types another threshold is not asked again
    mine_ok(&loose);
    assert!(read(&output.join("clusters.parquet")).num_rows() > 20);
}

/// (id, cluster, representative, reference) of every row.
fn members(output: &Path) -> Vec<(i64, i64, bool, bool)> {
    let batch = read(&output.join("clusters.parquet"));
    let (ids, clusters) = (i64s(&batch, "id"), i64s(&batch, "cluster_id"));
    let (representative, reference) = (bools(&batch, "is_representative"), bools(&batch, "is_reference"));
    (0..ids.len()).map(|row| (ids[row], clusters[row], representative[row], reference[row])).collect()
}

#[test]
fn new_questions_join_known_ones_which_stay_as_they_are() {
    let work = folder();
    let (known, new) = (work.path().join("known.parquet"), work.path().join("new.parquet"));
    let (known_run, by_file, by_run) = (work.path().join("k"), work.path().join("f"), work.path().join("r"));
    let row = |id: i64, text: &str| (id, text.to_string());
    let of_known = [
        row(1, "how do i learn guitar"),
        row(2, "how do i learn guitar "),
        row(3, "how do i learn to play guitar"),
        row(4, "where is paris"),
    ];
    write_rows(&known, &of_known);
    write_rows(
        &new,
        &[
            row(101, "how do i learn  guitar"),
            row(102, "how do i learn guitar fast"),
            row(103, "tax tax tax"),
            row(104, "tax tax  tax"),
        ],
    );
    let options = ["--threshold", "0.8", "--min-cosine", "0.5"];
    let with = |reference: &Path, output: &Path| {
        let all = [&options[..], &["--reference", text(reference)]].concat();
        mine_ok(&tiny(text(&new), text(output), &all))
    };
    mine_ok(&tiny(text(&known), text(&known_run), &options));
    let said = with(&known, &by_file);
    assert!(said.contains("reference  4 known questions"), "{said}");
    let pairs = read(&by_file.join("pairs.parquet"));
    let is_known = |id: i64| id < 100;
    assert!(i64s(&pairs, "id_a").into_iter().zip(i64s(&pairs, "id_b")).all(|(a, b)| !(is_known(a) && is_known(b))));
    let rows = members(&by_file);
    assert!(rows.iter().all(|&(id, _, _, reference)| is_known(id) == reference), "{rows:?}");
    let cluster = |rows: &[(i64, i64, bool, bool)], id: i64| rows.iter().find(|row| row.0 == id).map(|row| row.1);
    assert_eq!(cluster(&rows, 101), cluster(&rows, 1));
    assert_eq!(cluster(&rows, 103), cluster(&rows, 104));
    assert!(cluster(&rows, 4).is_none(), "a cluster without a new question is not written");
    for id in [101, 102] {
        let own = cluster(&rows, id);
        let representative = rows.iter().find(|row| Some(row.1) == own && row.2).unwrap();
        assert!(representative.3, "the known question represents the cluster: {rows:?}");
    }

    // the output of another run: its clusters, their ids and its vectors
    let said = with(&known_run, &by_run);
    let (rows, before) = (members(&by_run), members(&known_run));
    assert_eq!(cluster(&rows, 101), cluster(&before, 1));
    let embedded: Value = serde_json::from_slice(&std::fs::read(by_run.join("manifest.json")).unwrap()).unwrap();
    let embed = embedded["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "embed").unwrap();
    assert!(embed["computed"].as_u64().unwrap() <= 2, "known vectors are not computed again: {said}");
    let of_known: BTreeSet<(i64, bool)> =
        before.iter().map(|&(id, _, representative, _)| (id, representative)).collect();
    let still: BTreeSet<(i64, bool)> =
        rows.iter().filter(|row| row.3 && cluster(&before, row.0).is_some()).map(|row| (row.0, row.2)).collect();
    assert!(still.is_subset(&of_known), "representatives stay: {rows:?}");

    // the next night of new questions, and verification
    write_rows(&new, &[row(101, "how do i learn  guitar"), row(105, "where is paris ")]);
    let all = [&options[..], &["--reference", text(&known), "--force"]].concat();
    mine_ok(&tiny(text(&new), text(&by_file), &all));
    assert_eq!(cluster(&members(&by_file), 105), cluster(&members(&by_file), 4));
    assert!(String::from_utf8(mine(&["verify", text(&by_file), "--all"]).stdout).unwrap().contains("no difference"));

    // what was with a known cluster and is not any more is a cluster of its own
    write_rows(&new, &[row(101, "how do i learn  guitar"), row(106, "x y z"), row(107, "x  y z")]);
    let by_run_again = [&options[..], &["--reference", text(&known_run), "--force"]].concat();
    mine_ok(&tiny(text(&new), text(&by_run), &by_run_again));
    let (own, known_ids) = (cluster(&members(&by_run), 106), before.iter().map(|row| row.1).collect::<BTreeSet<i64>>());
    assert!(own.is_some_and(|own| !known_ids.contains(&own)) && cluster(&members(&by_run), 107) == own);
    // an input without questions is refused, however many are known
    let empty = work.path().join("empty.csv");
    std::fs::write(&empty, "id,text\n").unwrap();
    let arguments = [&options[..], &["--reference", text(&known)]].concat();
    assert_eq!(exit_code(&tiny(text(&empty), text(&by_file), &arguments)), Some(3));

    // one id for two texts cannot be told apart; one that is known already is left out
    write_rows(&new, &[row(4, "what is chess"), row(7, "x")]);
    let error = mine_fails(&tiny(text(&new), text(&work.path().join("e")), &all), 1);
    assert!(error.contains("id 4 is in the input and, with another text, in --reference"), "{error}");
    write_rows(&new, &[row(4, "where is paris"), row(7, "where  is paris")]);
    let said = mine_ok(&tiny(text(&new), text(&work.path().join("e")), &all));
    assert!(said.contains("reference  1 rows of the input are known already"), "{said}");
}

#[test]
fn ids_that_change_their_type_start_the_changes_anew() {
    let work = folder();
    let (input, output) = (work.path().join("q.csv"), work.path().join("out"));
    let write = |rows: &[(&str, &str)]| {
        let lines: String = rows.iter().map(|(id, text)| format!("{id},{text}\n")).collect();
        std::fs::write(&input, format!("id,text\n{lines}")).unwrap();
        mine_ok(&tiny(text(&input), text(&output), &[]))
    };
    let same = [("1", "how are you"), ("2", "how  are you"), ("3", "where is paris")];
    write(&same);
    // integers are strings from now on, and still the same questions
    write(&[&same[..], &[("A12", "how   are you")]].concat());
    let rows = |output: &Path, version: u64| -> Vec<(String, Option<i64>, String)> {
        let batch = read(&output.join("membership_changes.parquet"));
        let ids = batch.column_by_name("id").unwrap();
        let id = |row| arrow::util::display::array_value_to_string(ids, row).unwrap();
        let (to, reasons) = (optional_i64s(&batch, "to_cluster_id"), strings(&batch, "reason"));
        let of = u64s(&batch, "version");
        (0..of.len()).filter(|&row| of[row] == version).map(|row| (id(row), to[row], reasons[row].clone())).collect()
    };
    let second = rows(&output, 2);
    assert!(second.len() == 1 && second[0].0 == "A12" && second[0].2 == "new", "{second:?}");
    assert_eq!(rows(&output, 1).len(), 2);
    let clusters = || i64s(&read(&output.join("clusters.parquet")), "cluster_id");
    let before = clusters();
    // and back: A12 is no integer, so a number is left out
    let said = write(&same);
    assert!(said.contains("changes start anew"), "{said}");
    assert_eq!(std::fs::read_to_string(output.join(".mine/CURRENT")).unwrap().trim(), "4");
    assert_eq!((clusters()[0], rows(&output, 4).len()), (before[0], 2));
    // a damaged file of changes does the same
    let text_of = std::fs::read(output.join("membership_changes.parquet")).unwrap();
    std::fs::write(output.join("membership_changes.parquet"), &text_of[..20]).unwrap();
    let said = write(&[&same[..], &[("9", "where  is paris")]].concat());
    assert!(said.contains("changes start anew"), "{said}");
    assert_eq!(std::fs::read_to_string(output.join(".mine/CURRENT")).unwrap().trim(), "6");
    assert!(clusters().contains(&before[0]));
    // results that were damaged cannot come back
    let pairs = std::fs::read(output.join("pairs.parquet")).unwrap();
    std::fs::write(output.join("pairs.parquet"), &pairs[..20]).unwrap();
    write(&same);
    let error = mine_fails(&["rollback", text(&output), "--to", "6"], 1);
    assert!(error.contains("pairs.parquet has changed since it was written"), "{error}");
}
