//! Training: what is refused, and training files.

use crate::support::*;
use crate::training::{PAIRS, TINY, TINY_CROSS, arguments, weights};

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let work = folder();
    let output = work.path().join("model");
    let fails = |more: &[&str], code: i32| mine_fails(&arguments("bi", TINY, text(&output), more), code);
    let margins = ["--loss", "margin-mse,contrastive", "--hard-negatives", "2", "--teacher", TINY_CROSS];
    let mined = ["--mined-pairs", "5", "--teacher", TINY_CROSS, "--loss", "ranking"];
    let cases: [(&[&str], &str); 15] = [
        (&["--perturbed-pairs", "5"], "a --loss that learns from labels"),
        (&["--cosine-pairs", "5", "--loss", "cosent"], "only binary-cross-entropy"),
        (&["--start-share", "1"], "--start-share is 1"),
        (&["--precision", "f16"], "--precision bf16 has the range"),
        (&["--precision", "int8"], "train in f32 or bf16"),
        (&mined, "ranking does not look at labels"),
        (&margins, "margin-mse learns from duplicates alone"),
        (&["--loss", "rankin"], "the nearest known one is \"ranking\""),
        (&["--loss", "binary-cross-entropy"], "not a loss for a bi-encoder"),
        (&["--loss", "cosine-distillation"], "--teacher"),
        (&["--loss", "margin-mse", "--teacher", TINY_CROSS], "--hard-negatives"),
        (&["--epochs", "0"], "--epochs is 0"),
        (&["--freeze-encoder"], "siamese"),
        (&["--mined-pairs", "5"], "--teacher"),
        (&["--teacher-weight", "0.5", "--teacher", TINY_CROSS], "only binary-cross-entropy"),
    ];
    for (more, reason) in cases {
        let error = fails(more, 2);
        assert!(error.contains(reason), "{more:?}: {error}");
    }
    let error = mine_fails(&arguments("cross", TINY, text(&output), &["--start-share", "0.5"]), 2);
    assert!(error.contains("its new head has no weights of the start"), "{error}");
    let scores = ["--loss", "score-distillation,binary-cross-entropy", "--teacher", TINY_CROSS];
    let error = mine_fails(&arguments("cross", TINY_CROSS, text(&output), &scores), 2);
    assert!(error.contains("a teacher's logit or a label"), "{error}");
    let weighs = |more: &[&str]| {
        mine_fails(&arguments("cross", TINY_CROSS, text(&output), &[&["--teacher-weight"], more].concat()), 2)
    };
    let error = weighs(&["1"]);
    assert!(error.contains("name a cross-encoder with --teacher"), "{error}");
    let error = weighs(&["2", "--teacher", TINY_CROSS]);
    assert!(error.contains("--teacher-weight is 2"), "{error}");
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
    let error = fails(&["--loss", "ranking=1e38"], 1);
    assert!(
        error.contains(": the loss is") && error.contains("norm NaN") && error.contains("--learning-rate"),
        "{error}"
    );
    assert!(work.path().join("model.run/metrics.parquet").exists(), "what led there is shown");
    assert!(!output.exists());
}

#[test]
fn pairs_that_cannot_be_ranked_or_measured_are_told() {
    let work = folder();
    let (pairs, output) = (work.path().join("pairs.csv"), work.path().join("model"));
    let train = |rows: &str, more: &[&str]| {
        std::fs::write(&pairs, format!("question1,question2,is_duplicate\n{rows}")).unwrap();
        let all = ["train", "--from", TINY, "--pairs", text(&pairs), "--output", text(&output), "--max-steps", "2"];
        mine(&[&all[..], more].concat())
    };
    let said = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();
    // one cluster: no question has another's duplicate to be told from
    let error = said(train("a,b,1\nb,c,1\nc,d,1\n", &["--dev", PAIRS]));
    assert!(error.contains("its 3 pairs make no batch") && !output.exists(), "{error}");
    let chain: String = (0..20).map(|n| format!("a{n},a{},1\n", n + 1)).collect();
    let told = said(train(&format!("{chain}b,c,1\nd,e,1\n"), &["--dev", PAIRS, "--batch-size", "4"]));
    assert!(told.contains("pairs are in no batch of the first epoch") && output.exists(), "{told}");
    let dev = work.path().join("dev.csv");
    std::fs::write(&dev, "question1,question2,is_duplicate\nx,y,1\nz,w,1\n").unwrap();
    let error = said(train("a,b,1\nc,d,1\n", &["--dev", text(&dev), "--force"]));
    assert!(error.contains("dev.csv: its natural pairs are 2 duplicates and 0 others"), "{error}");
}

#[test]
fn what_is_no_model_is_not_replaced_and_a_slash_changes_nothing() {
    let work = folder();
    let mine_own = work.path().join("notes");
    std::fs::create_dir(&mine_own).unwrap();
    std::fs::write(mine_own.join("diary.txt"), "dear diary").unwrap();
    let error = mine_fails(&arguments("bi", TINY, text(&mine_own), &["--force"]), 1);
    assert!(error.contains("no model's folder") && mine_own.join("diary.txt").exists(), "{error}");

    let model = work.path().join("model");
    mine_ok(&arguments("bi", TINY, &format!("{}/", text(&model)), &["--max-steps", "2"]));
    assert!(model.join("model.safetensors").exists() && work.path().join("model.run/metrics.parquet").exists());
    let inside = model.join("run");
    let error = mine_fails(&arguments("bi", TINY, text(&model), &["--run", text(&inside)]), 2);
    assert!(error.contains("lies in --output"), "{error}");
    // a model that no training made is not replaced, however bad it is
    let (original, downloaded) = (repo("fixtures/models/tiny-bert"), work.path().join("downloaded"));
    copy_model(text(&original), &downloaded);
    let error = mine_fails(&arguments("bi", TINY, text(&downloaded), &[]), 1);
    assert!(error.contains("no training made it") && error.contains("--force"), "{error}");
    // a clone would lose its history
    std::fs::create_dir(model.join(".git")).unwrap();
    let error = mine_fails(&arguments("bi", TINY, text(&model), &["--force"]), 1);
    assert!(error.contains("a git repository") && model.join("model.safetensors").exists(), "{error}");
    // a run of mine has a metrics.parquet too
    let (mined, fresh) = (work.path().join("mined"), work.path().join("fresh"));
    std::fs::create_dir(&mined).unwrap();
    std::fs::write(mined.join("metrics.parquet"), "of a run").unwrap();
    let error = mine_fails(&arguments("bi", TINY, text(&fresh), &["--run", text(&mined), "--force"]), 1);
    assert!(error.contains("no training left there") && !mined.join("lock").exists(), "{error}");
    assert_eq!(std::fs::read_to_string(mined.join("metrics.parquet")).unwrap(), "of a run");
    // another's config.json makes no model
    std::fs::write(mine_own.join("config.json"), "{}").unwrap();
    assert!(mine_fails(&arguments("bi", TINY, text(&mine_own), &["--force"]), 1).contains("no model's folder"));
}

#[test]
fn a_training_that_is_refused_leaves_the_checkpoints_of_another() {
    let work = folder();
    let (model, run) = (work.path().join("model"), work.path().join("run"));
    let options = ["--run", text(&run), "--max-steps", "5"];
    mine_ok(&arguments("bi", TINY, text(&model), &options));
    let checkpoint = run.join("checkpoint-00000005.safetensors");
    assert!(checkpoint.exists());
    // leaks are found long after the folder was opened
    let leaking = [&options[..], &["--dev", PAIRS, "--force"]].concat();
    let error = mine_fails(&arguments("bi", TINY, text(&model), &leaking), 1);
    assert!(error.contains("learnt by heart") && checkpoint.exists(), "{error}");
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
    for flag in [&["--plan"][..], &["--output", "elsewhere"]] {
        let error = mine_fails(&[&["run", text(&file)], flag].concat(), 2);
        assert!(error.contains("describes trainings"), "{error}");
    }
    std::fs::write(&file, format!("{table}max-stepz = 2\n")).unwrap();
    let error = mine_fails(&["run", text(&file)], 2);
    assert!(error.contains("line 6: unknown key `max-stepz`; the nearest known key is `max-steps`"), "{error}");
    // the place of a wrong value, in the table that holds it
    std::fs::write(&file, format!("{table}max-steps = 2\n\n{table}max-steps = \"many\"\n")).unwrap();
    let error = mine_fails(&["run", text(&file)], 2);
    assert!(error.contains("line 13: key `max-steps`: found \"many\", expected a whole number"), "{error}");
    std::fs::write(&file, format!("{table}epochs = 0\n")).unwrap();
    let error = mine_fails(&["run", text(&file)], 2);
    assert!(error.contains("train.toml: [[train]] table 1: --epochs is 0"), "{error}");
    let error = mine_fails(&["run", text(&file), "--set", "epochs=few"], 2);
    assert!(error.contains("--set epochs=few: key `epochs`: found \"few\", expected a whole number"), "{error}");
}

#[test]
fn what_the_clock_ended_holds_up_what_comes_after_it() {
    let work = folder();
    let (first, second) = (work.path().join("first"), work.path().join("second"));
    let table = |output: &std::path::Path| {
        let output = text(output);
        format!("[[train]]\nfrom = {TINY:?}\npairs = {PAIRS:?}\noutput = {output:?}\nmax-steps = 2\n")
    };
    let file = work.path().join("train.toml");
    std::fs::write(&file, format!("{}{}", table(&first), table(&second))).unwrap();
    let said = mine_fails(&["run", text(&file), "--set", "max-minutes=0"], 1);
    assert!(said.contains("(table 1) early, with 1 more to run") && first.exists() && !second.exists(), "{said}");
    mine_ok(&["run", text(&file)]);
    assert!(second.exists());
}

#[test]
fn the_pipeline_file_that_ships_is_read_to_its_end() {
    let work = folder();
    let file = repo("pipelines/train.toml");
    // its keys and values are right: what is missing are the pairs
    let output = command(&["run", text(&file)]).current_dir(work.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("split/train.parquet: no such file"), "{error}");
    assert!(std::fs::read_dir(work.path()).unwrap().next().is_none(), "nothing is written before its input is read");
}
