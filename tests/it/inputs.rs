//! Every kind of input that is read, and what comes out of it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, Int64Array, LargeStringArray, StringArray, StringViewArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Int32Type, UInt64Type};

use crate::support::*;

const TEXTS: [&str; 5] = [
    "How do I learn to play the guitar?",
    "What is the capital of France?",
    "How do I learn to play the guitar?",
    "What  is the capital of France?",
    "Why is the sky blue?",
];

/// Runs the tiny model over `columns` and returns the pairs.
fn pairs_of(columns: Vec<(&str, ArrayRef)>, more: &[&str]) -> arrow::array::RecordBatch {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_parquet(&input, columns, 2);
    mine_ok(&tiny(text(&input), text(&output), more));
    read(&output.join("pairs.parquet"))
}

fn copies(batch: &arrow::array::RecordBatch) -> Vec<(usize, String)> {
    strings(batch, "kind").into_iter().enumerate().filter(|(_, kind)| kind != "semantic").collect()
}

#[test]
fn text_in_every_string_type() {
    let dictionary: DictionaryArray<Int32Type> = TEXTS.into_iter().collect();
    let arrays: [ArrayRef; 4] = [
        Arc::new(StringArray::from(TEXTS.to_vec())),
        Arc::new(LargeStringArray::from(TEXTS.to_vec())),
        Arc::new(StringViewArray::from(TEXTS.to_vec())),
        Arc::new(dictionary),
    ];
    for array in arrays {
        let kind = array.data_type().clone();
        let batch = pairs_of(vec![("text", array)], &[]);
        let found: Vec<(i64, i64, String)> = copies(&batch)
            .into_iter()
            .map(|(row, kind)| (i64s(&batch, "id_a")[row], i64s(&batch, "id_b")[row], kind))
            .collect();
        assert_eq!(found, [(0, 2, "exact".to_string()), (1, 3, "normalised".to_string())], "{kind}");
    }
}

#[test]
fn ids_keep_type_and_value() {
    let texts: ArrayRef = Arc::new(StringArray::from(TEXTS.to_vec()));
    let ids: [ArrayRef; 5] = [
        Arc::new(Int32Array::from(vec![-5, 4, 3, 2, 1])),
        Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX - 1, 2, 1, 0])),
        Arc::new(StringArray::from(vec!["a", "007", "", "é", "b"])),
        Arc::new(LargeStringArray::from(vec!["a", "007", "7", "é", "b"])),
        Arc::new(StringViewArray::from(vec!["a", "007", "a very long identifier that is not inlined", "é", "b"])),
    ];
    for array in ids {
        let batch = pairs_of(vec![("text", texts.clone()), ("key", array.clone())], &["--id-column", "key"]);
        let (a, b) = (batch.column_by_name("id_a").unwrap(), batch.column_by_name("id_b").unwrap());
        assert_eq!((a.data_type(), b.data_type()), (array.data_type(), array.data_type()));
        // the smaller id first: numbers by value, strings by their bytes
        let is_ascending = matches!(array.data_type(), DataType::Int32 | DataType::Utf8View);
        let (smaller, larger) = if is_ascending { (0, 2) } else { (2, 0) };
        let is_pair = |row: usize| {
            a.slice(row, 1).as_ref() == array.slice(smaller, 1).as_ref()
                && b.slice(row, 1).as_ref() == array.slice(larger, 1).as_ref()
        };
        assert!(copies(&batch).iter().any(|(row, kind)| kind == "exact" && is_pair(*row)), "{}", array.data_type());
    }
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 1, 2, 3, 4]));
    let batch = pairs_of(vec![("id", large), ("text", texts)], &[]);
    let largest = batch.column_by_name("id_b").unwrap().as_primitive::<UInt64Type>();
    assert!(largest.values().contains(&u64::MAX));
}

#[test]
fn delimited_text_and_json_lines_give_what_parquet_gives() {
    let work = folder();
    let parquet = work.path().join("q.parquet");
    write_questions(&parquet, &TEXTS);
    let rows = || TEXTS.iter().enumerate().map(|(at, text)| (at + 1, text));
    let csv: String = rows().map(|(id, text)| format!("\"{text}\",{id}\n")).collect();
    let tsv: String = rows().map(|(id, text)| format!("{id}\tx\t{text}\n")).collect();
    let json: String = rows().map(|(id, text)| format!("{{\"id\": {id}, \"text\": {:?}}}\n\n", text)).collect();
    std::fs::write(work.path().join("q.csv"), format!("\u{feff}text,id\n{csv}")).unwrap();
    std::fs::write(work.path().join("q.tsv"), format!("id\tother\ttext\n{tsv}")).unwrap();
    std::fs::write(work.path().join("q.jsonl"), json).unwrap();
    let run = |name: &str| {
        let output = work.path().join(format!("out-{name}"));
        mine_ok(&tiny(text(&work.path().join(name)), text(&output), &[]));
        output
    };
    let expected = run("q.parquet");
    for name in ["q.csv", "q.tsv", "q.jsonl"] {
        let found = run(name);
        for file in ["pairs.parquet", "clusters.parquet", "cluster_stats.parquet", "skipped.parquet"] {
            assert_eq!(read(&found.join(file)), read(&expected.join(file)), "{name} {file}");
        }
    }
}

#[test]
fn ids_with_leading_zeros_stay_text() {
    let work = folder();
    let (input, output) = (work.path().join("q.csv"), work.path().join("out"));
    std::fs::write(&input, "id,text\n007,same\n7,same\n").unwrap();
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let pairs = read(&output.join("pairs.parquet"));
    assert_eq!((strings(&pairs, "id_a"), strings(&pairs, "id_b")), (vec!["007".to_string()], vec!["7".to_string()]));
}

#[test]
fn folders_and_globs_are_one_table() {
    let work = folder();
    let parts = work.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    let half = |name: &str, ids: [i64; 2], texts: [&str; 2]| {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        write_parquet(&parts.join(name), vec![("id", ids), ("text", texts)], 1);
    };
    half("b.parquet", [3, 4], ["same", "other"]);
    half("a.parquet", [1, 2], ["same", "third one"]);
    std::fs::write(parts.join("notes.txt"), "not a table").unwrap();
    for input in [text(&parts).to_string(), format!("{}/*.parquet", text(&parts))] {
        let output = work.path().join("out");
        mine_ok(&tiny(&input, text(&output), &["--force"]));
        let pairs = read(&output.join("pairs.parquet"));
        let (row, kind) = copies(&pairs)[0].clone();
        assert_eq!((i64s(&pairs, "id_a")[row], i64s(&pairs, "id_b")[row], kind.as_str()), (1, 3, "exact"));
    }
}

#[test]
fn a_glob_of_csv_files_agrees_on_text_ids() {
    let work = folder();
    let output = work.path().join("out");
    std::fs::write(work.path().join("a.csv"), "id,text\n1,same\n2,\"say \"\"hi\"\"\"\n").unwrap();
    std::fs::write(work.path().join("b.csv"), "id,text\nA7,same\n").unwrap();
    std::fs::write(work.path().join("c.csv"), "id,text\n").unwrap();
    mine_ok(&tiny(&format!("{}/*.csv", text(work.path())), text(&output), &[]));
    let pairs = read(&output.join("pairs.parquet"));
    let (row, _) = copies(&pairs)[0].clone();
    assert_eq!((strings(&pairs, "id_a")[row].as_str(), strings(&pairs, "id_b")[row].as_str()), ("1", "A7"));
}

#[test]
fn null_and_blank_texts_are_skipped_counted_and_listed() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let texts: ArrayRef =
        Arc::new(StringArray::from(vec![Some("same"), None, Some(" \u{a0}\t"), Some("same"), Some("")]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![10, 20, 30, 40, 50]));
    write_parquet(&input, vec![("id", ids), ("text", texts)], 2);
    let stderr = mine_ok(&tiny(text(&input), text(&output), &[]));
    assert!(stderr.contains("warning: 3 rows skipped (1 with null text, 2 with blank text)"), "{stderr}");
    let skipped = read(&output.join("skipped.parquet"));
    assert_eq!(i64s(&skipped, "id"), [20, 30, 50]);
    assert_eq!(u32s(&skipped, "row"), [1, 2, 4]);
    assert_eq!(strings(&skipped, "reason"), ["null text", "blank text", "blank text"]);
    let metrics = metrics(&output);
    assert_eq!((metrics["read.null_text"], metrics["read.blank_text"], metrics["read.rows_out"]), (1.0, 2.0, 2.0));
    let clusters = read(&output.join("clusters.parquet"));
    assert_eq!(i64s(&clusters, "id"), [10, 40]);
}

#[test]
fn a_text_of_a_megabyte_is_cut_and_counted() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let long = "how are you ".repeat(90_000);
    write_questions(&input, &[&long, "how are you", "why is that"]);
    let stderr = mine_ok(&tiny(text(&input), text(&output), &[]));
    assert!(stderr.contains("1 texts are longer than the model's limit of 32 tokens"), "{stderr}");
    assert_eq!(metrics(&output)["embed.truncated"], 1.0);
}

#[test]
fn empty_tables_keep_the_type_of_their_ids() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let (ids, texts) = (StringArray::from(Vec::<&str>::new()), StringArray::from(Vec::<&str>::new()));
    write_parquet(&input, vec![("id", Arc::new(ids)), ("text", Arc::new(texts))], 2);
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let pairs = read(&output.join("pairs.parquet"));
    assert_eq!((pairs.num_rows(), pairs.column_by_name("id_a").unwrap().data_type()), (0, &DataType::Utf8));
}
