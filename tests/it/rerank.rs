//! Reranking with a small random cross-encoder: both orders, the budget, what is left undecided.

use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::record_batch::RecordBatch;
use dupmine::device::{DeviceChoice, plain_cpu};
use dupmine::mining::logits::score;
use dupmine::models::checkpoint::built_in;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::cross_encoder::{self, CrossEncoder};
use dupmine::models::network::precision::Precision;
use dupmine::progress::{Progress, readable};
use dupmine::text::key::TextKey;
use dupmine::text::normalise::normalise;
use dupmine::text::pairs::PairTokens;

use crate::support::*;

fn cross_encoder() -> PathBuf {
    repo("fixtures/models/tiny-bert-cross")
}

fn run(output: &Path, more: &[&str]) -> (RecordBatch, String) {
    let (input, cross) = (repo("fixtures/questions.parquet"), cross_encoder());
    let more = [&["--cross-encoder", text(&cross), "--threshold", "0.6"], more].concat();
    let stderr = mine_ok(&tiny(text(&input), text(output), &more));
    (read(&output.join("pairs.parquet")), stderr)
}

fn decisions(pairs: &RecordBatch) -> Vec<Option<bool>> {
    pairs.column_by_name("is_duplicate").unwrap().as_boolean().iter().collect()
}

fn logit(p: f32) -> f32 {
    (p / (1.0 - p)).ln()
}

#[test]
fn scores_are_the_models_and_the_mean_logit_decides() {
    let work = folder();
    let (pairs, _) = run(&work.path().join("out"), &["--swap-margin", "1000", "--precision", "f32"]);
    let questions = read(&repo("fixtures/questions.parquet"));
    let by_id: std::collections::HashMap<i64, String> =
        i64s(&questions, "id").into_iter().zip(strings(&questions, "text")).collect();
    let device = plain_cpu();
    let model = CrossEncoder::load(&ModelFolder::open(&cross_encoder()).unwrap(), &device).unwrap();
    let score = |a: i64, b: i64| {
        let tokenized = model.tokenizer.tokenize_pairs(&[(&normalise(&by_id[&a]), &normalise(&by_id[&b]))]).unwrap();
        model.logits(&[&tokenized[0]]).unwrap()[0]
    };
    let (a, b) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"));
    let (ab, ba, p) = (f32s(&pairs, "score_ab"), f32s(&pairs, "score_ba"), f32s(&pairs, "probability"));
    let kinds = strings(&pairs, "kind");
    let mut checked = 0;
    for row in 0..pairs.num_rows() {
        if kinds[row] != "semantic" {
            assert_eq!((ab[row], ba[row], p[row]), (None, None, Some(1.0)), "copies bypass the cross-encoder");
            continue;
        }
        let (ab, ba) = (ab[row].unwrap(), ba[row].unwrap());
        let expected = 1.0 / (1.0 + (-(ab + ba) / 2.0).exp());
        assert!((p[row].unwrap() - expected).abs() < 1e-6);
        assert_eq!(decisions(&pairs)[row], Some(p[row].unwrap() >= 0.6));
        if row % 50 == 0 {
            assert!((score(a[row], b[row]) - ab).abs() < 2e-5 && (score(b[row], a[row]) - ba).abs() < 2e-5);
            checked += 1;
        }
    }
    assert!(checked >= 3, "{checked}");
}

#[test]
fn the_second_order_runs_only_where_the_first_leaves_it_open() {
    let work = folder();
    let output = work.path().join("out");
    let (pairs, _) = run(&output, &["--swap-margin", "0.5"]);
    let (ab, ba) = (f32s(&pairs, "score_ab"), f32s(&pairs, "score_ba"));
    // the text with the smaller key comes first, whichever has the smaller id
    let questions = read(&repo("fixtures/questions.parquet"));
    let ids = i64s(&questions, "id").into_iter();
    let key: std::collections::HashMap<i64, TextKey> =
        ids.zip(strings(&questions, "text")).map(|(id, text)| (id, TextKey::of(&normalise(&text)))).collect();
    let (a, b, kinds) = (i64s(&pairs, "id_a"), i64s(&pairs, "id_b"), strings(&pairs, "kind"));
    let mut both = 0;
    for row in (0..ab.len()).filter(|&row| kinds[row] == "semantic") {
        let (first, second) = if key[&a[row]] < key[&b[row]] { (ab[row], ba[row]) } else { (ba[row], ab[row]) };
        assert_eq!(second.is_some(), (first.unwrap() - logit(0.6)).abs() <= 0.5, "{first:?}");
        both += usize::from(second.is_some());
    }
    let metrics = metrics(&output);
    assert_eq!(metrics["rerank.both_orders"], both as f64);
    assert!(both > 0 && both < ab.len());
}

#[test]
fn a_budget_is_spent_on_the_most_promising_pairs_and_the_rest_is_undecided() {
    let work = folder();
    let output = work.path().join("out");
    let (pairs, stderr) = run(&output, &["--rerank-budget", "100"]);
    let (cosine, p) = (f32s(&pairs, "cosine"), f32s(&pairs, "probability"));
    let kinds = strings(&pairs, "kind");
    let semantic = |wanted: bool| {
        let rows = (0..pairs.num_rows()).filter(|&row| kinds[row] == "semantic" && p[row].is_some() == wanted);
        rows.map(|row| cosine[row].unwrap()).collect::<Vec<_>>()
    };
    let (scored, left) = (semantic(true), semantic(false));
    assert_eq!(scored.len(), 100);
    assert!(scored.iter().copied().fold(1.0, f32::min) >= left.iter().copied().fold(0.0, f32::max));
    assert_eq!(decisions(&pairs).iter().filter(|d| d.is_none()).count(), left.len());
    assert!(
        stderr.contains(&format!("the rerank budget ended before {} of {}", left.len(), left.len() + 100)),
        "{stderr}"
    );
    let metrics = metrics(&output);
    assert_eq!((metrics["rerank.not_reranked"], metrics["pairs.undecided"]), (left.len() as f64, left.len() as f64));

    // what the budget did not reach waits for the next run, which goes on with it
    let (input, cross) = (repo("fixtures/questions.parquet"), cross_encoder());
    let same = ["--cross-encoder", text(&cross), "--threshold", "0.6", "--rerank-budget", "100", "--plan"];
    let plan = mine(&tiny(text(&input), text(&output), &same)).stdout;
    let plan = String::from_utf8(plan).unwrap();
    assert!(plan.contains("rerank       stale   100 pairs have no score"), "{plan}");
    let scored = |pairs: &RecordBatch| f32s(pairs, "probability").iter().flatten().count() - copies(pairs);
    let (more, _) = run(&output, &["--rerank-budget", "100"]);
    assert_eq!(scored(&more), 200);
    let (more, _) = run(&output, &["--rerank-budget", "50"]);
    assert_eq!(scored(&more), 250);
    // with nothing left to score, nothing changes
    let (all, _) = run(&output, &["--rerank-budget", "100000"]);
    let (_, said) = run(&output, &["--rerank-budget", "100000"]);
    assert_eq!(decisions(&all).iter().filter(|d| d.is_none()).count(), 0);
    assert!(said.contains("nothing changed since"), "{said}");
}

#[test]
fn of_a_share_the_cosine_decides_the_rest_and_the_choice_is_the_same_every_time() {
    let work = folder();
    let of = |name: &str| work.path().join(name);
    let share = ["--rerank-share", "30%"];
    let (pairs, said) = run(&of("some"), &share);
    let (ab, ba, p) = (f32s(&pairs, "score_ab"), f32s(&pairs, "score_ba"), f32s(&pairs, "probability"));
    let (cosine, kinds) = (f32s(&pairs, "cosine"), strings(&pairs, "kind"));
    let semantic: Vec<usize> = (0..pairs.num_rows()).filter(|&row| kinds[row] == "semantic").collect();
    let asked = semantic.iter().filter(|&&row| ab[row].or(ba[row]).is_some()).count();
    let expected = (semantic.len() as f64 * 0.3).ceil() as usize;
    assert_eq!(asked, expected);
    assert!(said.contains(&format!("{} of {} pairs, those that", readable(asked), readable(semantic.len()))), "{said}");
    assert!(said.contains(&format!("{} more not reranked, their", readable(semantic.len() - asked))), "{said}");
    // a pair that was not asked has a probability that grows with its cosine, and a verdict
    let mut unasked: Vec<(f32, f32)> = semantic
        .iter()
        .filter(|&&row| ab[row].or(ba[row]).is_none())
        .map(|&row| (cosine[row].unwrap(), p[row].unwrap()))
        .collect();
    unasked.sort_by(|x, y| x.0.total_cmp(&y.0));
    assert!(unasked.is_sorted_by(|x, y| x.1 <= y.1), "{unasked:?}");
    for &row in &semantic {
        assert_eq!(decisions(&pairs)[row], Some(p[row].unwrap() >= 0.6));
    }
    let metrics = metrics(&of("some"));
    assert_eq!((metrics["rerank.not_asked"], metrics["pairs.undecided"]), ((semantic.len() - asked) as f64, 0.0));
    mine_ok(&["verify", text(&of("some"))]);

    // a run that finds the scores of all pairs asks about the same ones
    run(&of("all"), &["--rerank-share", "100%"]);
    let store = of("all").join(".mine");
    let (again, _) = run(&of("again"), &[&share[..], &["--store", text(&store)]].concat());
    assert!(again == pairs);
    // one that finds those of an interrupted run plans what is left; after it nothing is
    let (input, cross) = (repo("fixtures/questions.parquet"), cross_encoder());
    let same = ["--cross-encoder", text(&cross), "--threshold", "0.6", "--rerank-share", "30%", "--plan"];
    let plan = |output: &Path| String::from_utf8(mine(&tiny(text(&input), text(output), &same)).stdout).unwrap();
    assert!(plan(&of("some")).contains("rerank       fresh"), "{}", plan(&of("some")));
    run(&of("none"), &["--rerank-budget", "0"]);
    let planned = plan(&of("none"));
    assert!(planned.contains(&format!("rerank       stale   {} pairs have no score", readable(expected))), "{planned}");
    let error = mine_fails(&["--input", "x", "--rerank-budget", "1", "--rerank-share", "30%"], 2);
    assert!(error.contains("cannot be used with"), "{error}");
    let error = mine_fails(&["--input", "x", "--rerank-share", "0%"], 2);
    assert!(error.contains("--rerank-share is 0%: --cross-encoder none reranks nothing"), "{error}");
    let error = mine_fails(&["--input", "x", "--reference", "y", "--rerank-share", "30%"], 2);
    assert!(error.contains("with a reference all pairs are reranked"), "{error}");
    let file = of("both.toml");
    std::fs::write(&file, "input = \"x\"\nrerank-budget = 1\nrerank-share = \"30%\"\n").unwrap();
    let error = mine_fails(&["run", text(&file)], 2);
    assert!(error.contains("--rerank-share and --rerank-budget exclude each other"), "{error}");
}

#[test]
fn a_time_budget_of_nothing_leaves_everything_undecided() {
    let work = folder();
    let (pairs, _) = run(&work.path().join("out"), &["--rerank-budget", "0m"]);
    assert!(["score_ab", "score_ba"].iter().all(|name| f32s(&pairs, name).iter().all(Option::is_none)));
}

fn copies(pairs: &RecordBatch) -> usize {
    strings(pairs, "kind").iter().filter(|kind| *kind != "semantic").count()
}

/// A run that goes on scores what is missing in other batches than a fresh one: the bits must not tell.
#[test]
fn a_pair_has_the_same_score_alone_and_in_company() {
    let progress = Progress::new(true, Default::default());
    let devices = DeviceChoice::Cpu.open(&progress).unwrap();
    let models = cross_encoder::replicas(&built_in::CROSS_ENCODER, &devices, Precision::F32, &progress).unwrap();
    let texts =
        ["How do I learn Rust?", "What is the best way to learn Rust?", "Why is the sky blue?", "How much is tea?"];
    let pairs = [(0, 1), (0, 2), (1, 2), (2, 3), (1, 3)];
    let logits = |pairs: &[(u32, u32)]| {
        let task = progress.task("rerank", "pairs", pairs.len());
        let mut tokens = PairTokens::new(&models.first().tokenizer);
        let text = |number: u32| texts[number as usize];
        score(&models, &mut tokens, (pairs, &text), &|_, _| true, &task).unwrap().logits
    };
    let alone: Vec<f32> = pairs.iter().flat_map(|pair| logits(&[*pair])).collect();
    assert_eq!(logits(&pairs), alone);
}

/// Scores are the most expensive work of a run.
#[test]
fn another_threshold_scores_nothing_again() {
    let work = folder();
    let (output, input, cross) = (work.path().join("out"), repo("fixtures/questions.parquet"), cross_encoder());
    let first = ["--cross-encoder", text(&cross), "--swap-margin", "0", "--threshold", "0.6"];
    let said = mine_ok(&tiny(text(&input), text(&output), &first));
    assert!(said.contains("tiny-bert-cross"), "{said}");
    let said = mine_ok(&tiny(text(&input), text(&output), &[&first[..5], &["0.7", "--force"]].concat()));
    assert!(!said.contains("loading "), "{said}");
    // nor does a run without them in between cost them
    mine_ok(&tiny(text(&input), text(&output), &["--force"]));
    let said = mine_ok(&tiny(text(&input), text(&output), &[&first[..], &["--force"]].concat()));
    assert!(!said.contains("loading "), "{said}");
}

/// On a terminal the bar moves with every batch, and not only when a partition is stored.
#[test]
fn the_bar_moves_within_a_partition() {
    let work = folder();
    let (input, output) = (repo("fixtures/questions.parquet"), work.path().join("out"));
    let typed = format!(
        "{} --input {} --output {} --rerank-floor -1 --precision f32",
        env!("CARGO_BIN_EXE_mine"),
        text(&input),
        text(&output)
    );
    let arguments = ["-qec", &typed, "/dev/null"];
    let Ok(ran) =
        std::process::Command::new("script").args(arguments).env("TERM", "xterm").env("COLUMNS", "120").output()
    else {
        return skipped("there is no script(1) to make a terminal: the bar is not looked at");
    };
    let shown = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{shown}");
    let positions: std::collections::BTreeSet<u64> = shown
        .split(['\r', '\n'])
        .filter_map(|line| {
            let (_, bar) = line.split_once("rerank ")?;
            let (position, _) = bar.split_once('/')?;
            position.rsplit(' ').next()?.replace(',', "").parse().ok()
        })
        .collect();
    assert!(positions.len() > 3, "a partition has 2,048 pairs, and the bar was at {positions:?}:\n{shown}");
    let rate = shown.split_once("rerank ").and_then(|(_, bar)| bar.split("/s").next()?.rsplit(' ').next());
    assert!(rate.is_some_and(|rate| rate.len() < 7 && rate.parse::<f64>().is_ok()), "{rate:?} in {shown}");
}

#[test]
fn a_resumed_stage_says_what_is_there_already() {
    let work = folder();
    let output = work.path().join("out");
    let (_, said) = run(&output, &["--rerank-budget", "20"]);
    assert!(!said.contains("are there already"), "{said}");
    let (_, said) = run(&output, &["--rerank-budget", "20"]);
    let line = said.lines().find(|line| line.contains("are there already")).unwrap();
    assert_eq!(line, "rerank     20 of 40 pairs are there already");
}
