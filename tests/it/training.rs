//! Training: runs that are killed and go on, and what is refused.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::*;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
const TINY_CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");
const PAIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/pairs.csv");

/// Arguments of a training of some dozens of steps, with dropout.
fn arguments<'a>(kind: &'a str, from: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["train", "--kind", kind, "--from", from, "--pairs", PAIRS, "--output", output, "--quiet"];
    all.extend(["--learning-rate", "1e-3", "--batch-size", "6", "--dropout", "0.1"]);
    all.extend(["--evaluate-every", "10", "--checkpoint-every", "5"]);
    all.extend(more);
    all
}

fn weights(model: &Path) -> Vec<u8> {
    std::fs::read(model.join("model.safetensors")).unwrap()
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    let work = folder();
    for (kind, from) in [("bi", TINY), ("cross", TINY_CROSS)] {
        let of = |name: &str| work.path().join(format!("{kind}-{name}"));
        let (alone, killed) = (of("alone"), of("killed"));
        let more = ["--epochs", "30", "--accumulate", "2"];
        mine_ok(&arguments(kind, from, text(&alone), &more));
        let arguments = arguments(kind, from, text(&killed), &[&more[..], &["--threads", "1"]].concat());
        let run = of("killed.run");
        let mut kills = 0;
        while kills < 3 {
            let mut child = command(&arguments).stderr(Stdio::null()).spawn().unwrap();
            let before = checkpoints(&run);
            let started = Instant::now();
            while checkpoints(&run) == before && child.try_wait().unwrap().is_none() {
                assert!(started.elapsed() < Duration::from_secs(300), "no checkpoint");
                std::thread::sleep(Duration::from_millis(1));
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        assert!(kills > 0, "the training ended before it could be killed");
        assert!(!killed.exists(), "a killed training leaves no model");
        assert!(checkpoints(&run).len() <= 3, "old checkpoints are pruned");
        mine_ok(&arguments);
        assert!(weights(&alone) == weights(&killed), "{kind}: killed {kills} times, and other weights came out");
        let metrics = |run: &str| std::fs::read(of(run).join("metrics.parquet")).unwrap();
        assert!(metrics("alone.run") == metrics("killed.run"));
        assert!(
            last_state(&of("alone.run")) == last_state(&of("killed.run")),
            "{kind}: another state after the last step"
        );
        assert!(std::fs::read_to_string(of("alone.run").join("curves.svg")).unwrap().starts_with("<svg"));
    }
}

/// Weights, moments and history after the last step, whichever step was the best.
fn last_state(run: &Path) -> Vec<u8> {
    std::fs::read(run.join(checkpoints(run).last().unwrap())).unwrap()
}

fn checkpoints(run: &Path) -> Vec<String> {
    let files = std::fs::read_dir(run).into_iter().flatten().flatten();
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names.filter(|name| name.starts_with("checkpoint-")).collect();
    found.sort();
    found
}

#[test]
fn a_trained_folder_is_complete_and_python_could_open_it() {
    let work = folder();
    for (kind, from) in [("bi", TINY), ("cross", TINY_CROSS), ("siamese", TINY)] {
        let output = work.path().join(kind);
        let more: &[&str] = if kind == "siamese" { &["--freeze-encoder", "--epochs", "2"] } else { &["--epochs", "2"] };
        mine_ok(&arguments(kind, from, text(&output), more));
        for file in ["config.json", "tokenizer.json", "model.safetensors", "dupmine.json", "training.json"] {
            assert!(output.join(file).exists(), "{kind}: {file} is missing");
        }
        // the same command again finds its work done; another is refused
        mine_ok(&arguments(kind, from, text(&output), more));
        let refused = mine_fails(&arguments(kind, from, text(&output), &["--seed", "7"]), 1);
        assert!(refused.contains("exists already") && refused.contains("--force"), "{refused}");
        mine_ok(&arguments(kind, from, text(&output), &["--seed", "7", "--force", "--max-steps", "2"]));
    }
    let mined = work.path().join("mined");
    let questions = repo("fixtures/questions.parquet");
    let (bi, cross) = (work.path().join("bi"), work.path().join("cross"));
    mine_ok(&[
        "--input",
        text(&questions),
        "--output",
        text(&mined),
        "--bi-encoder",
        text(&bi),
        "--cross-encoder",
        text(&cross),
    ]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let work = folder();
    let of = |threads: &str| {
        let output = work.path().join(threads);
        mine_ok(&arguments("bi", TINY, text(&output), &["--epochs", "2", "--threads", threads]));
        last_state(&work.path().join(format!("{threads}.run")))
    };
    assert!(of("1") == of("3"));
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let work = folder();
    let output = work.path().join("model");
    let fails = |more: &[&str], code: i32| mine_fails(&arguments("bi", TINY, text(&output), more), code);
    let margins = ["--loss", "margin-mse,contrastive", "--hard-negatives", "2", "--teacher", TINY_CROSS];
    let mined = ["--mined-pairs", "5", "--teacher", TINY_CROSS, "--loss", "ranking"];
    let cases: [(&[&str], &str); 10] = [
        (&["--precision", "f16"], "--precision bf16 has the range"),
        (&mined, "ranking does not look at labels"),
        (&margins, "margin-mse learns from duplicates alone"),
        (&["--loss", "rankin"], "the nearest known one is \"ranking\""),
        (&["--loss", "binary-cross-entropy"], "not a loss for a bi-encoder"),
        (&["--loss", "cosine-distillation"], "--teacher"),
        (&["--loss", "margin-mse", "--teacher", TINY_CROSS], "--hard-negatives"),
        (&["--epochs", "0"], "--epochs is 0"),
        (&["--freeze-encoder"], "siamese"),
        (&["--mined-pairs", "5"], "--teacher"),
    ];
    for (more, reason) in cases {
        let error = fails(more, 2);
        assert!(error.contains(reason), "{more:?}: {error}");
    }
    let scores = ["--loss", "score-distillation,binary-cross-entropy", "--teacher", TINY_CROSS];
    let error = mine_fails(&arguments("cross", TINY_CROSS, text(&output), &scores), 2);
    assert!(error.contains("a teacher's logit or a label"), "{error}");
    // dev questions among the training pairs
    let error = fails(&["--dev", PAIRS], 1);
    assert!(error.contains("learnt by heart") && error.contains("--allow-shared-questions"), "{error}");

    let one_label = work.path().join("one.csv");
    std::fs::write(&one_label, "question1,question2,is_duplicate\na,b,0\nc,d,0\ne,f,2\ng,h,0\n").unwrap();
    let model = text(&output);
    let train = |loss: &str| {
        let pairs = text(&one_label);
        let dev = ["--dev", PAIRS, "--loss", loss];
        mine_fails(
            &[&["train", "--kind", "bi", "--from", TINY, "--pairs", pairs, "--output", model], &dev[..]].concat(),
            1,
        )
    };
    let error = train("ranking");
    assert!(error.contains("0 duplicates, but ranking learns from duplicates"), "{error}");
    assert!(error.contains("1 row left out") && error.contains("expected 0 or 1"), "{error}");
    assert!(train("contrastive").contains("needs both kinds"));
    let broken = work.path().join("broken");
    mine_ok(&["models", "export", "--input", TINY, "--output", text(&broken)]);
    let mut bytes = weights(&broken);
    let half = bytes.len() / 8 * 4;
    bytes[half..].fill(0xff);
    std::fs::write(broken.join("model.safetensors"), bytes).unwrap();
    let error = mine_fails(&arguments("bi", text(&broken), text(&output), &[]), 1);
    assert!(error.contains("not numbers"), "{error}");
    assert!(!output.exists());
}

#[test]
fn a_model_is_refreshed_only_by_a_better_one() {
    let work = folder();
    let model = work.path().join("model");
    mine_ok(&arguments("bi", TINY, text(&model), &["--epochs", "4"]));
    let before = weights(&model);
    // a rate at which nothing is learnt
    let run = work.path().join("refresh.run");
    let mut refresh = arguments("bi", text(&model), text(&model), &["--run", text(&run)]);
    let at = refresh.iter().position(|argument| *argument == "1e-3").unwrap();
    refresh[at] = "1e-12";
    let error = mine_fails(&refresh, 1);
    assert!(error.contains("stays as it was") && error.contains("--force"), "{error}");
    assert!(weights(&model) == before);
    mine_ok(&[&refresh[..], &["--force"]].concat());
}

#[test]
fn negatives_and_teachers_work_end_to_end() {
    let work = folder();
    let train = |name: &str, kind: &str, from: &str, more: &[&str]| {
        let output = work.path().join(name);
        let stderr = {
            let all = arguments(kind, from, text(&output), &[&["--epochs", "1"], more].concat());
            let all: Vec<&str> = all.into_iter().filter(|flag| *flag != "--quiet").collect();
            mine_ok(&all)
        };
        assert!(output.join("model.safetensors").exists());
        stderr
    };
    let said = train("negatives", "bi", TINY, &["--hard-negatives", "2", "--teacher", TINY_CROSS]);
    assert!(said.contains("hard negatives mined"), "{said}");
    train("margin", "bi", TINY, &["--loss", "margin-mse", "--hard-negatives", "2", "--teacher", TINY_CROSS]);
    train("imitate", "bi", TINY, &["--loss", "cosine-distillation", "--teacher", TINY]);
    let said = train(
        "augmented",
        "bi",
        TINY,
        &["--loss", "cosine-similarity", "--mined-pairs", "20", "--teacher", TINY_CROSS],
    );
    assert!(said.contains("20 mined pairs labelled"), "{said}");
    train(
        "distilled",
        "cross",
        TINY_CROSS,
        &["--loss", "score-distillation", "--teacher", TINY_CROSS, "--swap-orders"],
    );
    let said = train(
        "pairs",
        "cross",
        TINY_CROSS,
        &["--hard-negatives", "1", "--negatives-from", TINY, "--negatives-choice", "random"],
    );
    assert!(said.contains("added as pairs that are no duplicates"), "{said}");
    // and pairs of one label alone then have both
    let duplicates = work.path().join("duplicates.csv");
    std::fs::write(
        &duplicates,
        "question1,question2,is_duplicate\na cat,one cat,1\na dog,one dog,1\na bird,one bird,1\n",
    )
    .unwrap();
    let model = work.path().join("of-duplicates");
    let files = ["--pairs", text(&duplicates), "--dev", PAIRS, "--output", text(&model)];
    let few = ["--kind", "cross", "--from", TINY_CROSS, "--max-steps", "1", "--quiet"];
    let negatives = ["--hard-negatives", "1", "--negatives-from", TINY];
    mine_ok(&[&["train"], &files[..], &few, &negatives].concat());
    let said = mine_fails(&[&["train"], &files[..], &few, &["--force"]].concat(), 1);
    assert!(said.contains("3 duplicates and 0 others"), "{said}");
    train("mix", "bi", TINY, &["--loss", "contrastive=1,ranking=0.5", "--directions", "both-ways"]);
}

#[test]
fn duplicates_without_enough_negatives_are_left_out_of_margins() {
    let work = folder();
    let pairs = work.path().join("few.csv");
    // one question has three others that are unlike it, the rest two
    std::fs::write(&pairs, "question1,question2,is_duplicate\na,b,1\nc,d,1\nc,e,1\n").unwrap();
    let output = work.path().join("model");
    let train = |count| {
        let margins = ["--loss", "margin-mse", "--teacher", TINY_CROSS, "--hard-negatives", count, "--max-steps", "1"];
        let files = ["--pairs", text(&pairs), "--dev", PAIRS, "--output", text(&output), "--quiet"];
        mine(&[&["train", "--kind", "bi", "--from", TINY], &files[..], &margins].concat())
    };
    let error = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();
    let said = error(train("4"));
    assert!(said.contains("no duplicate has 4 negatives") && !said.contains("panicked"), "{said}");
    let said = error(train("3"));
    assert!(said.contains("2 duplicates left out") && output.exists(), "{said}");
}

#[test]
fn a_pipeline_file_trains_what_is_not_trained_yet() {
    let work = folder();
    let output = work.path().join("model");
    let file = work.path().join("train.toml");
    let table = format!("[[train]]\nkind = \"bi\"\nfrom = {TINY:?}\npairs = {PAIRS:?}\noutput = {:?}\n", text(&output));
    std::fs::write(&file, format!("{table}max-steps = 2\n")).unwrap();
    mine_ok(&["run", text(&file)]);
    assert!(mine_ok(&["run", text(&file)]).contains("trained already"));
    std::fs::write(&file, format!("{table}max-stepz = 2\n")).unwrap();
    let error = mine_fails(&["run", text(&file)], 2);
    assert!(error.contains("line 6: unknown key `max-stepz`; the nearest known key is `max-steps`"), "{error}");
}

#[test]
fn splits_keep_questions_apart_and_say_how_they_were_drawn() {
    let work = folder();
    let output = work.path().join("split");
    let input = work.path().join("pairs.csv");
    let rows: String = (0..200).map(|n| format!("q{n},q{},{}\n", n + 1000, n % 3 / 2)).collect();
    std::fs::write(&input, format!("question1,question2,is_duplicate\n{rows},x,1\n")).unwrap();
    let split = ["split", "--input", text(&input), "--output", text(&output)];
    let said = mine_ok(&split);
    assert!(said.contains("1 row left out") && said.contains("train.parquet: 160 pairs"), "{said}");
    let rows = |part: &str| read(&output.join(format!("{part}.parquet"))).num_rows();
    assert_eq!((rows("train"), rows("dev"), rows("test"), rows("skipped")), (160, 20, 20, 1));
    assert!(mine_fails(&split, 1).contains("exists already"));
    let bytes = std::fs::read(output.join("dev.parquet")).unwrap();
    mine_ok(&[&split[..], &["--force"]].concat());
    assert!(bytes == std::fs::read(output.join("dev.parquet")).unwrap());
    assert!(mine_fails(&[&split[..], &["--force", "--ratios", "1,2"]].concat(), 2).contains("--ratios"));
}

#[test]
fn models_trained_from_one_start_share_its_token_table_in_few_bits() {
    let work = folder();
    let at = |name: &str| work.path().join(name);
    let compress = |from: &str, to: &str| {
        let (from, to) = (at(from), at(to));
        let input = if from.exists() { from } else { TINY.into() };
        let bits = ["--bits", "6", "--token-bits", "4", "--separate-tokens"];
        mine_ok(&[&["models", "compress", "--input", text(&input), "--output", text(&to)], &bits[..]].concat());
        std::fs::read(to.join("model-tokens.safetensors")).unwrap()
    };
    let tokens = compress("original", "start");
    for kind in ["bi", "cross"] {
        let output = at(kind);
        mine_ok(&arguments(kind, text(&at("start")), text(&output), &["--freeze-tokens", "--max-steps", "3"]));
        assert!(compress(kind, &format!("{kind}-small")) == tokens, "{kind}: the token table changed");
    }
}
