//! The files that people have: compressed, in JSON, in another encoding, piped in, several; and ids that are floats.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, StringArray};
use arrow::datatypes::DataType;

use crate::support::*;

const TEXTS: [&str; 6] = [
    "How do I learn to play the guitar?",
    "What is the capital of France?",
    "How do I learn to play the guitar?",
    "What  is the capital of France?",
    "Où est le café, « s’il vous plaît » – à 5 € ?",
    "Où est le café, « s’il vous plaît » – à 5 € ?",
];

fn rows() -> impl Iterator<Item = (usize, &'static str)> {
    TEXTS.iter().enumerate().map(|(at, text)| (at + 1, *text))
}

fn csv() -> String {
    "id,text\n".to_string() + &rows().map(|(id, text)| format!("{id},\"{text}\"\n")).collect::<String>()
}

fn tsv() -> String {
    "id\ttext\n".to_string() + &rows().map(|(id, text)| format!("{id}\t{text}\n")).collect::<String>()
}

fn json_lines() -> String {
    rows().map(|(id, text)| format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n")).collect()
}

fn json_array() -> String {
    let objects: Vec<String> =
        rows().map(|(id, text)| format!("  {{\"text\": \"{text}\",\n   \"id\": {id}}}")).collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Writes the questions as Parquet and runs over them.
fn expected(work: &Path) -> PathBuf {
    write_questions(&work.join("q.parquet"), &TEXTS);
    run(work, "q.parquet", &[])
}

fn run(work: &Path, name: &str, more: &[&str]) -> PathBuf {
    let output = work.join(format!("out-{name}"));
    mine_ok(&tiny(text(&work.join(name)), text(&output), more));
    output
}

#[test]
fn compressed_files_and_arrays_give_what_parquet_gives() {
    let work = folder();
    let work = work.path();
    let expected = expected(work);
    // gzip may have several members, as bgzip and cat write it
    let whole = csv();
    let (head, tail) = whole.as_bytes().split_at(60);
    let files: [(&str, Vec<u8>); 9] = [
        ("q.csv.gz", gzip(csv().as_bytes())),
        ("members.csv.gz", [gzip(head), gzip(tail)].concat()),
        ("q.CSV.zst", zstd(csv().as_bytes())),
        ("q.tsv.gz", gzip(tsv().as_bytes())),
        ("q.jsonl.zst", zstd(json_lines().as_bytes())),
        ("q.json", json_array().into_bytes()),
        ("q.json.gz", gzip(json_array().as_bytes())),
        ("lines.json", ["\u{feff}", &json_lines()].concat().into_bytes()),
        // the bytes say that it is compressed
        ("q.csv", gzip(csv().as_bytes())),
    ];
    for (name, bytes) in files {
        std::fs::write(work.join(name), bytes).unwrap();
        assert_same_results(&expected, &run(work, name, &[]));
    }
}

#[test]
fn another_encoding_is_read_as_what_it_says() {
    let work = folder();
    let work = work.path();
    let expected = expected(work);
    let byte = |c: char| match c {
        '’' => 0x92,
        '–' => 0x96,
        '€' => 0x80,
        c => u8::try_from(u32::from(c)).unwrap(),
    };
    let windows: Vec<u8> = csv().chars().map(byte).collect();
    std::fs::write(work.join("w.csv"), &windows).unwrap();
    std::fs::write(work.join("w.csv.gz"), gzip(&windows)).unwrap();
    for name in ["w.csv", "w.csv.gz"] {
        assert_same_results(&expected, &run(work, name, &["--encoding", "windows-1252"]));
    }
    let latin: Vec<u8> = json_array().chars().map(|c| if c as u32 > 255 { b'?' } else { byte(c) }).collect();
    std::fs::write(work.join("l.json"), &latin).unwrap();
    let as_utf8: String = latin.iter().map(|byte| char::from(*byte)).collect();
    std::fs::write(work.join("u.json"), as_utf8).unwrap();
    assert_same_results(&run(work, "u.json", &[]), &run(work, "l.json", &["--encoding", "latin1"]));
    // in Parquet, strings are UTF-8
    let said = mine_ok(&tiny(text(&work.join("q.parquet")), text(&work.join("p")), &["--encoding", "latin1"]));
    assert!(said.contains("warning: --encoding has no effect on Parquet files"), "{said}");
    // a finished run reads its input in its encoding
    std::fs::remove_dir_all(work.join("out-w.csv/.mine")).unwrap();
    let shown = json(&["show", text(&work.join("out-w.csv")), "--question", "5", "--json"]);
    assert_eq!(shown["text"], TEXTS[4]);
}

#[test]
fn float_ids_that_are_integers_are_integers() {
    let work = folder();
    let work = work.path();
    let expected = expected(work);
    let texts: ArrayRef = Arc::new(StringArray::from(TEXTS.to_vec()));
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    for (name, ids) in [("doubles.parquet", doubles), ("floats.parquet", floats)] {
        write_parquet(&work.join(name), vec![("text", texts.clone()), ("id", ids)], 2);
        assert_same_results(&expected, &run(work, name, &[]));
    }
    let with_fraction = |text: String, from: &str, to: &str| {
        (1..=6).fold(text, |text, id| text.replace(&format!("{from}{id}{to}"), &format!("{from}{id}.0{to}")))
    };
    std::fs::write(work.join("f.csv"), with_fraction(csv(), "\n", ",")).unwrap();
    std::fs::write(work.join("f.json"), with_fraction(json_lines(), "\"id\": ", ",")).unwrap();
    assert_same_results(&expected, &run(work, "f.csv", &[]));
    assert_same_results(&expected, &run(work, "f.json", &[]));
    // in text, what is no integer is a string like any other
    std::fs::write(work.join("sections.csv"), "id,text\n1.1,same\n1.10,same\n").unwrap();
    let pairs = read(&run(work, "sections.csv", &[]).join("pairs.parquet"));
    assert_eq!(strings(&pairs, "id_b"), ["1.10"]);
    let empty: ArrayRef = Arc::new(Float64Array::from(Vec::<f64>::new()));
    let no_texts: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
    write_parquet(&work.join("empty.parquet"), vec![("id", empty), ("text", no_texts)], 2);
    let pairs = read(&run(work, "empty.parquet", &[]).join("pairs.parquet"));
    assert_eq!(pairs.column_by_name("id_a").unwrap().data_type(), &DataType::Int64);
}

/// Runs with `bytes` on standard input.
fn piped(bytes: &[u8], output: &Path, more: &[&str], code: i32) -> String {
    let mut command = command(&tiny("-", text(output), more));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // a refused run may end before it has read everything
    let _ = child.stdin.take().unwrap().write_all(bytes);
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(code), "{said}");
    said
}

#[test]
fn standard_input_is_read_whatever_its_format() {
    let work = folder();
    let work = work.path();
    let expected = expected(work);
    let parquet = std::fs::read(work.join("q.parquet")).unwrap();
    let inputs = [
        ("parquet", parquet),
        ("csv", csv().into_bytes()),
        ("csv", gzip(csv().as_bytes())),
        ("tsv", tsv().into_bytes()),
        ("jsonl", json_lines().into_bytes()),
        ("json", json_array().into_bytes()),
    ];
    for (at, (format, bytes)) in inputs.iter().enumerate() {
        for more in [&[][..], &["--format", *format]] {
            let output = work.join(format!("piped-{at}-{}", more.len()));
            piped(bytes, &output, more, 0);
            assert_same_results(&expected, &output);
        }
    }
    let output = work.join("piped-1-0");
    assert_eq!(json(&["show", text(&output), "--question", "5", "--json"])["text"], TEXTS[4]);
    let manifest = std::fs::read_to_string(output.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!((&manifest["inputs"][0]["path"], &manifest["options"]["input"]), (&"-".into(), &"-".into()));
    assert_eq!(manifest["inputs"][0]["bytes"], csv().len());
    // the same once more, and changes alone
    assert!(piped(csv().as_bytes(), &output, &[], 0).contains("nothing changed since"));
    let said = piped(b"id,text\n7,What is the capital of France?\n", &output, &["--delta"], 0);
    assert!(said.contains("1 rows added or replaced"), "{said}");
    let said = piped(b"id,text\n1,a\n2,b,c\n", &work.join("e"), &[], 1);
    assert!(said.contains("error: standard input: line 3: 3 fields, expected 2"), "{said}");
    assert!(piped(b"", &work.join("e"), &[], 1).contains("standard input: the file is empty"));
    let said = piped(csv().as_bytes(), &work.join("e"), &["--reference", "-"], 2);
    assert!(said.contains("--reference cannot be standard input"), "{said}");
}

#[test]
fn several_inputs_are_one_table() {
    let work = folder();
    let work = work.path();
    let expected = expected(work);
    let lines: Vec<String> = csv().lines().map(String::from).collect();
    std::fs::write(work.join("b.csv"), format!("{}\n{}\n{}\n", lines[0], lines[1], lines[2])).unwrap();
    std::fs::create_dir(work.join("more")).unwrap();
    std::fs::write(work.join("more/a.csv"), format!("{}\n{}\n", lines[0], lines[3..].join("\n"))).unwrap();
    let (first, second) = (work.join("b.csv"), work.join("more/*.csv"));
    let by_flags = work.join("by-flags");
    mine_ok(&tiny(text(&first), text(&by_flags), &["--input", text(&second)]));
    assert_same_results(&expected, &by_flags);
    // in a pipeline file they are a list; without a column `id` their rows are numbered in order
    let pipeline = work.join("p.toml");
    std::fs::write(&pipeline, format!("input = [{:?}, {:?}]\n", text(&first), text(&second))).unwrap();
    let by_file = work.join("by-file");
    let tiny = tiny("", text(&by_file), &[]);
    mine_ok(&[&["run", text(&pipeline)], &tiny[2..]].concat());
    assert_same_results(&expected, &by_file);
    let manifest = std::fs::read_to_string(by_file.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["options"]["input"].as_array().unwrap().len(), 2);
    assert!(json(&["show", text(&by_file), "--question", "1", "--json"])["text"].is_string());
}

#[test]
fn a_run_says_where_the_ids_come_from() {
    let work = folder();
    let said = |name: &str, content: &str, more: &[&str]| {
        let path = work.path().join(name);
        std::fs::write(&path, content).unwrap();
        let said = mine_ok(&tiny(text(&path), text(&work.path().join("out")), &[&["--force"], more].concat()));
        let ids: Vec<String> = said.lines().filter(|line| line.starts_with("ids ")).map(String::from).collect();
        assert_eq!(ids.len(), 1, "{said}");
        ids[0].clone()
    };
    assert_eq!(said("a.csv", "id,text\n1,a\n", &[]), "ids        column id");
    assert_eq!(said("b.csv", "key,text\n1,a\n", &["--id-column", "key"]), "ids        column key");
    let numbers = "ids        row numbers, because there is no column id; name one with --id-column";
    assert_eq!(said("c.csv", "text,lang\na,en\n", &[]), numbers);
    assert_eq!(said("d.csv", "qid,text\n1,a\n", &[]), format!("{numbers}, for instance --id-column qid"));
    assert_eq!(
        said("e.json", "[{\"ID\": 3, \"text\": \"a\"}]", &[]),
        format!("{numbers}, for instance --id-column ID")
    );
    let quiet = mine_ok(&tiny(text(&work.path().join("a.csv")), text(&work.path().join("q")), &["--quiet"]));
    assert_eq!(quiet, "");
}

#[test]
fn options_of_an_index_that_is_not_built_are_said_to_have_no_effect() {
    let work = folder();
    write_questions(&work.path().join("q.parquet"), &TEXTS);
    let said = |more: &[&str]| {
        let more = [&["--force", "--hnsw-ef-search", "200"], more].concat();
        mine_ok(&tiny(text(&work.path().join("q.parquet")), text(&work.path().join("out")), &more))
    };
    let warning = "warning: --hnsw-ef-search has no effect: the search is exact";
    for index in ["auto", "exact"] {
        assert_eq!(said(&["--index", index]).matches(warning).count(), 1);
    }
    assert!(!said(&["--index", "hnsw"]).contains("has no effect"));
}
