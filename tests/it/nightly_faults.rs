//! Nights that are killed at every step and at random, and a disk that is full: yesterday's results stay, and the next run
//! ends as if nothing had happened.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");

fn rows(questions: usize, changed: usize) -> Vec<(i64, String)> {
    let subjects = ["guitar", "rice", "paris", "money", "chess", "coffee", "garden", "cat", "physics", "tax"];
    let row = |n: usize| {
        let subject = subjects[n / 3 % 10];
        let end = if n < changed { " now" } else { "" };
        (n as i64, format!("how do i {} {subject} in {} days number {n}{end}", ["learn", "cook", "buy"][n % 3], n % 50))
    };
    (changed / 2..questions).map(row).collect()
}

/// A first night in `before`, and the input of the second.
fn first_night(work: &Path, questions: usize, options: &[&str]) -> std::path::PathBuf {
    let (input, before) = (work.join("q.parquet"), work.join("before"));
    write_rows(&input, &rows(questions, 0));
    mine_ok(&arguments(&input, &before, "2026-11-01T03:00:00Z", options));
    write_rows(&input, &rows(questions, questions / 20));
    before
}

fn arguments<'a>(input: &'a Path, output: &'a Path, time: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    let base: &[&str] = if options.contains(&"--cross-encoder") { &[] } else { &["--cross-encoder", CROSS] };
    let all = [base, &["--top-k", "3", "--run-time", time], options].concat();
    tiny(text(input), text(output), &all)
}

const SECOND: &str = "2026-11-02T03:00:00Z";

/// The results that a reader sees are those of the first or of the second night, complete.
fn assert_whole(output: &Path, nights: [&Path; 2]) {
    let seen = mine(&["show", text(output), "--json"]);
    let said = String::from_utf8_lossy(&seen.stderr).into_owned();
    assert!(seen.status.success(), "{said}");
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    let of = |night: &Path| json(&["show", text(night), "--json"]);
    let is_one = nights.iter().any(|night| {
        let expected = of(night);
        ["number", "run_id", "metrics", "biggest_clusters"].iter().all(|key| seen[key] == expected[key])
    });
    assert!(is_one, "{seen}");
}

#[test]
fn a_night_killed_at_any_step_ends_in_the_same_bytes() {
    let work = folder();
    let before = first_night(work.path(), 300, &[]);
    let (input, undisturbed) = (work.path().join("q.parquet"), work.path().join("undisturbed"));
    copy_folder(&before, &undisturbed);
    mine_ok(&arguments(&input, &undisturbed, SECOND, &[]));
    let mut steps = 0;
    for step in 1.. {
        let output = work.path().join("out");
        copy_folder(&before, &output);
        let mut killed = command(&arguments(&input, &output, SECOND, &[]));
        let ended = killed.env("MINE_ABORT_AT_STEP", step.to_string()).output().unwrap();
        if ended.status.success() {
            break;
        }
        steps = step;
        if step % 4 == 1 {
            assert_whole(&output, [&before, &undisturbed]);
        }
        mine_ok(&arguments(&input, &output, SECOND, &[]));
        assert_same_results(&undisturbed, &output);
        assert!(!output.join(".refused").exists());
        std::fs::remove_dir_all(&output).unwrap();
    }
    println!("killed at each of {steps} steps");
    assert!(steps > 50, "{steps}");
}

#[test]
fn a_night_killed_twenty_times_ends_in_the_same_bytes() {
    let work = folder();
    let before = first_night(work.path(), 3000, &[]);
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    let undisturbed = work.path().join("undisturbed");
    copy_folder(&before, &undisturbed);
    copy_folder(&before, &output);
    let started = Instant::now();
    mine_ok(&arguments(&input, &undisturbed, SECOND, &[]));
    let whole = started.elapsed();
    let (mut random, mut kills) = (Random(7), 0);
    for _ in 0..20 {
        let mut child = command(&arguments(&input, &output, SECOND, &[])).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.below(1000) as f64 / 1200.0));
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());
    }
    mine_ok(&arguments(&input, &output, SECOND, &[]));
    println!("{kills} of 20 nights were killed before their end, a whole one takes {whole:?}");
    assert!(kills > 3);
    assert_same_results(&undisturbed, &output);
}

#[test]
fn a_rollback_killed_at_any_step_can_be_finished() {
    let work = folder();
    let before = first_night(work.path(), 60, &["--cross-encoder", "none"]);
    let input = work.path().join("q.parquet");
    mine_ok(&arguments(&input, &before, SECOND, &["--cross-encoder", "none"]));
    let (output, undisturbed) = (work.path().join("out"), work.path().join("undisturbed"));
    copy_folder(&before, &undisturbed);
    let back = |output: &Path| ["rollback", text(output), "--to", "1", "--run-time", SECOND].map(String::from);
    let run = |output: &Path, step: Option<usize>| {
        let typed = back(output);
        let mut command = command(&typed.each_ref().map(String::as_str));
        step.into_iter().for_each(|step| {
            command.env("MINE_ABORT_AT_STEP", step.to_string());
        });
        command.output().unwrap().status.success()
    };
    assert!(run(&undisturbed, None));
    for step in 1.. {
        copy_folder(&before, &output);
        let ended = run(&output, Some(step));
        assert!(run(&output, None));
        assert_same_results(&undisturbed, &output);
        assert_eq!(std::fs::read_to_string(output.join(".mine/CURRENT")).unwrap().trim(), "3");
        std::fs::remove_dir_all(&output).unwrap();
        if ended {
            println!("killed at each of {} steps", step - 1);
            break;
        }
    }
}

/// The budget of a night that was killed is not spent twice.
#[test]
fn a_killed_night_has_one_budget() {
    let work = folder();
    let budget = ["--rerank-budget", "300"];
    let before = first_night(work.path(), 2600, &budget);
    let (input, undisturbed) = (work.path().join("q.parquet"), work.path().join("undisturbed"));
    copy_folder(&before, &undisturbed);
    mine_ok(&arguments(&input, &undisturbed, SECOND, &budget));
    let reranked = |output: &Path| metrics(output)["rerank.rows_out"];
    assert!(reranked(&undisturbed) > reranked(&before) + 200.0, "the backlog is worked off");
    for step in (10..).step_by(5) {
        let output = work.path().join(format!("out-{step}"));
        copy_folder(&before, &output);
        let mut all_the_way = false;
        for _ in 0..2 {
            let mut killed = command(&arguments(&input, &output, SECOND, &budget));
            all_the_way |= killed.env("MINE_ABORT_AT_STEP", step.to_string()).output().unwrap().status.success();
        }
        if all_the_way {
            break;
        }
        mine_ok(&arguments(&input, &output, SECOND, &budget));
        assert_same_results(&undisturbed, &output);
    }
}

/// While a night fails for want of space, a reader sees yesterday's results at every moment.
#[test]
fn a_full_disk_leaves_yesterday_readable_all_the_time() {
    let work = folder();
    let before = first_night(work.path(), 2000, &[]);
    let (input, disk) = (work.path().join("q.parquet"), work.path().join("disk"));
    std::fs::create_dir(&disk).unwrap();
    let used: u64 = {
        let output = Command::new("du").args(["-sk", text(&before)]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().parse().unwrap()
    };
    let script = |more: u64| {
        format!(
            "mount -t tmpfs -o size={}k none \"$0\" && cp -a \"$1\" \"$0/out\" && shift 1 && touch \"$0/ready\" && \
             \"$@\"; code=$?; touch \"$0/done\"; sleep 0.3; cmp \"$0/out/pairs.parquet\" \"$BEFORE/pairs.parquet\" && \
             cmp \"$0/out/manifest.json\" \"$BEFORE/manifest.json\" && echo same; exit $code",
            used + more
        )
    };
    let probe = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none \"$0\"", text(&disk)]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skipped("this machine lets no test mount a small disk");
    }
    let output = disk.join("out");
    let mut failures = 0;
    for more in [8, 60, 120, 200, 300, 420] {
        let mut run = Command::new("unshare");
        run.args(["-rm", "sh", "-c", &script(more), text(&disk), text(&before), env!("CARGO_BIN_EXE_mine")]);
        run.args(arguments(&input, &output, SECOND, &[])).env("BEFORE", text(&before));
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (seen, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        // a reader in the same mount namespace, through the process's root
        let path = Path::new(&format!("/proc/{}/root", child.id())).join(text(&output).trim_start_matches('/'));
        let (status, out, error) = std::thread::scope(|scope| {
            scope.spawn(|| {
                let waited = Instant::now();
                while !ended.load(Ordering::Relaxed) && waited.elapsed() < Duration::from_secs(120) {
                    if path.join("pairs.parquet").exists() {
                        let file = std::fs::File::open(path.join("pairs.parquet"));
                        let whole = file.is_ok_and(|file| {
                            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).is_ok()
                        });
                        // the mount goes with the process
                        if !whole && path.join("pairs.parquet").exists() && !ended.load(Ordering::Relaxed) {
                            panic!("a reader saw a file that is not whole");
                        }
                        seen.fetch_add(usize::from(whole), Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            let output = child.wait_with_output().unwrap();
            ended.store(true, Ordering::Relaxed);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (output.status.code(), text(&output.stdout), text(&output.stderr))
        });
        if status == Some(1) {
            failures += 1;
            assert!(error.contains("No space left on device"), "{error}");
            assert!(out.contains("same"), "yesterday's results changed: {out} {error}");
        } else {
            assert_eq!(status, Some(0), "{error}");
        }
        println!("{more} KiB free: exit {status:?}, a reader looked {} times", seen.load(Ordering::Relaxed));
    }
    assert!(failures >= 2, "the disk was never full");
}
