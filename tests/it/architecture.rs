//! The invariants of the design, looked for in the sources.

use std::path::{Path, PathBuf};

use crate::support::{repo, skipped};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Lines of the sources outside `allowed` that contain one of `words`; unit tests at the end of a file do not count.
fn uses(words: &[&str], allowed: &[&str]) -> Vec<String> {
    let root = repo("src");
    let mut found = Vec::new();
    for path in sources(&root) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_string();
        if allowed.iter().any(|allowed| name.starts_with(allowed)) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        found.extend(
            lines.filter(|line| words.iter().any(|word| line.contains(word))).map(|line| format!("{name}: {line}")),
        );
    }
    found
}

#[test]
fn libraries_stay_in_their_rooms() {
    let none: [String; 0] = [];
    assert_eq!(uses(&["arrow::", "parquet::"], &["tables/"]), none);
    assert_eq!(uses(&["hnsw_rs"], &["search/hnsw.rs"]), none);
    assert_eq!(uses(&["tokenizers::"], &["text/tokenizer.rs"]), none);
    assert_eq!(uses(&["indicatif"], &["progress.rs"]), none);
    assert_eq!(uses(&["cfg(feature"], &["device.rs"]), none);
}

#[test]
fn stages_see_no_paths_clock_or_environment() {
    let outside = |folder: &str| {
        uses(&["std::path", "std::fs", "std::env", "Instant", "SystemTime", "toml::"], &[])
            .into_iter()
            .filter(|line| line.starts_with(folder))
            .collect::<Vec<_>>()
    };
    for folder in ["search/", "clustering/", "metrics/", "view/"] {
        assert_eq!(outside(folder), Vec::<String>::new());
    }
}

#[test]
fn only_results_go_to_stdout_and_only_main_exits() {
    let none: [String; 0] = [];
    assert_eq!(
        uses(&["println!("], &["progress.rs", "main.rs"])
            .into_iter()
            .filter(|l| !l.contains("eprintln!"))
            .collect::<Vec<_>>(),
        none
    );
    assert_eq!(uses(&["stdout()"], &["commands/output.rs"]), none);
    assert_eq!(uses(&["process::exit"], &["main.rs"]), none);
}

#[test]
fn no_file_is_too_long_and_none_unwraps() {
    let root = repo("src");
    for path in sources(&root).into_iter().chain(sources(&repo("tests"))) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
    assert_eq!(uses(&[".unwrap()", "todo!(", "unimplemented!(", "dbg!("], &[]), Vec::<String>::new());
}

#[test]
fn mod_files_only_declare_and_document() {
    for path in sources(&repo("src")).into_iter().filter(|path| path.ends_with("mod.rs")) {
        // the folders of src/models are ordered elsewhere
        if path.starts_with(repo("src/models")) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let is_code = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().take(2).collect();
            ["fn", "struct", "enum", "impl", "const", "static", "type", "trait"]
                .iter()
                .any(|word| words.first() == Some(word) || (words.len() > 1 && words[1] == *word))
        };
        let code: Vec<&str> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).filter(is_code).collect();
        assert_eq!(code, Vec::<&str>::new(), "{}", path.display());
    }
}

#[test]
fn the_readme_names_every_source_file() {
    let readme = std::fs::read_to_string(repo("README.md")).unwrap();
    for path in sources(&repo("src")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(name), "README.md does not name {}", path.display());
    }
}

#[test]
fn what_is_tracked_stays_under_30_mib() {
    let listed = std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(repo(".")).output();
    let Some(listed) = listed.ok().filter(|output| output.status.success() && !output.stdout.is_empty()) else {
        skipped("git lists no files here");
        return;
    };
    let names = String::from_utf8(listed.stdout).unwrap();
    let size = |name: &str| std::fs::metadata(repo(name)).map_or(0, |file| file.len());
    let total: u64 = names.split('\0').filter(|name| !name.is_empty()).map(size).sum();
    assert!(total > 1 << 20 && total < 30 << 20, "{total} bytes are tracked");
}
