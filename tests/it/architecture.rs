//! The invariants of ARCHITECTURE.md, looked for in the sources.

use std::collections::{BTreeMap, BTreeSet};
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
    // the node's result is a column of a query engine
    assert_eq!(uses(&["arrow::", "arrow_", "parquet::"], &["tables/", "cluster/node.rs"]), none);
    assert_eq!(uses(&["ballista_", "datafusion", " tonic::", "(tonic::", "<tonic::"], &["cluster/"]), none);
    assert_eq!(uses(&["object_store::"], &["store/object_storage.rs", "cluster/node.rs"]), none);
    assert_eq!(uses(&["hnsw_rs"], &["search/hnsw.rs"]), none);
    assert_eq!(uses(&["tokenizers::"], &["text/tokenizer.rs"]), none);
    assert_eq!(uses(&["indicatif"], &["progress.rs"]), none);
    assert_eq!(uses(&["cubecl::", "burn_cubecl"], &["models/kernels/cube/", "device/"]), none);
    let chosen_in = ["device.rs", "device/backend.rs", "cluster/mod.rs", "store/mod.rs", "models/kernels/mod.rs"];
    assert_eq!(uses(&["cfg(feature"], &chosen_in), none);
}

#[test]
fn stages_see_no_paths_or_environment() {
    let found = |folder: &str, words: &[&str]| -> Vec<String> {
        uses(words, &[]).into_iter().filter(|line| line.starts_with(folder)).collect()
    };
    let outside = ["std::path", "std::fs", "std::env", "toml::"];
    for stage in ["collapse", "embed", "candidates", "rerank", "cluster"] {
        assert!(repo("src/mining").join(format!("{stage}.rs")).is_file(), "mining/{stage}.rs is gone");
        assert_eq!(found(&format!("mining/{stage}.rs"), &outside), Vec::<String>::new());
    }
    let clock = [&outside[..], &["Instant", "SystemTime"]].concat();
    for folder in ["search/", "clustering/", "metrics/", "nightly/"] {
        assert_eq!(found(folder, &clock), Vec::<String>::new());
    }
    assert_eq!(found("view/", &[&clock[..], &["std::io"]].concat()), Vec::<String>::new(), "a view only describes");
}

#[test]
fn only_commands_write_to_stdout() {
    assert_eq!(uses(&["stdout()"], &["commands/output.rs"]), Vec::<String>::new());
}

#[test]
fn no_file_is_too_long() {
    for path in sources(&repo("src")).into_iter().chain(sources(&repo("tests"))) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}

#[test]
fn mod_files_only_declare_and_document() {
    let items = ["fn", "struct", "enum", "impl", "const", "static", "type", "trait"];
    for path in sources(&repo("src")).into_iter().filter(|path| path.ends_with("mod.rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = code.filter(|line| line.split_whitespace().take(2).any(|word| items.contains(&word)));
        assert_eq!(found.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", path.display());
    }
}

/// Every folder (with a slash at its end) and every file but `mod.rs` under `src/`, from there.
fn files_and_folders() -> BTreeSet<String> {
    let root = repo("src");
    let mut found = BTreeSet::new();
    for path in sources(&root) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        found.extend(name.match_indices('/').map(|(slash, _)| name[..=slash].to_string()));
        if !name.ends_with("mod.rs") {
            found.insert(name.to_string());
        }
    }
    found
}

/// The same as the tree in ARCHITECTURE.md has them: an entry a line, two spaces a level.
fn tree_of_the_page() -> BTreeSet<String> {
    let page = std::fs::read_to_string(repo("ARCHITECTURE.md")).unwrap();
    let tree = page.split("```text\nsrc/\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut folders: Vec<&str> = Vec::new();
    let mut found = BTreeSet::new();
    for line in tree.expect("ARCHITECTURE.md has a tree that begins with src/").lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let level = (line.len() - line.trim_start().len()) / 2;
        assert!(level >= 1 && level <= folders.len() + 1, "{line:?} is not below a folder");
        assert!(line.split_whitespace().count() > 1, "{line:?} says nothing of {name}");
        folders.truncate(level - 1);
        assert!(found.insert(folders.concat() + name), "{line:?} is there twice");
        if name.ends_with('/') {
            folders.push(name);
        }
    }
    found
}

#[test]
fn architecture_md_names_every_file_and_no_other() {
    let (real, named) = (files_and_folders(), tree_of_the_page());
    let unnamed: Vec<&String> = real.difference(&named).collect();
    let gone: Vec<&String> = named.difference(&real).collect();
    assert!(unnamed.is_empty(), "ARCHITECTURE.md does not name {unnamed:#?}");
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:#?}");
}

/// What each folder or top-level file may use of the crate. An edge that is not here needs a reason, and must not close
/// a cycle.
const ALLOWED: [(&str, &[&str]); 29] = [
    ("atomic_file", &[]),
    ("calibration", &["metrics"]),
    ("cli", &["cluster", "commands", "error", "mining", "mistyped", "progress", "run"]),
    ("cluster", &["device", "error", "executor", "machine", "mining", "models", "progress", "store"]),
    ("clustering", &[]),
    (
        "commands",
        &[
            "atomic_file",
            "calibration",
            "device",
            "error",
            "executor",
            "labels",
            "metrics",
            "mining",
            "models",
            "option_file",
            "progress",
            "report",
            "run",
            "search",
            "store",
            "tables",
            "text",
            "training",
            "view",
        ],
    ),
    ("device", &["error", "option_file", "progress"]),
    ("error", &[]),
    ("executor", &["device"]),
    ("hash", &[]),
    ("labels", &["clustering", "error", "hash", "mining", "tables", "text"]),
    ("losses", &["models"]),
    ("machine", &[]),
    ("metrics", &["clustering"]),
    (
        "mining",
        &[
            "atomic_file",
            "calibration",
            "clustering",
            "device",
            "error",
            "executor",
            "hash",
            "metrics",
            "models",
            "nightly",
            "progress",
            "report",
            "run",
            "search",
            "store",
            "tables",
            "text",
        ],
    ),
    ("mistyped", &["error", "run", "tables"]),
    ("models", &["atomic_file", "calibration", "device", "error", "executor", "option_file", "progress", "text"]),
    ("nightly", &["progress", "run", "tables", "text"]),
    ("option_file", &["error"]),
    ("progress", &["error"]),
    ("report", &["metrics", "progress", "run", "store", "tables", "text"]),
    ("run", &["calibration", "clustering", "device", "error", "models", "option_file", "search", "store", "tables"]),
    ("search", &["device", "progress"]),
    ("store", &["atomic_file", "error", "machine", "progress", "tables", "text"]),
    ("tables", &["atomic_file", "error", "text"]),
    ("text", &["error", "progress"]),
    (
        "training",
        &[
            "atomic_file",
            "calibration",
            "device",
            "error",
            "executor",
            "hash",
            "labels",
            "losses",
            "metrics",
            "mining",
            "models",
            "option_file",
            "progress",
            "search",
            "tables",
            "text",
        ],
    ),
    ("view", &["error", "progress", "run", "text"]),
    ("main", &[]),
];

/// Node to the nodes that it uses.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Every `crate::…` path of `code`, groups in braces taken apart, without `crate` itself.
fn crate_paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        if !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$') {
            read_path(&code[at + word.len()..], Vec::new(), &mut found);
        }
    }
    found
}

/// Reads the path, or the group of paths, that `text` begins with, and returns its length.
fn read_path(text: &str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if name > 0 {
            path.push(rest[..name].to_string());
            at += name;
            if text[at..].starts_with("::") {
                at += 2;
                continue;
            }
        } else if rest.starts_with('{') {
            at += 1;
            loop {
                let rest = &text[at..];
                at += rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
                if text[at..].starts_with('}') || at == text.len() {
                    return (at + 1).min(text.len());
                }
                at += read_path(&text[at..], path.clone(), found);
                at += text[at..].find([',', '}']).unwrap_or(text.len() - at);
            }
        }
        found.push(path);
        return at;
    }
}

/// Which file uses which, by the `crate::…` paths outside comments and unit tests. A parent module that names its own
/// children does not count.
fn file_graph() -> Graph {
    let root = repo("src");
    let names: BTreeSet<String> =
        sources(&root).iter().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_string()).collect();
    let file_of = |path: &[String]| {
        (1..=path.len()).rev().map(|length| path[..length].join("/")).find_map(|module| {
            [format!("{module}.rs"), format!("{module}/mod.rs")].into_iter().find(|file| names.contains(file))
        })
    };
    let mut graph = Graph::new();
    for name in names.iter().filter(|name| !name.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let used = crate_paths(&code.join("\n")).into_iter().filter_map(|path| file_of(&path));
        graph.insert(name.clone(), used.filter(|used| used != name).collect());
    }
    graph
}

/// The folder under `src/` that a file is in, or its own name.
fn folder(file: &str) -> String {
    file.split('/').next().unwrap().trim_end_matches(".rs").to_string()
}

/// A way from a node back to itself, if there is one.
fn cycle(graph: &Graph) -> Option<String> {
    fn visit<'a>(
        node: &'a str,
        graph: &'a Graph,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<String> {
        if let Some(start) = path.iter().position(|&before| before == node) {
            return Some([&path[start..], &[node]].concat().join(" -> "));
        }
        if done.contains(node) {
            return None;
        }
        path.push(node);
        for used in graph.get(node).into_iter().flatten() {
            if let Some(cycle) = visit(used, graph, path, done) {
                return Some(cycle);
            }
        }
        path.pop();
        done.insert(node);
        None
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|node| visit(node, graph, &mut Vec::new(), &mut done))
}

#[test]
fn folders_use_only_what_the_table_allows() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut refused = Vec::new();
    for (file, used) in file_graph() {
        let from = folder(&file);
        for other in used.iter().filter(|other| folder(other) != from) {
            if !allowed.get(from.as_str()).is_some_and(|may| may.contains(&folder(other).as_str())) {
                refused.push(format!("{from} -> {}: {file} uses {other}", folder(other)));
            }
        }
    }
    assert!(refused.is_empty(), "not in the table ALLOWED: {refused:#?}");
}

#[test]
fn no_folder_and_no_file_comes_back_to_itself() {
    let files = file_graph();
    let mut folders = Graph::new();
    for (file, used) in &files {
        let from = folder(file);
        let others = used.iter().map(|other| folder(other)).filter(|other| *other != from);
        folders.entry(from.clone()).or_default().extend(others);
    }
    assert_eq!(cycle(&folders), None, "folders in a circle");
    assert_eq!(cycle(&files), None, "files in a circle");
    let table: Graph = ALLOWED
        .iter()
        .map(|(from, to)| (from.to_string(), to.iter().map(|to| to.to_string()).collect::<BTreeSet<_>>()))
        .collect();
    assert_eq!(cycle(&table), None, "the table ALLOWED has a circle");
}

#[test]
fn paths_are_found_in_groups_and_in_code() {
    let code = "use crate::a::{self, b::{C, d as e}, *};\nlet x = crate::f::g::<u8>(); my_crate::h(); $crate::i!();";
    let paths: Vec<String> = crate_paths(code).iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["a::self", "a::b::C", "a::b::d", "a", "f::g"]);
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        edges.iter().for_each(|(from, to)| {
            graph.entry(from.to_string()).or_default().insert(to.to_string());
        });
        graph
    };
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), "b -> c -> b");
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
