//! What the README and docs/ say can be typed: commands run, flags exist, snippets work, links lead somewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use dupmine::run::change_schema::{CLUSTER_EVENTS, MEMBERSHIP_CHANGES};
use dupmine::run::schema::{CLUSTER_STATS, CLUSTERS, METRICS, PAIRS, SKIPPED};

use crate::support::*;

/// Commands of the README that run here in their order, by their first words. Of all others the flags are checked.
const RUN: [&str; 12] = [
    "mine --input questions.parquet --top-k 100",
    "mine --input questions.parquet --cross-encoder none",
    "mine --input questions.parquet --rerank-budget 30m",
    "mine run pipelines/mine.toml",
    "mine show",
    "mine explain",
    "mine report mined",
    "mine sample",
    "mine evaluate --sample",
    "mine --input questions.parquet --threshold",
    "mine history mined",
    "mine rollback mined --to 1",
];

const SUBCOMMANDS: [&str; 17] = [
    "cluster",
    "devices",
    "run",
    "perturb",
    "split",
    "train",
    "evaluate",
    "calibrate",
    "sample",
    "models",
    "report",
    "show",
    "history",
    "rollback",
    "verify",
    "explain",
    "options",
];

/// A fenced block of a page.
struct Block {
    language: String,
    text: String,
}

fn page(name: &str) -> String {
    std::fs::read_to_string(repo(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every page that says what can be typed.
fn pages() -> Vec<String> {
    let mut names: Vec<String> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(String::from).to_vec();
    for entry in std::fs::read_dir(repo("docs")).unwrap().flatten() {
        let name = entry.file_name().to_str().unwrap().to_string();
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    names
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    // pieces between fences: outside, inside, outside …
    for piece in page.split("```").skip(1).step_by(2) {
        let (language, text) = piece.split_once('\n').unwrap_or((piece, ""));
        found.push(Block { language: language.trim().into(), text: text.into() });
    }
    found
}

/// The `mine` commands of a page's shell blocks, lines that end in a backslash joined, without comments.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in blocks(page).into_iter().filter(|block| block.language == "sh") {
        for line in block.text.replace("\\\n", " ").lines() {
            let line = line.split(" #").next().unwrap().trim();
            if line.starts_with("mine ") {
                found.push(line.to_string());
            }
        }
    }
    found
}

/// The words of a command as a shell would split them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Which subcommand the words after `mine` are for: none, one, or the two of `mine models …`.
fn subcommand(words: &[String]) -> Vec<&str> {
    let Some(first) = words.first().filter(|word| SUBCOMMANDS.contains(&word.as_str())) else { return Vec::new() };
    let second = words.get(1).filter(|_| ["models", "cluster", "devices"].contains(&first.as_str()));
    std::iter::once(first).chain(second).map(String::as_str).collect()
}

#[test]
fn every_flag_of_every_page_exists() {
    let mut help_of: BTreeMap<String, String> = BTreeMap::new();
    let mut checked = 0;
    for name in pages() {
        for typed in commands(&page(&name)) {
            let words = words(&typed);
            let of = subcommand(&words[1..]);
            let help = help_of.entry(of.join(" ")).or_insert_with(|| {
                let output = mine(&[&of[..], &["--help"]].concat());
                assert!(output.status.success(), "{name}: {typed}: no such command");
                String::from_utf8(output.stdout).unwrap()
            });
            let known: Vec<&str> = help.split([' ', '\n', ',', '=']).collect();
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                assert!(known.contains(&flag.as_str()), "{name}: {typed}: {flag} is not in its --help");
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "only {checked} flags were found: are commands in ```sh blocks?");
}

/// Runs a command of the README in `work`, and returns what it printed.
fn run(typed: &str, work: &Path) -> String {
    let words = words(typed);
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let output = command(&arguments).current_dir(work).output().expect("mine starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{typed}:\n{said}");
    said + &String::from_utf8_lossy(&output.stdout)
}

/// What a reader has before the first command: the fixture, and the pipelines beside it.
fn start() -> tempfile::TempDir {
    let work = folder();
    std::fs::copy(repo("fixtures/questions.parquet"), work.path().join("questions.parquet")).unwrap();
    copy_folder(&repo("pipelines"), &work.path().join("pipelines"));
    work
}

/// Fills in `is_duplicate` with what the run decided, as a person who agrees would.
fn fill_in_labels(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let header = rows.headers().unwrap().clone();
    let place = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (label, predicted) = (place("is_duplicate"), place("predicted"));
    let mut filled = csv::Writer::from_path(file).unwrap();
    filled.write_record(&header).unwrap();
    for row in rows.records() {
        let row = row.unwrap();
        let value = if &row[predicted] == "true" { "1" } else { "0" };
        filled.write_record(row.iter().enumerate().map(|(at, cell)| if at == label { value } else { cell })).unwrap();
    }
    filled.flush().unwrap();
}

/// Lines that are the same on every machine: all but the seconds.
fn without_seconds(text: &str) -> Vec<&str> {
    text.trim().lines().filter(|line| !line.starts_with("seconds ")).map(str::trim_end).collect()
}

#[test]
fn the_commands_of_the_readme_run_and_print_what_it_shows() {
    let readme = page("README.md");
    let work = start();
    let mut ran = Vec::new();
    for typed in commands(&readme) {
        let Some(known) = RUN.into_iter().find(|known| typed.starts_with(known)) else { continue };
        if typed.starts_with("mine evaluate --sample") {
            fill_in_labels(&work.path().join("to-label.csv"));
        }
        let said = run(&typed, work.path());
        if known == RUN[0] {
            let shown = blocks(&readme).into_iter().find(|block| block.language == "text").expect("output is shown");
            // a slow machine adds lines of progress
            let mut lines = without_seconds(&said).into_iter();
            for line in without_seconds(&shown.text) {
                assert!(lines.any(|said| said == line), "the README shows {line:?}, the command printed\n{said}");
            }
            snippets_work(&readme, work.path());
        }
        ran.push(known);
    }
    for known in RUN {
        assert!(ran.contains(&known), "README.md has no command that begins with {known:?}");
    }
    assert!(work.path().join("mined/report.html").is_file());
}

/// Runs the pandas and the DuckDB snippet if this machine has what they need.
fn snippets_work(readme: &str, work: &Path) {
    let blocks = blocks(readme);
    let of = |language: &str| {
        let found = blocks.iter().filter(|block| block.language == language);
        let texts: Vec<&str> = found.map(|block| block.text.as_str()).collect();
        assert!(!texts.is_empty(), "README.md has no snippet of {language}");
        texts.join("\n")
    };
    let sql = format!("import duckdb\nassert duckdb.sql('''{}''').fetchall(), 'no rows'", of("sql"));
    let python = |script: &str| {
        let run = Command::new("python3").args(["-c", script]).current_dir(work).output().ok()?;
        Some((run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned()))
    };
    for (needs, script) in [("pandas, pyarrow", of("python")), ("duckdb", sql)] {
        if !python(&format!("import {needs}")).is_some_and(|(imported, _)| imported) {
            skipped(&format!("python3 cannot import {needs}: a snippet of the README is not run"));
            continue;
        }
        let (worked, errors) = python(&script).expect("python3 starts");
        assert!(worked, "a snippet of README.md fails:\n{script}\n{errors}");
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let more = ["BENCHMARKS.md", "CHANGELOG.md", "fixtures/README.md"].map(String::from);
    for name in pages().into_iter().chain(more) {
        let (path, text) = (repo(&name), page(&name));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let linked: PathBuf = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(linked.exists(), "{name} links to {target}, which is not there");
            if !heading.is_empty() {
                let linked = std::fs::read_to_string(&linked).unwrap();
                let has = linked.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
                assert!(has, "{name} links to {target}, which has no such heading");
            }
        }
    }
}

#[test]
fn every_file_that_a_page_names_exists() {
    let folders = ["src/", "tests/", "docs/", "benches/", "fixtures/", "pipelines/", "templates/"];
    for name in pages() {
        let text = page(&name);
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|folder| word.starts_with(folder)) && !word.contains([' ', '\n', '*']);
            assert!(!is_path || repo(word).exists(), "{name} names {word}, which is not there");
        }
    }
}

#[test]
fn every_test_that_the_architecture_names_exists() {
    let mut named = 0;
    let text = page("ARCHITECTURE.md");
    for (module, test) in text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::")) {
        let Ok(code) = std::fs::read_to_string(repo("tests/it").join(format!("{module}.rs"))) else { continue };
        assert!(code.contains(&format!("fn {test}(")), "ARCHITECTURE.md names {module}::{test}, which is not there");
        named += 1;
    }
    assert!(named > 20, "only {named} tests are named");
}

/// A new column must be described.
#[test]
fn docs_describe_every_column() {
    let text = page("docs/output.md");
    let described = |file: &str, columns: Vec<&str>| {
        for column in columns {
            let row = text.lines().find(|line| line.starts_with(&format!("| `{file}` |"))).unwrap();
            let is_listed = row.split([',', '|']).any(|cell| cell.trim() == column);
            assert!(is_listed, "docs/output.md does not list {column} of {file}");
        }
    };
    described(PAIRS.file, PAIRS.columns.iter().map(|column| column.name).collect());
    described(CLUSTERS.file, CLUSTERS.columns.iter().map(|column| column.name).collect());
    described(CLUSTER_STATS.file, CLUSTER_STATS.columns.iter().map(|column| column.name).collect());
    described(SKIPPED.file, SKIPPED.columns.iter().map(|column| column.name).collect());
    described(CLUSTER_EVENTS.file, CLUSTER_EVENTS.columns.iter().map(|column| column.name).collect());
    described(MEMBERSHIP_CHANGES.file, MEMBERSHIP_CHANGES.columns.iter().map(|column| column.name).collect());
    described(METRICS.file, METRICS.columns.iter().map(|column| column.name).collect());
}
