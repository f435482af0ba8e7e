//! Bad input and bad usage: one clear error with its place, the right exit code, nothing half-written.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};

use crate::support::*;

/// Runs over a file that cannot be read and checks that nothing but the work folder was left.
fn refuses(name: &str, write: impl Fn(&std::path::Path)) -> String {
    refuses_with(name, write, &[])
}

fn refuses_with(name: &str, write: impl Fn(&std::path::Path), more: &[&str]) -> String {
    let work = folder();
    let (input, output) = (work.path().join(name), work.path().join("out"));
    write(&input);
    let error = mine_fails(&tiny(text(&input), text(&output), more), 1);
    for file in RESULTS {
        assert!(!output.join(file).exists(), "{file} was written");
    }
    assert!(!output.join("manifest.json").exists());
    error
}

fn columns(ids: Vec<i64>, texts: Vec<&str>) -> Vec<(&'static str, ArrayRef)> {
    vec![("id", Arc::new(Int64Array::from(ids)) as ArrayRef), ("text", Arc::new(StringArray::from(texts)))]
}

#[test]
fn a_duplicate_id_is_named_with_both_rows() {
    let error =
        refuses("q.parquet", |path| write_parquet(path, columns(vec![7, 8, 9, 8], vec!["a", "b", "c", "d"]), 2));
    assert!(error.contains("id 8 occurs twice: row 1 of") && error.contains("and row 3 of"), "{error}");
    assert!(error.contains("hint: ids in column \"id\" must be unique"), "{error}");
}

#[test]
fn a_null_id_is_named_with_its_row() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let error = refuses("q.parquet", |path| write_parquet(path, vec![("id", ids.clone()), ("text", texts.clone())], 2));
    assert!(error.contains("row 2, column \"id\": the id is null"), "{error}");
}

#[test]
fn a_missing_column_names_those_there_are() {
    let write = |path: &std::path::Path| {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        write_parquet(path, vec![("question", texts), ("tags", Arc::new(Int64Array::from(vec![1])))], 2);
    };
    let error = refuses("q.parquet", write);
    assert!(error.contains("no column \"text\"; the columns are: question, tags"), "{error}");
    assert!(error.contains("hint: name it with --text-column"), "{error}");
    let error = refuses_with("q.parquet", write, &["--text-column", "question", "--id-column", "tgas"]);
    assert!(error.contains("no column \"tgas\"") && error.contains("--id-column tags"), "{error}");
    let error = refuses("q.csv", |path| std::fs::write(path, "id;text\n1;a\n").unwrap());
    assert!(error.contains("the columns are: id;text") && error.contains("hint: its header looks like"), "{error}");
}

#[test]
fn a_column_of_another_type_is_named_with_its_type() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let error = refuses("q.parquet", |path| write_parquet(path, vec![("text", numbers.clone())], 2));
    assert!(error.contains("column \"text\" has type Float64, expected strings"), "{error}");
    let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let both = vec![("id", truths), ("text", texts.clone())];
    let error = refuses("q.parquet", |path| write_parquet(path, both.clone(), 2));
    assert!(error.contains("column \"id\" has type Boolean, expected integers or strings"), "{error}");
    for (value, said) in [(1.5, "1.5"), (f64::NAN, "NaN"), (1e300, "1"), (9_007_199_254_740_994.0, "9007199254740994")]
    {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let ids: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, value]));
        let error =
            refuses("q.parquet", |path| write_parquet(path, vec![("id", ids.clone()), ("text", texts.clone())], 2));
        assert!(error.contains(&format!("column \"id\": row 2: the id {said}")), "{error}");
    }
}

#[test]
fn files_that_are_not_what_they_say() {
    let error = refuses("q.parquet", |path| std::fs::write(path, "id,text\n1,a\n").unwrap());
    assert!(error.contains("q.parquet: not a readable Parquet file"), "{error}");
    let error = refuses("q.parquet", |path| {
        write_parquet(path, columns((0..500).collect(), vec!["some text"; 500]), 100);
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    });
    assert!(error.contains("q.parquet: not a readable Parquet file"), "{error}");
    let error = refuses("q.parquet", |path| {
        std::fs::copy(repo("fixtures/questions-brotli.parquet"), path).unwrap();
    });
    assert!(error.contains("Brotli compression is not supported") && error.contains("hint: write the file"), "{error}");
    for name in ["q.parquet", "q.csv", "q.jsonl"] {
        let error = refuses(name, |path| std::fs::write(path, "").unwrap());
        assert!(error.contains("the file is empty (0 bytes)"), "{error}");
    }
    let work = folder();
    let (unknown, output) = (work.path().join("q.txt"), work.path().join("out"));
    std::fs::write(&unknown, "id,text\n1,a\n").unwrap();
    for (input, said) in
        [(&unknown, "q.txt: its name does not tell its format"), (&work.path().into(), "holds no Parquet files")]
    {
        let error = mine_fails(&tiny(text(input), text(&output), &[]), 2);
        assert!(error.contains(said) && error.contains("hint: "), "{error}");
    }
    // what the name does not tell, the bytes or the flag do
    mine_ok(&tiny(text(&unknown), text(&output), &["--format", "csv"]));
    let nameless = work.path().join("part-0");
    write_questions(&nameless, &["a"]);
    mine_ok(&tiny(text(&nameless), text(&output), &["--force"]));
}

/// A Parquet file whose string column holds bytes that are not UTF-8, at row 1501 of 2000.
fn write_invalid_utf8(path: &std::path::Path) {
    let texts: Vec<Vec<u8>> = (0..2000)
        .map(|row| if row == 1501 { vec![b'a', 0xff, b'b'] } else { format!("text {row}").into_bytes() })
        .collect();
    let file = std::fs::File::create(path).unwrap();
    let schema =
        Arc::new(parquet::schema::parser::parse_message_type("message m { required binary text (STRING); }").unwrap());
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(file, schema, Arc::new(Default::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<parquet::data_type::ByteArray> = texts.into_iter().map(Into::into).collect();
    column.typed::<parquet::data_type::ByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn invalid_utf8_is_named_with_its_place() {
    let error = refuses("q.parquet", write_invalid_utf8);
    assert!(error.contains("row 1501, column \"text\"") && error.to_lowercase().contains("utf"), "{error}");
    let error = refuses("q.csv", |path| std::fs::write(path, b"id,text\n1,fine\n2,a\xffb\n").unwrap());
    assert!(error.contains("line 3: invalid UTF-8 in field 2") && error.contains("--encoding windows-1252"), "{error}");
    let error =
        refuses("q.jsonl", |path| std::fs::write(path, b"{\"text\": \"fine\"}\n{\"text\": \"a\xffb\"}\n").unwrap());
    assert!(error.contains("line 2: invalid UTF-8") && error.contains("--encoding windows-1252"), "{error}");
}

#[test]
fn broken_lines_are_named() {
    let error = refuses("q.csv", |path| std::fs::write(path, "id,text\n1,a\n2,b,c\n").unwrap());
    assert!(error.contains("line 3: 3 fields, expected 2"), "{error}");
    let error = refuses("q.csv", |path| std::fs::write(path, "id,text\n1,a\n2,\"b\n3,c\n").unwrap());
    assert!(error.contains("line 3: a quoted field is never closed"), "{error}");
    let error = refuses("q.csv", |path| std::fs::write(path, "id,text\n1,a\n,b\n").unwrap());
    assert!(error.contains("line 3, column \"id\": the id is empty"), "{error}");
    let error = refuses("q.jsonl", |path| std::fs::write(path, "{\"text\": \"a\"}\n{\"text\": \n").unwrap());
    assert!(error.contains("line 2: not JSON"), "{error}");
    let error = refuses("q.jsonl", |path| std::fs::write(path, "{\"text\": \"a\"}\n{\"text\": 5}\n").unwrap());
    assert!(error.contains("line 2, key \"text\": found 5, expected a string"), "{error}");
    let error = refuses("q.jsonl", |path| {
        std::fs::write(path, "{\"id\": 1, \"text\": \"a\"}\n{\"id\": \"x\", \"text\": \"b\"}\n").unwrap()
    });
    assert!(error.contains("line 2, key \"id\": found \"x\""), "{error}");
    let error = refuses("q.jsonl", |path| std::fs::write(path, "{\"question\": \"a\"}\n").unwrap());
    assert!(error.contains("no column \"text\"; the columns are: question"), "{error}");
}

#[test]
fn input_that_is_not_there() {
    let work = folder();
    let output = work.path().join("out");
    let error = mine_fails(&tiny("/no/such/file.parquet", text(&output), &[]), 2);
    assert!(error.contains("/no/such/file.parquet: no such file or folder"), "{error}");
    let error = mine_fails(&tiny("/no/such/*.parquet", text(&output), &[]), 2);
    assert!(error.contains("the glob matches no file"), "{error}");
}

#[test]
fn wrong_usage_ends_with_code_2() {
    let error = mine_fails(&[], 2);
    assert!(error.contains("--input is missing"), "{error}");
    let error = mine_fails(&["--input", "x", "--topk", "5"], 2);
    assert!(error.contains("--top-k"), "{error}");
    let error = mine_fails(&["--input", "x", "--threshold", "1.5"], 2);
    assert!(error.contains("--threshold is 1.5, expected 0 to 1"), "{error}");
    let error = mine_fails(&["--input", "x", "--rerank-budget", "soon"], 2);
    assert!(error.contains("neither a number of pairs (200000) nor a time (30m, 1h, 45s)"), "{error}");
    let (input, folder, work) = (repo("fixtures/questions.parquet"), repo("fixtures"), folder());
    let error = mine_fails(&["--input", text(&folder), "--output", text(&folder)], 2);
    assert!(error.contains("is the folder of the input"), "{error}");
    // a glob finds results too, and a source that has a result's name would be replaced
    let source = work.path().join("embeddings.parquet");
    std::fs::copy(&input, &source).unwrap();
    for input in [text(&source).to_string(), text(&work.path().join("*.parquet")).to_string()] {
        let error = mine_fails(&["--input", &input, "--output", text(work.path()), "--force"], 2);
        assert!(error.contains("is the folder of the input"), "{error}");
    }
    let error = mine_fails(
        &[
            "--input",
            text(&input),
            "--cross-encoder",
            crate::training::TINY,
            "--output",
            text(&work.path().join("out")),
        ],
        1,
    );
    assert!(error.contains("is a bi-encoder, expected a cross-encoder") && !error.contains("embed"), "{error}");
    let error = mine_fails(&["run", "/no/such/pipeline.toml"], 2);
    assert!(error.contains("/no/such/pipeline.toml: no such file"), "{error}");
}
