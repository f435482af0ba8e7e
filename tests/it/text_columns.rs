//! Questions whose text is in several columns: `--text-column subject,body`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use crate::support::*;

/// Subject and body of each question, from id 1.
const ROWS: [(Option<&str>, Option<&str>); 7] = [
    (Some("Guitar"), Some("how do i learn it")),
    (Some("Guitar how"), Some("do i learn it")),
    (None, Some("why is the sky blue")),
    (Some("why is the sky"), Some("blue")),
    (None, None),
    (Some("  "), None),
    (Some("why is the sky blue"), None),
];

/// The same as one column.
const JOINED: [Option<&str>; 7] = [
    Some("Guitar how do i learn it"),
    Some("Guitar how do i learn it"),
    Some("why is the sky blue"),
    Some("why is the sky blue"),
    None,
    Some(""),
    Some("why is the sky blue"),
];

fn write_as(path: &Path) {
    let rows = || ROWS.iter().zip(1..);
    let cell = |value: &Option<&str>| value.unwrap_or_default().to_string();
    let delimited = |delimiter: &str| {
        let row = |((subject, body), id): (&(Option<&str>, Option<&str>), i64)| {
            [cell(body), id.to_string(), cell(subject)].join(delimiter) + "\n"
        };
        ["body", "id", "subject"].join(delimiter) + "\n" + &rows().map(row).collect::<String>()
    };
    let object = |((subject, body), id): (&(Option<&str>, Option<&str>), i64)| {
        // a key may be missing as well as null
        let subject = subject.map_or(String::new(), |subject| format!(", \"subject\": {subject:?}"));
        let body = body.map_or("null".into(), |body| format!("{body:?}"));
        format!("{{\"id\": {id}, \"body\": {body}{subject}}}")
    };
    let objects: Vec<String> = rows().map(object).collect();
    let text = match path.extension().unwrap().to_str().unwrap() {
        "csv" => delimited(","),
        "tsv" => delimited("\t"),
        "jsonl" => objects.join("\n"),
        "json" => format!("[{}]", objects.join(",")),
        _ => {
            let bodies: ArrayRef = Arc::new(ROWS.iter().map(|row| row.1).collect::<StringArray>());
            let subjects: ArrayRef = Arc::new(ROWS.iter().map(|row| row.0).collect::<StringArray>());
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=7));
            return write_parquet(path, vec![("body", bodies), ("id", ids), ("subject", subjects)], 3);
        }
    };
    std::fs::write(path, text).unwrap();
}

#[test]
fn several_columns_are_one_text_in_every_format() {
    let work = folder();
    let (joined, expected) = (work.path().join("joined.parquet"), work.path().join("expected"));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=7));
    let texts: ArrayRef = Arc::new(StringArray::from(JOINED.to_vec()));
    write_parquet(&joined, vec![("id", ids), ("text", texts)], 10);
    mine_ok(&tiny(text(&joined), text(&expected), &[]));
    assert_eq!(metrics(&expected)["read.rows_out"], 5.0);
    for extension in ["parquet", "csv", "tsv", "jsonl", "json"] {
        let path = work.path().join(format!("q.{extension}"));
        write_as(&path);
        for (at, columns) in ["subject,body", "{subject} {body}", "subject, body"].into_iter().enumerate() {
            let output = work.path().join(format!("{extension}-{at}"));
            mine_ok(&tiny(text(&path), text(&output), &["--text-column", columns]));
            assert_same_results(&expected, &output);
        }
    }
    let output = work.path().join("template");
    let path = work.path().join("q.csv");
    mine_ok(&tiny(text(&path), text(&output), &["--text-column", "Q: {subject} – {body}"]));
    let shown = json(&["show", text(&output), "--question", "1", "--json"]);
    assert_eq!(shown["text"], "Q: Guitar – how do i learn it");
    // what the template adds makes no question of nothing
    assert_eq!(metrics(&output)["read.rows_out"], 5.0);
}

#[test]
fn changes_and_references_have_several_columns_too() {
    let work = folder();
    let (input, output) = (work.path().join("q.csv"), work.path().join("out"));
    write_as(&input);
    let columns = ["--text-column", "subject,body"];
    mine_ok(&tiny(text(&input), text(&output), &columns));
    let changes = work.path().join("changes.csv");
    std::fs::write(&changes, "id,subject,body,op\n8,Why is the sky,blue?,\n7,,,delete\n").unwrap();
    let said = mine_ok(&tiny(text(&changes), text(&output), &[&columns[..], &["--delta"]].concat()));
    assert!(said.contains("changes    1 rows added or replaced, 1 deleted"), "{said}");
    assert_eq!(json(&["show", text(&output), "--question", "8", "--json"])["text"], "Why is the sky blue?");

    let (new, compared) = (work.path().join("new.jsonl"), work.path().join("compared"));
    std::fs::write(&new, "{\"id\": 100, \"subject\": \"Guitar how do\", \"body\": \"i learn it\"}\n").unwrap();
    let more = [&columns[..], &["--reference", text(&input)]].concat();
    mine_ok(&tiny(text(&new), text(&compared), &more));
    let clusters = read(&compared.join("clusters.parquet"));
    assert_eq!(i64s(&clusters, "id"), [1, 2, 100]);
}

#[test]
fn a_column_with_a_comma_in_its_name_is_that_column() {
    let work = folder();
    let (input, output) = (work.path().join("q.csv"), work.path().join("out"));
    std::fs::write(&input, "id,\"title, text\",title\n1,same,a\n2,same,b\n").unwrap();
    mine_ok(&tiny(text(&input), text(&output), &["--text-column", "title, text"]));
    assert_eq!(metrics(&output)["pairs.exact"], 1.0);
}
