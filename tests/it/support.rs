//! Running the binary, making inputs, reading results.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type, UInt32Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// Path of something under the repository's root.
pub fn repo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Says that a test shows nothing here, past libtest's capture: a skipped test reads "ok" otherwise.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Path of real data beside the checkout, `None` (and a line that says so) when it is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = repo("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{} is not there", path.display()));
    None
}

/// The `mine` command with `arguments`, to be started by the caller.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mine"));
    command.args(arguments);
    command
}

/// Runs `mine` to its end.
pub fn mine(arguments: &[&str]) -> Output {
    command(arguments).output().expect("mine starts")
}

/// Runs `mine` and requires success.
pub fn mine_ok(arguments: &[&str]) -> String {
    let output = mine(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "mine {arguments:?} failed:\n{stderr}");
    stderr
}

/// Runs `mine` and requires failure with `code`: one clear error, no panic, no backtrace.
pub fn mine_fails(arguments: &[&str], code: i32) -> String {
    let output = mine(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "mine {arguments:?}:\n{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
    assert!(
        !stderr.contains("panicked") && !stderr.contains("backtrace") && !stderr.contains("internal error"),
        "{stderr}"
    );
    assert!(output.stdout.is_empty(), "errors go to stderr");
    stderr
}

/// The time that runs are said to be at, so that they write the same bytes.
pub const RUN_TIME: &str = "2026-11-27T03:00:00Z";

/// Arguments of a run with the tiny model: fast, and free of the built-in model's quality. What `more` sets wins.
pub fn tiny<'a>(input: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
    let defaults = [
        ("--bi-encoder", model),
        ("--cross-encoder", "none"),
        ("--min-cosine", "0.7"),
        ("--threshold", "0.9"),
        ("--run-time", RUN_TIME),
    ];
    let unset = defaults.into_iter().filter(|(flag, _)| !more.contains(flag)).flat_map(|(flag, value)| [flag, value]);
    ["--input", input, "--output", output].into_iter().chain(unset).chain(more.iter().copied()).collect()
}

/// A folder that goes away with the test.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Path as the text that arguments need.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// Writes columns as Parquet, `rows_per_group` rows a row group.
pub fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>, rows_per_group: usize) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows_per_group))
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Writes questions with their ids.
pub fn write_rows(path: &Path, rows: &[(i64, String)]) {
    let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id));
    let texts = StringArray::from_iter_values(rows.iter().map(|(_, text)| text.as_str()));
    write_parquet(path, vec![("id", Arc::new(ids)), ("text", Arc::new(texts))], 100);
}

/// Random numbers that are the same every time.
pub struct Random(pub u64);

impl Random {
    /// A number below `most`.
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most.max(1)
    }
}

/// Writes questions with ids 1, 2, 3 ….
pub fn write_questions(path: &Path, texts: &[&str]) {
    let ids = Int64Array::from_iter_values(1..=texts.len() as i64);
    let texts = StringArray::from_iter_values(texts);
    write_parquet(path, vec![("id", Arc::new(ids)), ("text", Arc::new(texts))], 1000);
}

/// A result file as one batch.
pub fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(|batch| batch.unwrap()).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// A column of 64-bit integers.
pub fn i64s(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// A column of 32-bit unsigned integers.
pub fn u32s(batch: &RecordBatch, name: &str) -> Vec<u32> {
    batch.column_by_name(name).unwrap().as_primitive::<UInt32Type>().values().to_vec()
}

/// A column of 64-bit unsigned integers.
pub fn u64s(batch: &RecordBatch, name: &str) -> Vec<u64> {
    batch.column_by_name(name).unwrap().as_primitive::<UInt64Type>().values().to_vec()
}

/// A column of 64-bit integers, null as `None`.
pub fn optional_i64s(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect()
}

/// A column of 32-bit floats, null as `None`.
pub fn f32s(batch: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    batch.column_by_name(name).unwrap().as_primitive::<Float32Type>().iter().collect()
}

/// A column of strings, null as an empty one.
pub fn strings(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    (0..column.len()).map(|row| column.value(row).to_string()).collect()
}

/// A column of booleans; null is false.
pub fn bools(batch: &RecordBatch, name: &str) -> Vec<bool> {
    let column = batch.column_by_name(name).unwrap().as_boolean();
    column.iter().map(|value| value == Some(true)).collect()
}

/// `stage.metric` → value of a run's metrics.
pub fn metrics(output: &Path) -> BTreeMap<String, f64> {
    let batch = read(&output.join("metrics.parquet"));
    let (stages, names) = (strings(&batch, "stage"), strings(&batch, "metric"));
    let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>().values().to_vec();
    stages.iter().zip(&names).map(|(stage, name)| format!("{stage}.{name}")).zip(values).collect()
}

/// The result files whose bytes must not change from run to run.
pub const RESULTS: [&str; 7] = [
    "pairs.parquet",
    "clusters.parquet",
    "cluster_stats.parquet",
    "cluster_events.parquet",
    "membership_changes.parquet",
    "skipped.parquet",
    "metrics.parquet",
];

/// Requires that two runs wrote the same bytes.
pub fn assert_same_results(left: &Path, right: &Path) {
    for file in RESULTS {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(read(left) == read(right), "{file} differs between {} and {}", left.display(), right.display());
    }
}

/// Question → (its cluster, whether it represents it, its probability to the representative) by ids as text. A cluster is
/// told by its smallest question, so that outputs with other cluster ids can be compared.
pub fn partition(output: &Path) -> BTreeMap<String, (String, bool, Option<String>)> {
    let batch = read(&output.join("clusters.parquet"));
    let ids = batch.column_by_name("id").unwrap();
    let id = |row: usize| arrow::util::display::array_value_to_string(ids, row).unwrap();
    let clusters = i64s(&batch, "cluster_id");
    let (representative, probability) =
        (bools(&batch, "is_representative"), f32s(&batch, "probability_to_representative"));
    let mut first: BTreeMap<i64, String> = BTreeMap::new();
    for (row, cluster) in clusters.iter().enumerate() {
        first.entry(*cluster).and_modify(|first| *first = first.clone().min(id(row))).or_insert_with(|| id(row));
    }
    let row = |row: usize| {
        let probability = probability[row].map(|p| p.to_string());
        (id(row), (first[&clusters[row]].clone(), representative[row], probability))
    };
    (0..clusters.len()).map(row).collect()
}

/// Requires the same pairs with the same probabilities, and the same clusters whatever their ids and their past.
pub fn assert_same_decisions(left: &Path, right: &Path) {
    for file in ["pairs.parquet", "skipped.parquet"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(read(left) == read(right), "{file} differs between {} and {}", left.display(), right.display());
    }
    assert_eq!(partition(left), partition(right));
}

/// Copies a folder with everything in it, over what is there.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Standard output of a command that must succeed, as JSON.
pub fn json(arguments: &[&str]) -> Value {
    let output = mine(arguments);
    assert!(output.status.success(), "mine {arguments:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("stdout is one JSON object")
}

/// Copies a model folder with all that is in it.
pub fn copy_model(from: &str, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        if entry.path().is_dir() {
            copy_model(text(&entry.path()), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
