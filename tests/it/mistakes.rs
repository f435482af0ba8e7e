//! The mistakes of a first hour, and all that `mine` says of each: `mistakes.txt` is meant to be read.
//!
//! After a change of a message, `MINE_WRITE_MISTAKES=1 cargo test --release mistakes` writes the file anew.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};

use crate::support::*;

const FILE: &str = "tests/it/mistakes.txt";

/// Headings, and the commands below each as they are typed.
const TYPED: [(&str, &[&str]); 7] = [
    (
        "Which questions?",
        &[
            "mine",
            "mine questions.csv",
            "mine --input a.csv b.csv",
            "mine --input=a.csv b.csv --threshold 0.9",
            "mine --input question.csv",
            "mine --input 'dumps/*.csv'",
            "mine --input dumps",
            "mine --input a.csv --input '*.csv'",
            "mine --input sheet.xlsx",
            "mine --input dump.csv.zip",
            "mine --input questions.txt",
            "mine --input empty.csv",
            "mine --input - < empty.csv",
            "mine --input /dev/null",
            "mine --input a.csv --reference known.csv",
        ],
    ),
    (
        "Which columns?",
        &[
            "mine --input titles.csv",
            "mine --input questions.csv --text-column titel,body",
            "mine --input questions.csv --text-column '{title'",
            "mine --input questions.csv --id-column key --text-column title",
            "mine --input semicolons.csv",
            "mine --input a.csv --keep votes",
            "mine --input a.csv --keep logest",
            "mine --input a.csv --keep :lowest",
            "mine --input tags.json --keep tags",
            "mine --input fractions.parquet",
            "mine --input fractions.json",
            "mine --input missing.parquet",
        ],
    ),
    (
        "What is in the files?",
        &[
            "mine --input latin.csv",
            "mine --input latin.jsonl",
            "mine --input latin.json",
            "mine --input latin.csv --encoding cp1251",
            "mine --input utf16.csv",
            "mine --input cut.csv.gz",
            "mine --input cut.csv.zst",
            "mine --input cut.json",
            "mine --input pretty.json",
            "mine --input list.json",
            "mine --input a.csv --format json",
            "mine --input a.csv --format xlsx",
        ],
    ),
    (
        "Numbers",
        &[
            "mine --input a.csv --rerank-budget soon",
            "mine --input a.csv --rerank-budget 1d",
            "mine --input a.csv --top-k -5",
            "mine --input a.csv --top-k=-5",
            "mine --input a.csv --top-k ten",
            "mine --input a.csv --top-k 0",
            "mine --input a.csv --threads 5000",
            "mine --input a.csv --threshold 70%",
            "mine --input a.csv --threshold 1.5",
            "mine sample --run mined --n -5",
        ],
    ),
    (
        "Pipeline files",
        &[
            "mine run nightly.toml",
            "mine run quoted.toml",
            "mine run word.toml",
            "mine run negative.toml",
            "mine run unknown.toml",
            "mine run good.toml --set top-k=many",
        ],
    ),
    (
        "Models",
        &[
            "mine --input a.csv --bi-encoder ./model-x",
            "mine --input a.csv --bi-encoder empty-folder",
            "mine --input a.csv --bi-encoder cut-model --cross-encoder none --min-cosine 0.7 --threshold 0.9",
        ],
    ),
    (
        "Things that are not there",
        &[
            "mine show nowhere",
            "mine history nowhere",
            "mine report nowhere",
            "mine sample --run nowhere",
            "mine evaluate --run nowhere --gold gold.csv",
            "mine evaluate --pairs pairs.csv",
            "mine evaluate --sample to-label.csv",
            "mine calibrate --pairs pairs.csv --bi-encoder model",
            "mine split --input pairs.csv --output parts",
            "mine train --pairs pairs.csv --output model",
        ],
    ),
];

/// Writes the files that the commands name.
fn prepare(work: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(work.join(name), bytes).unwrap();
    let csv = b"id,text\n1,how are you\n2,how are you?\n";
    write("a.csv", csv);
    write("b.csv", b"id,text\n3,why\n");
    write("questions.csv", b"id,title,body,lang\n1,how,are you,en\n");
    write("titles.csv", b"id,title,lang\n1,how are you,en\n");
    write("semicolons.csv", b"id;text\n1;how are you\n");
    for name in ["sheet.xlsx", "dump.csv.zip", "questions.txt"] {
        write(name, csv);
    }
    write("empty.csv", b"");
    for folder in ["dumps", "empty-folder"] {
        std::fs::create_dir(work.join(folder)).unwrap();
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let floats = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let (fractions, missing) = (floats(vec![Some(1.0), Some(2.5)]), floats(vec![Some(1.0), None]));
    write_parquet(&work.join("fractions.parquet"), vec![("id", fractions), ("text", texts.clone())], 2);
    write_parquet(&work.join("missing.parquet"), vec![("id", missing), ("text", texts)], 2);
    write("fractions.json", b"[{\"id\": 1.0, \"text\": \"a\"}, {\"id\": 2.5, \"text\": \"b\"}]");
    write("tags.json", b"[{\"id\": 1, \"text\": \"how are you\", \"tags\": [\"a\"]}]");
    write("latin.csv", b"id,text\n1,caf\xe9\n");
    write("latin.jsonl", b"{\"id\": 1, \"text\": \"caf\xe9\"}\n");
    write("latin.json", b"[\n{\"id\": 1, \"text\": \"caf\xe9\"}\n]\n");
    write("utf16.csv", b"\xff\xfei\0d\0");
    let long: Vec<u8> = (0..5000).flat_map(|id| format!("{id},question {}\n", id * 7919 % 5003).into_bytes()).collect();
    let long = [b"id,text\n", &long[..]].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &long).unwrap();
    let (gzip, zstd) = (gzip.finish().unwrap(), zstd::encode_all(&long[..], 1).unwrap());
    write("cut.csv.gz", &gzip[..gzip.len() / 2]);
    write("cut.csv.zst", &zstd[..zstd.len() / 2]);
    write("cut.json", b"[{\"id\": 1, \"text\": \"a\"}, {\"id\": 2, \"te");
    write("pretty.json", b"{\n  \"questions\": [{\"id\": 1, \"text\": \"a\"}]\n}\n");
    write("list.json", b"[\"how are you\", \"why\"]");
    write("good.toml", b"input = \"a.csv\"\n");
    write("quoted.toml", b"input = \"a.csv\"\ntop-k = \"10\"\n");
    write("word.toml", b"input = \"a.csv\"\ntop-k = \"ten\"\n");
    write("negative.toml", b"input = \"a.csv\"\ntop-k = -5\n");
    write("unknown.toml", b"input = \"a.csv\"\ntopk = 5\n");
    copy_folder(&repo("fixtures/models/tiny-bert"), &work.join("cut-model"));
    let weights = work.join("cut-model/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
}

/// The words of a line, single quotes around those that have spaces or stars.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, piece) in line.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(piece.split_whitespace().map(String::from)),
            _ => words.push(piece.into()),
        }
    }
    words
}

/// What a command line says, and its exit code.
fn said(typed: &str, work: &Path) -> (String, i32) {
    let mut words = words(typed);
    let stdin = match words.iter().position(|word| word == "<") {
        Some(at) => {
            let file = std::fs::File::open(work.join(&words[at + 1])).unwrap();
            words.truncate(at);
            Stdio::from(file)
        }
        None => Stdio::null(),
    };
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let output = command(&arguments).current_dir(work).env("HF_HUB_OFFLINE", "1").stdin(stdin).output().unwrap();
    assert!(output.stdout.is_empty(), "{typed}: errors go to stderr");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{typed}:\n{said}");
    (said.replace(text(work), "WORK"), output.status.code().unwrap())
}

#[test]
fn every_mistake_is_named_with_what_to_type_instead() {
    let work = folder();
    prepare(work.path());
    let mut page = String::from("What mine says of mistakes. Written by tests/it/mistakes.rs, which compares it.\n");
    for (heading, commands) in TYPED {
        write!(page, "\n\n# {heading}\n").unwrap();
        for typed in commands {
            let (said, code) = said(typed, work.path());
            // what is typed wrong ends with 2; what is in a file that is there, with 1
            assert!([1, 2].contains(&code), "{typed}: {code}");
            write!(page, "\n$ {typed}\n{said}[exit code {code}]\n").unwrap();
        }
    }
    if std::env::var_os("MINE_WRITE_MISTAKES").is_some() {
        std::fs::write(repo(FILE), &page).unwrap();
    }
    let written = std::fs::read_to_string(repo(FILE)).unwrap();
    for (at, (written, now)) in written.lines().zip(page.lines()).enumerate() {
        assert_eq!(written, now, "{FILE}, line {}", at + 1);
    }
    assert_eq!(written.lines().count(), page.lines().count());
}

#[test]
fn what_is_not_there_has_one_exit_code() {
    let work = folder();
    let not_there = TYPED.iter().find(|(heading, _)| *heading == "Things that are not there").unwrap().1;
    let more = [
        "mine --input q.csv",
        "mine run p.toml",
        "mine --input 'x/*.csv'",
        "mine explain --a a --b b --bi-encoder ./x",
    ];
    for typed in not_there.iter().chain(&more) {
        assert_eq!(said(typed, work.path()).1, 2, "{typed}");
    }
}
