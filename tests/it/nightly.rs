//! Many nights in a row: they end as a run from nothing, cluster ids last, and the changes add up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};

use crate::support::*;

const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");

/// A corpus that changes from night to night.
struct Corpus {
    rows: BTreeMap<i64, String>,
    /// Some questions have votes, which change without their text.
    votes: BTreeMap<i64, i64>,
    /// Texts that were there once: some of them come back.
    past: Vec<String>,
    random: Random,
}

impl Corpus {
    fn new(seed: u64, questions: usize) -> Self {
        let mut corpus = Self { rows: BTreeMap::new(), votes: BTreeMap::new(), past: Vec::new(), random: Random(seed) };
        for id in 0..questions as i64 {
            let text = corpus.text();
            corpus.rows.insert(id * 3, text);
        }
        corpus
    }

    fn text(&mut self) -> String {
        let verbs = ["learn", "cook", "buy", "grow", "fix", "paint"];
        let things = ["rice", "guitar", "paris", "tomatoes", "a bike", "chess", "coffee"];
        let ends = ["", " at home", " fast", " in a week", " for free", "?"];
        let (verb, thing, end) = (self.random.below(6), self.random.below(7), self.random.below(6));
        format!("how do i {} {}{}", verbs[verb], things[thing], ends[end])
    }

    fn some_id(&mut self) -> Option<i64> {
        let at = self.random.below(self.rows.len());
        self.rows.keys().nth(at).copied()
    }

    /// Some questions are deleted, edited, added, copied, swapped; some come back.
    fn change(&mut self) {
        for _ in 0..20 {
            if let Some(id) = self.some_id() {
                let votes = self.random.below(9) as i64;
                self.votes.insert(id, votes);
            }
        }
        for _ in 0..3 {
            if let Some(id) = self.some_id() {
                self.past.extend(self.rows.remove(&id));
            }
            let text = self.text();
            if let Some(id) = self.some_id() {
                self.past.extend(self.rows.insert(id, text));
            }
            let (id, text) = (self.random.below(10_000) as i64, self.text());
            self.rows.insert(id, text);
        }
        if let (Some(one), Some(other)) = (self.some_id(), self.some_id()) {
            let (a, b) = (self.rows[&one].clone(), self.rows[&other].clone());
            self.rows.insert(one, b);
            self.rows.insert(other, a.clone());
            self.rows.insert(20_000 + one, a);
        }
        if !self.past.is_empty() {
            let at = self.random.below(self.past.len());
            self.rows.insert(30_000 + at as i64, self.past[at].clone());
        }
    }

    fn write(&mut self, path: &Path) {
        let mut rows: Vec<(i64, String)> = self.rows.clone().into_iter().collect();
        for at in (1..rows.len()).rev() {
            let other = self.random.below(at + 1);
            rows.swap(at, other);
        }
        let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id));
        let texts = StringArray::from_iter_values(rows.iter().map(|(_, text)| text.as_str()));
        let votes: Int64Array = rows.iter().map(|(id, _)| self.votes.get(id).copied()).collect();
        write_parquet(path, vec![("id", Arc::new(ids)), ("text", Arc::new(texts)), ("votes", Arc::new(votes))], 100);
    }
}

/// Cluster id → its questions.
fn clusters(output: &Path) -> BTreeMap<i64, BTreeSet<i64>> {
    let batch = read(&output.join("clusters.parquet"));
    let mut clusters: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for (id, cluster) in i64s(&batch, "id").into_iter().zip(i64s(&batch, "cluster_id")) {
        clusters.entry(cluster).or_default().insert(id);
    }
    clusters
}

/// Applies the changes of one version to question → cluster, as a job downstream would.
fn apply(output: &Path, version: u64, folded: &mut BTreeMap<i64, i64>) {
    let batch = read(&output.join("membership_changes.parquet"));
    let (versions, ids, to) = (u64s(&batch, "version"), i64s(&batch, "id"), optional_i64s(&batch, "to_cluster_id"));
    for row in (0..ids.len()).filter(|&row| versions[row] == version) {
        match to[row] {
            Some(to) => folded.insert(ids[row], to),
            None => folded.remove(&ids[row]),
        };
    }
}

/// Applies the events of one version to cluster → the question that represents it.
fn apply_events(output: &Path, version: u64, folded: &mut BTreeMap<i64, i64>) {
    let batch = read(&output.join("cluster_events.parquet"));
    let (clusters, to) = (i64s(&batch, "cluster_id"), optional_i64s(&batch, "representative"));
    let versions = u64s(&batch, "version");
    for row in (0..clusters.len()).filter(|&row| versions[row] == version) {
        match to[row] {
            Some(to) => folded.insert(clusters[row], to),
            None => folded.remove(&clusters[row]),
        };
    }
}

/// Version → its events, a line each.
fn events(output: &Path) -> BTreeMap<u64, Vec<String>> {
    let batch = read(&output.join("cluster_events.parquet"));
    let mut events: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    // the time zone of the times cannot be shown here
    let shown: Vec<usize> =
        (0..batch.num_columns()).filter(|&at| batch.schema().field(at).name() != "run_time").collect();
    let batch = batch.project(&shown).unwrap();
    for (row, version) in u64s(&batch, "version").into_iter().enumerate() {
        let cells =
            batch.columns().iter().map(|column| arrow::util::display::array_value_to_string(column, row).unwrap());
        events.entry(version).or_default().push(cells.collect::<Vec<_>>().join(" "));
    }
    events
}

/// Bytes in a folder.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

/// Runs `nights` nights with `options` and checks each.
fn nights(seed: u64, questions: usize, nights: u64, options: &[&str]) {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let mut corpus = Corpus::new(seed, questions);
    let (mut folded, mut represented) = (BTreeMap::new(), BTreeMap::new());
    let mut before: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    let mut texts_before: BTreeMap<i64, String> = BTreeMap::new();
    let (mut stayed, mut first_size) = (0, 0);
    let mut told: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let arguments = |output: &Path, more: &[&str]| -> Vec<String> {
        let options = [options, &["--force"], more].concat();
        tiny(text(&input), text(output), &options).into_iter().map(String::from).collect()
    };
    let run = |output: &Path, more: &[&str]| {
        let arguments = arguments(output, more);
        mine_ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for night in 1..=nights {
        corpus.write(&input);
        run(&output, &["--run-time", &format!("2026-11-{:02}T03:00:00Z", night)]);
        apply(&output, night, &mut folded);
        let today = clusters(&output);
        let of_files: BTreeMap<i64, i64> =
            today.iter().flat_map(|(cluster, ids)| ids.iter().map(|id| (*id, *cluster))).collect();
        assert_eq!(folded, of_files, "night {night}");
        apply_events(&output, night, &mut represented);
        let stats = read(&output.join("cluster_stats.parquet"));
        let of_files = i64s(&stats, "cluster_id").into_iter().zip(i64s(&stats, "representative")).collect();
        assert_eq!(represented, of_files, "night {night}");
        // what earlier nights said stays as they said it
        let events = events(&output);
        for (version, said) in &events {
            assert_eq!(told.entry(*version).or_insert_with(|| said.clone()), said, "night {night}, version {version}");
        }
        assert!(events.keys().all(|version| version + 7 > night), "night {night}");
        // a cluster with the same questions and the same texts is the same cluster
        let ids_before: BTreeMap<&BTreeSet<i64>, i64> = before.iter().map(|(cluster, ids)| (ids, *cluster)).collect();
        for (cluster, ids) in &today {
            let same_texts = ids.iter().all(|id| texts_before.get(id) == corpus.rows.get(id));
            if let Some(id_before) = ids_before.get(ids).filter(|_| same_texts) {
                assert_eq!(id_before, cluster, "night {night}: an unchanged cluster moved");
                stayed += 1;
            }
        }
        (before, texts_before) = (today, corpus.rows.clone());
        if night == 1 {
            first_size = size(&output.join(".mine"));
        }
        if night % 10 == 0 || night == nights {
            let fresh = work.path().join(format!("fresh-{night}"));
            run(&fresh, &[]);
            assert_same_decisions(&fresh, &output);
        }
        corpus.change();
    }
    let (kept, counted) =
        (nights.min(7), |folder: &str| std::fs::read_dir(output.join(".mine").join(folder)).unwrap().count() as u64);
    assert_eq!((counted("versions"), counted("texts"), counted("neighbours")), (2 * kept, kept, 1));
    assert!(counted("questions") <= kept && counted("clusters") <= kept);
    let last_size = size(&output.join(".mine"));
    println!(
        "{stayed} clusters stayed as they were, all under their id; {first_size} bytes after a night, {last_size} after {nights}"
    );
    assert!(stayed > 10 && last_size < first_size * 16, "{first_size} {last_size}");
}

#[test]
fn thirty_nights_with_cut_lists_end_as_a_run_from_nothing() {
    let options = ["--cross-encoder", CROSS, "--threshold", "0.6", "--swap-margin", "0.1", "--top-k", "3"];
    nights(7, 90, 30, &options);
}

#[test]
fn nights_that_rerank_a_share_of_the_pairs_end_as_a_run_from_nothing() {
    let share = ["--top-k", "40", "--rerank-share", "40%"];
    nights(
        31,
        90,
        6,
        &[&["--cross-encoder", CROSS, "--threshold", "0.6", "--swap-margin", "0.1"], &share[..]].concat(),
    );
}

#[test]
fn nights_without_reranking_end_as_a_run_from_nothing() {
    nights(11, 140, 8, &["--top-k", "2", "--threshold", "0.93"]);
    nights(13, 60, 8, &["--clustering", "components", "--threshold", "0.995"]);
    nights(17, 60, 6, &["--clustering", "star", "--top-k", "1", "--threshold", "0.97"]);
}

#[test]
fn nights_with_other_representatives_end_as_a_run_from_nothing() {
    nights(19, 90, 8, &["--keep", "longest", "--threshold", "0.95"]);
    nights(23, 90, 8, &["--keep", "votes", "--threshold", "0.95"]);
    nights(29, 90, 5, &["--keep", "votes:lowest", "--threshold", "0.97", "--clustering", "components"]);
}

#[test]
fn only_new_texts_are_searched_and_the_plan_says_so() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let mut corpus = Corpus::new(3, 120);
    corpus.write(&input);
    let arguments = tiny(text(&input), text(&output), &[]);
    mine_ok(&arguments);
    corpus.rows.insert(50_000, "how do i build a stone oven in spring".into());
    corpus.write(&input);
    let plan = String::from_utf8(mine(&[&arguments[..], &["--plan"]].concat()).stdout).unwrap();
    assert!(plan.contains("candidates   stale   searches 1 of "), "{plan}");
    mine_ok(&arguments);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap();
    let stages = manifest["stages"].as_array().unwrap();
    assert_eq!(stages.iter().find(|stage| stage["stage"] == "candidates").unwrap()["computed"], 1);
    // the audit goes on
    assert_eq!(metrics(&output)["candidates.recall_above_floor"], 1.0);
}

/// An index that misses pairs is completed for every new text.
#[test]
fn new_texts_are_searched_exactly_whatever_index_found_the_others() {
    let work = folder();
    let (input, output, exact) = (work.path().join("q.parquet"), work.path().join("out"), work.path().join("exact"));
    let mut corpus = Corpus::new(5, 150);
    corpus.write(&input);
    let hnsw = ["--index", "hnsw", "--deterministic", "--hnsw-links", "2", "--hnsw-ef-search", "1", "--top-k", "9"];
    mine_ok(&tiny(text(&input), text(&output), &hnsw));
    corpus.rows.insert(40_000, "how do i cook rice for many people".into());
    corpus.write(&input);
    mine_ok(&tiny(text(&input), text(&output), &hnsw));
    mine_ok(&tiny(text(&input), text(&exact), &["--top-k", "9"]));
    let pairs_of = |output: &Path| -> BTreeSet<(i64, i64)> {
        let batch = read(&output.join("pairs.parquet"));
        let pairs = i64s(&batch, "id_a").into_iter().zip(i64s(&batch, "id_b"));
        pairs.filter(|(a, b)| *a == 40_000 || *b == 40_000).collect()
    };
    assert!(pairs_of(&output).is_superset(&pairs_of(&exact)) && !pairs_of(&exact).is_empty());
}

#[test]
fn the_first_run_gives_the_same_ids_anywhere_and_changes_say_why() {
    let work = folder();
    let (input, one, two) = (work.path().join("q.parquet"), work.path().join("one"), work.path().join("two"));
    let rows = |extra: &[(i64, &str)]| -> Vec<(i64, String)> {
        let base =
            [(1, "how are you"), (2, "how  are you"), (3, "where is paris"), (4, "where  is paris"), (9, "x y z")];
        base.iter().chain(extra).map(|(id, text)| (*id, text.to_string())).collect()
    };
    write_rows(&input, &rows(&[]));
    mine_ok(&tiny(text(&input), text(&one), &[]));
    mine_ok(&tiny(text(&input), text(&two), &[]));
    assert_same_results(&one, &two);
    let ids: Vec<i64> = clusters(&one).into_keys().collect();
    // a copy joins, one question is edited away, one is gone
    let mut next = rows(&[(5, "how   are you")]);
    next[3].1 = "what is chess".into();
    next.remove(4);
    write_rows(&input, &next);
    mine_ok(&tiny(text(&input), text(&one), &["--run-time", "2026-12-01T03:00:00Z"]));
    let batch = read(&one.join("membership_changes.parquet"));
    let reasons = strings(&batch, "reason");
    let (versions, changed) = (u64s(&batch, "version"), i64s(&batch, "id"));
    let of_second: Vec<(i64, &str)> =
        (0..changed.len()).filter(|&row| versions[row] == 2).map(|row| (changed[row], reasons[row].as_str())).collect();
    assert_eq!(of_second, [(3, "scores"), (4, "edited"), (5, "new")]);
    let events = read(&one.join("cluster_events.parquet"));
    let (names, versions) = (strings(&events, "event"), u64s(&events, "version"));
    let mut second: Vec<&str> =
        (0..names.len()).filter(|&row| versions[row] == 2).map(|row| names[row].as_str()).collect();
    second.sort_unstable();
    assert_eq!(second, ["dissolved", "grown"]);
    assert!(clusters(&one).into_keys().all(|id| ids.contains(&id)));
    let stats = read(&one.join("cluster_stats.parquet"));
    assert_eq!((u64s(&stats, "first_seen"), u64s(&stats, "last_changed")), (vec![1], vec![2]));

    // a past that is lost shows in the numbers: nobody goes on from version 2 by mistake
    let lost = work.path().join("lost");
    copy_folder(&one, &lost);
    std::fs::remove_dir_all(lost.join(".mine/questions")).unwrap();
    next.pop();
    write_rows(&input, &next);
    let said = mine_ok(&tiny(text(&input), text(&lost), &[]));
    assert!(said.contains("cluster ids and changes start anew"), "{said}");
    let changes = read(&lost.join("membership_changes.parquet"));
    assert!(u64s(&changes, "version").iter().all(|version| *version == 4) && changes.num_rows() > 0);
    std::fs::remove_dir_all(lost.join(".mine")).unwrap();
    mine_ok(&tiny(text(&input), text(&lost), &[]));
    assert_eq!(std::fs::read_to_string(lost.join(".mine/CURRENT")).unwrap().trim(), "6");

    // another threshold is another reason, and the version before stays
    mine_ok(&tiny(text(&input), text(&one), &["--threshold", "0.1", "--min-cosine", "-1", "--force"]));
    let batch = read(&one.join("membership_changes.parquet"));
    let (versions, reasons) = (u64s(&batch, "version"), strings(&batch, "reason"));
    let third: BTreeSet<&str> =
        (0..reasons.len()).filter(|&row| versions[row] == 3).map(|row| reasons[row].as_str()).collect();
    assert_eq!(third, BTreeSet::from(["deleted", "threshold"]));
}
