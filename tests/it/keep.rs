//! `--keep`: which question represents a cluster, from every format, and night after night.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray, TimestampMillisecondArray};
use dupmine::text::normalise::normalise;
use serde_json::{Value, json};

use crate::support::*;

/// A question with a number and a time, either of which can be missing.
#[derive(Clone)]
struct Row {
    id: i64,
    text: String,
    votes: Option<i64>,
    /// Seconds since 1970.
    edited: Option<i64>,
}

/// The fixture with made-up votes and times.
fn rows() -> Vec<Row> {
    let fixture = read(&repo("fixtures/questions.parquet"));
    let row = |(id, text): (i64, String)| Row {
        id,
        text,
        votes: (id % 5 != 0).then_some(id * 7919 % 13),
        edited: (id % 7 != 0).then_some(1_700_000_000 + id * 104_729 % 400 * 86_400),
    };
    i64s(&fixture, "id").into_iter().zip(strings(&fixture, "text")).map(row).collect()
}

/// As a database exports times.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y-%m-%d %H:%M:%S+00").to_string()
}

fn csv(rows: &[Row]) -> Vec<u8> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["edited", "id", "votes", "text"]).unwrap();
    for row in rows {
        let votes = row.votes.map(|votes| votes.to_string()).unwrap_or_default();
        out.write_record([&row.edited.map(time).unwrap_or_default(), &row.id.to_string(), &votes, &row.text]).unwrap();
    }
    out.into_inner().unwrap()
}

fn jsonl(rows: &[Row]) -> String {
    // a key without a value can be left out
    let object = |row: &Row| {
        let mut object = json!({ "id": row.id, "text": row.text, "votes": row.votes.map(|votes| votes as f64) });
        if let Some(edited) = row.edited {
            object["edited"] = jiff::Timestamp::from_second(edited).unwrap().to_string().into();
        }
        object.to_string() + "\n"
    };
    rows.iter().map(object).collect()
}

fn write_typed(path: &Path, rows: &[Row]) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id)));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.text)));
    let votes: ArrayRef = Arc::new(rows.iter().map(|row| row.votes).collect::<Int64Array>());
    let edited = rows.iter().map(|row| row.edited.map(|seconds| seconds * 1000)).collect::<TimestampMillisecondArray>();
    let edited: ArrayRef = Arc::new(edited.with_timezone("America/New_York"));
    write_parquet(path, vec![("id", ids), ("votes", votes), ("text", texts), ("edited", edited)], 100);
}

/// Cluster → (its questions, the one that represents it).
fn clusters(output: &Path) -> BTreeMap<i64, (Vec<i64>, i64)> {
    let batch = read(&output.join("clusters.parquet"));
    let (ids, clusters) = (i64s(&batch, "id"), i64s(&batch, "cluster_id"));
    let mut found: BTreeMap<i64, (Vec<i64>, i64)> = BTreeMap::new();
    for ((id, cluster), represents) in ids.into_iter().zip(clusters).zip(bools(&batch, "is_representative")) {
        let (members, representative) = found.entry(cluster).or_default();
        members.push(id);
        *representative = if represents { id } else { *representative };
    }
    let stats = read(&output.join("cluster_stats.parquet"));
    for (cluster, representative) in i64s(&stats, "cluster_id").into_iter().zip(i64s(&stats, "representative")) {
        assert_eq!(found[&cluster].1, representative, "cluster_stats.parquet names another one");
    }
    found
}

/// Requires that the question with the greatest key represents each cluster, and of equal ones that of the smallest id.
fn assert_represented<K: Ord>(output: &Path, rows: &[Row], key: impl Fn(&Row) -> K) {
    let by_id: BTreeMap<i64, &Row> = rows.iter().map(|row| (row.id, row)).collect();
    for (members, representative) in clusters(output).into_values() {
        let best = members.iter().max_by_key(|&&id| (key(by_id[&id]), std::cmp::Reverse(id))).unwrap();
        assert_eq!(representative, *best, "of {members:?}");
    }
}

fn computed(output: &Path) -> Vec<(String, u64)> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap();
    let stages = manifest["stages"].as_array().unwrap().iter();
    let of = |stage: &Value| Some((stage["stage"].as_str()?.to_string(), stage["computed"].as_u64()?));
    stages.filter_map(of).collect()
}

#[test]
fn each_choice_has_its_own_representatives_and_changes_nothing_else() {
    let work = folder();
    let (input, output) = (work.path().join("q.csv"), work.path().join("out"));
    let rows = rows();
    std::fs::write(&input, csv(&rows)).unwrap();
    let run = |keep: &[&str]| mine_ok(&tiny(text(&input), text(&output), keep));
    run(&[]);
    let central = clusters(&output);
    // the footer names the run
    let columns = || read(&output.join("pairs.parquet")).columns().to_vec();
    let pairs = columns();
    assert!(central.len() > 20 && central.values().any(|(members, _)| members.len() > 3));
    let lowest = |value: Option<i64>| value.map(|value| -value);
    for (keep, version) in [("first", 2), ("longest", 3), ("votes", 4), ("votes:lowest", 5), ("edited", 6)] {
        let plan = mine(&tiny(text(&input), text(&output), &["--keep", keep, "--plan"]));
        let plan = String::from_utf8(plan.stdout).unwrap();
        let stale: Vec<&str> = plan.lines().filter(|line| !line.ends_with("fresh")).collect();
        assert!(stale.len() == 1 && stale[0].starts_with("cluster"), "{plan}");
        let said = run(&["--keep", keep]);
        assert!(said.contains("changed    --keep was ") && said.contains(&format!("and is now {keep}")), "{said}");
        match keep {
            "first" => assert_represented(&output, &rows, |row| -row.id),
            "longest" => assert_represented(&output, &rows, |row| normalise(&row.text).chars().count()),
            "votes" => assert_represented(&output, &rows, |row| row.votes),
            "votes:lowest" => assert_represented(&output, &rows, |row| lowest(row.votes)),
            _ => assert_represented(&output, &rows, |row| row.edited),
        }
        let now = clusters(&output);
        let others = now.iter().filter(|(id, (_, representative))| central[id].1 != *representative).count();
        assert!(others > 5, "--keep {keep} chose {others} others");
        let members = |clusters: &BTreeMap<i64, (Vec<i64>, i64)>| -> Vec<(i64, Vec<i64>)> {
            clusters.iter().map(|(id, (members, _))| (*id, members.clone())).collect()
        };
        assert_eq!(members(&now), members(&central));
        assert!(columns() == pairs, "--keep {keep} changed pairs");
        assert!(computed(&output).iter().all(|(_, computed)| *computed == 0), "{:?}", computed(&output));
        // the changes say so: other representatives, and nobody moved
        let events = read(&output.join("cluster_events.parquet"));
        let of = u64s(&events, "version");
        let events: Vec<String> = strings(&events, "event");
        let events: Vec<&String> =
            events.iter().zip(of).filter(|(_, of)| *of == version).map(|(event, _)| event).collect();
        assert!(events.len() > 5 && events.iter().all(|event| *event == "represented"), "{keep}: {events:?}");
        let moved = u64s(&read(&output.join("membership_changes.parquet")), "version");
        assert!(!moved.contains(&version));
    }
    let said = run(&["--keep", "edited"]);
    assert!(said.contains("keep       highest value of column edited: 477 times, 79 empty"), "{said}");
    assert!(said.contains("nothing changed since"), "{said}");
    let verified = mine(&["verify", text(&output), "--all"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // the probability is that with the question that was chosen
    let probabilities = f32s(&read(&output.join("clusters.parquet")), "probability_to_representative");
    assert!(probabilities.iter().any(|probability| probability.is_none_or(|p| p < 0.9)), "or nothing is shown");
    // back to the default, with the representatives of the first run
    run(&["--keep", "most-central"]);
    assert_eq!(clusters(&output), central);
}

#[test]
fn every_format_has_the_same_values() {
    let work = folder();
    let path = |name: &str| work.path().join(name);
    let rows = rows();
    std::fs::write(path("q.csv"), csv(&rows)).unwrap();
    std::fs::write(path("q.jsonl"), jsonl(&rows)).unwrap();
    write_typed(&path("q.parquet"), &rows);
    std::fs::write(path("part-1.csv"), csv(&rows[..200])).unwrap();
    std::fs::write(path("part-2.jsonl"), jsonl(&rows[200..])).unwrap();
    for keep in ["votes", "edited:lowest"] {
        let run = |name: &str, output: &Path, more: &[&str]| {
            let more = [&["--keep", keep, "--force"], more].concat();
            mine_ok(&tiny(text(&path(name)), text(output), &more));
        };
        let of = |name: &str| path(&format!("{name}-{}", keep.len()));
        run("q.csv", &of("csv"), &[]);
        for name in ["q.jsonl", "q.parquet"] {
            run(name, &of(name), &[]);
            assert_same_results(&of("csv"), &of(name));
        }
        run("part-1.csv", &of("parts"), &["--input", text(&path("part-2.jsonl"))]);
        assert_same_results(&of("csv"), &of("parts"));
        let piped_output = path("piped");
        let mut piped = command(&tiny("-", text(&piped_output), &["--keep", keep, "--force"]));
        let mut child = piped.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&csv(&rows)).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(partition(&of("csv")), partition(&path("piped")));
    }
}

#[test]
fn changes_alone_keep_the_values_of_the_others() {
    let work = folder();
    let path = |name: &str| work.path().join(name);
    let mut rows = rows();
    write_typed(&path("q.parquet"), &rows);
    let run = |input: &str, output: &str, more: &[&str]| {
        mine_ok(&tiny(text(&path(input)), text(&path(output)), &[&["--keep", "votes"], more].concat()))
    };
    run("q.parquet", "delta", &[]);
    run("q.parquet", "whole", &[]);
    // one with other votes, one with another text, one new
    let representative = clusters(&path("delta")).into_values().find(|(members, _)| members.len() > 2).unwrap();
    let other = *representative.0.iter().find(|id| **id != representative.1).unwrap();
    let at = rows.iter().position(|row| row.id == other).unwrap();
    rows[at].votes = Some(1000);
    let edited = (at + 50) % rows.len();
    rows[edited].text = "how do i write a cheque".into();
    rows.push(Row { id: 90_001, text: rows[at].text.clone() + " ", votes: None, edited: None });
    let changes: Vec<Row> = [at, edited, rows.len() - 1].iter().map(|&at| rows[at].clone()).collect();
    std::fs::write(path("changes.csv"), csv(&changes)).unwrap();
    run("changes.csv", "delta", &["--delta"]);
    write_typed(&path("q.parquet"), &rows);
    run("q.parquet", "whole", &[]);
    assert_same_results(&path("whole"), &path("delta"));
    assert_represented(&path("delta"), &rows, |row| row.votes);
    assert!(clusters(&path("delta")).values().any(|(_, representative)| *representative == other));

    // votes alone: nobody moves, and the change is told
    rows[at].votes = Some(-1000);
    std::fs::write(path("changes.jsonl"), jsonl(&rows[at..=at])).unwrap();
    let said = run("changes.jsonl", "delta", &["--delta"]);
    assert!(
        said.contains("0 questions new, 0 edited, 0 deleted") && said.contains("clusters: 1 represented"),
        "{said}"
    );
    assert_represented(&path("delta"), &rows, |row| row.votes);
    // deletions need no votes
    std::fs::write(path("gone.jsonl"), "{\"id\": 90001, \"op\": \"delete\"}\n").unwrap();
    run("gone.jsonl", "delta", &["--delta"]);

    let delta = ["--keep", "votes", "--delta"];
    for (name, content) in [("lacks.csv", "id,text\n7,how\n"), ("lacks.jsonl", "{\"id\": 7, \"text\": \"how\"}\n")] {
        std::fs::write(path(name), content).unwrap();
        let error = mine_fails(&tiny(text(&path(name)), text(&path("delta")), &delta), 1);
        assert!(error.contains("no column \"votes\"; the columns are: id, text"), "{error}");
        assert!(error.contains("hint: changes need the column that --keep names"), "{error}");
    }
    let other = tiny("changes.jsonl", "delta", &["--keep", "edited", "--delta"]);
    let output = command(&other).current_dir(work.path()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("--keep edited: the run before did not read this column"), "{error}");
}

#[test]
fn known_questions_represent_their_clusters_whatever_is_kept() {
    let work = folder();
    let path = |name: &str| work.path().join(name);
    let row = |id, text: &str, votes| Row { id, text: text.into(), votes: Some(votes), edited: None };
    let known = [row(1, "where is paris", 5), row(2, "where  is paris", 7), row(3, "where is  paris ", 7)];
    std::fs::write(path("known.csv"), csv(&known)).unwrap();
    std::fs::write(path("no-votes.csv"), "id,text\n1,where is paris\n").unwrap();
    let new = [row(11, "where   is paris", 99), row(12, "how are you", 1), row(13, "how  are you", 2)];
    std::fs::write(path("new.csv"), csv(&new)).unwrap();
    let represented = |output: &str| -> Vec<i64> {
        let mut found: Vec<i64> = clusters(&path(output)).into_values().map(|(_, id)| id).collect();
        found.sort_unstable();
        found
    };
    mine_ok(&tiny(text(&path("known.csv")), text(&path("known")), &["--keep", "votes"]));
    assert_eq!(represented("known"), [2]);
    for (reference, representatives) in [("known", [2, 13]), ("no-votes.csv", [1, 13])] {
        let output = format!("with-{reference}");
        let options = ["--keep", "votes", "--reference", text(&path(reference))].map(String::from);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        mine_ok(&tiny(text(&path("new.csv")), text(&path(&output)), &options));
        assert_eq!(represented(&output), representatives, "{reference}");
    }
    let verified = mine(&["verify", text(&path("with-known")), "--all"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    let work = folder();
    let path = |name: &str| work.path().join(name);
    std::fs::write(path("q.csv"), csv(&rows()[..5])).unwrap();
    let run = |input: &str, keep: &str| mine_fails(&tiny(text(&path(input)), text(&path("out")), &["--keep", keep]), 1);
    let error = run("q.csv", "most_central");
    assert!(error.contains("q.csv: no column \"most_central\"; the columns are: edited, id, votes, text"), "{error}");
    assert!(
        error.contains(
            "hint: did you mean --keep most-central? --keep takes first, longest, most-central or a column of"
        ),
        "{error}"
    );
    let binary: ArrayRef = Arc::new(BinaryArray::from(vec![&b"x"[..]]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["how"]));
    write_parquet(&path("q.parquet"), vec![("text", texts), ("photo", binary)], 9);
    let error = run("q.parquet", "photo");
    assert!(error.contains("q.parquet: column \"photo\" has type Binary, which --keep cannot order"), "{error}");
    std::fs::write(path("q.jsonl"), "{\"text\": \"how\", \"tags\": [\"a\"]}\n").unwrap();
    let error = run("q.jsonl", "tags");
    assert!(error.contains("line 1, key \"tags\": found [\"a\"], which --keep cannot order"), "{error}");
    let error = mine_fails(&tiny(text(&path("q.csv")), text(&path("out")), &["--keep", ":lowest"]), 2);
    assert!(error.contains("\":lowest\" names no column"), "{error}");

    // a key of a pipeline file; texts among numbers are told
    std::fs::write(path("p.toml"), "keep = \"votes\"\ninput = \"mixed.csv\"\noutput = \"mixed\"\n").unwrap();
    std::fs::write(path("mixed.csv"), "id,text,votes\n1,a b,n/a\n2,a  b,3\n").unwrap();
    let options = tiny("mixed.csv", "mixed", &[]);
    let run = [&["run", "p.toml"], &options[4..]].concat();
    let output = command(&run).current_dir(work.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.contains("keep       highest value of column votes: 1 texts, 1 numbers"),
        "{said}"
    );
    assert!(said.contains("warning: column votes holds texts such as \"n/a\" among numbers or times"), "{said}");
    assert_eq!(clusters(&path("mixed")).into_values().next().unwrap().1, 2);
}
