//! What goes wrong while a run goes on: killed, interrupted, disk full, artifacts damaged.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::support::*;

/// Enough questions for several shards of every stage, cheap with the tiny models.
fn corpus(path: &Path) {
    let subjects = ["guitar", "rice", "paris", "money", "chess", "coffee", "garden", "cat", "physics", "tax"];
    let texts: Vec<String> = (0..9000)
        .map(|n| {
            format!(
                "how do i {} {} in {} days number {n}",
                ["learn", "cook", "buy"][n % 3],
                subjects[n / 3 % 10],
                n % 50
            )
        })
        .collect();
    write_questions(path, &texts.iter().map(String::as_str).collect::<Vec<_>>());
}

fn arguments<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    let cross = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");
    tiny(input, output, &["--cross-encoder", cross, "--top-k", "2", "--quiet"])
}

fn start(input: &Path, output: &Path) -> Child {
    command(&arguments(text(input), text(output))).stderr(Stdio::piped()).spawn().unwrap()
}

/// Segments of a kind with their times of change.
fn segments(output: &Path, kind: &str) -> Vec<(PathBuf, SystemTime)> {
    let mut found = Vec::new();
    for fingerprint in std::fs::read_dir(output.join(".mine").join(kind)).into_iter().flatten().flatten() {
        for entry in std::fs::read_dir(fingerprint.path()).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "arrow")
                && let Ok(metadata) = entry.metadata()
            {
                found.push((entry.path(), metadata.modified().unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Waits until `ready` or the process ends; whether it was ready while the process ran.
fn wait_for(child: &mut Child, ready: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(900) {
        if ready() {
            return child.try_wait().unwrap().is_none();
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the run hangs");
}

#[test]
fn a_run_killed_in_any_stage_resumes_to_the_same_bytes() {
    let work = folder();
    let input = work.path().join("q.parquet");
    corpus(&input);
    let undisturbed = work.path().join("undisturbed");
    mine_ok(&arguments(text(&input), text(&undisturbed)));
    assert!(segments(&undisturbed, "vectors").len() >= 3 && segments(&undisturbed, "scores").len() >= 3);

    for stage in ["vectors", "neighbours", "scores", "staging"] {
        let output = work.path().join(format!("killed-in-{stage}"));
        kill_in(stage, &input, &output);
        assert!(!output.join("manifest.json").exists(), "a killed run has no manifest");
        let before = [segments(&output, "vectors"), segments(&output, "scores")].concat();
        mine_ok(&arguments(text(&input), text(&output)));
        let after = [segments(&output, "vectors"), segments(&output, "scores")].concat();
        assert!(
            before.iter().all(|segment| after.contains(segment)),
            "finished segments were made again after {stage}"
        );
        assert_same_results(&undisturbed, &output);
    }
}

/// Nine kills at moments that nobody chose, each of the run that resumes the one before.
#[test]
fn nine_kills_at_random_moments_end_in_the_same_bytes() {
    let work = folder();
    let (input, output, undisturbed) = (work.path().join("q.parquet"), work.path().join("out"), work.path().join("u"));
    corpus(&input);
    let started = Instant::now();
    mine_ok(&arguments(text(&input), text(&undisturbed)));
    let whole = started.elapsed();
    let (mut state, mut kills) = (7u64, 0);
    for _ in 0..9 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mut child = start(&input, &output);
        std::thread::sleep(whole.mul_f64((state >> 40) as f64 / (1u64 << 24) as f64 / 2.0));
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());
    }
    mine_ok(&arguments(text(&input), text(&output)));
    println!("{kills} of 9 runs were killed before their end, a whole one takes {whole:?}");
    assert!(kills > 0);
    assert_same_results(&undisturbed, &output);
}

/// Starts a run and kills it as soon as `stage` has left something; again from nothing when the run was faster.
fn kill_in(stage: &str, input: &Path, output: &Path) {
    for _ in 0..20 {
        let mut child = start(input, output);
        let seen = wait_for(&mut child, || match stage {
            "staging" => output.join(".mine/versions/000001.next").exists(),
            _ => !segments(output, stage).is_empty(),
        });
        child.kill().unwrap();
        child.wait().unwrap();
        if seen && !output.join("manifest.json").exists() {
            return;
        }
        std::fs::remove_dir_all(output).unwrap();
    }
    panic!("no run could be killed in {stage}");
}

#[test]
fn ctrl_c_stops_cleanly_and_says_how_to_go_on() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    corpus(&input);
    let mut child = start(&input, &output);
    assert!(wait_for(&mut child, || !segments(&output, "vectors").is_empty()));
    let pressed = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    println!("ended {:?} after the signal", pressed.elapsed());
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("error: interrupted; finished work is kept: the same command resumes"), "{stderr}");
    assert!(!output.join("pairs.parquet").exists() && !output.join("manifest.json").exists());
    mine_ok(&arguments(text(&input), text(&output)));
}

#[test]
fn damaged_artifacts_are_made_again() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    corpus(&input);
    mine_ok(&arguments(text(&input), text(&output)));
    let kept = work.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    for file in RESULTS {
        std::fs::copy(output.join(file), kept.join(file)).unwrap();
    }
    for kind in ["vectors", "neighbours", "scores"] {
        let (path, _) = segments(&output, kind)[0].clone();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    }
    let stderr = mine_ok(&arguments(text(&input), text(&output)));
    assert_eq!(stderr.matches("is damaged: what it held is computed again").count(), 3, "{stderr}");
    assert_same_results(&kept, &output);
}

#[test]
fn a_full_disk_is_one_clear_error() {
    let work = folder();
    let (input, disk) = (work.path().join("q.parquet"), work.path().join("disk"));
    corpus(&input);
    std::fs::create_dir(&disk).unwrap();
    let output = disk.join("out");
    let mount = "mount -t tmpfs -o size=1m none \"$0\"";
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, text(&disk)]);
        command
    };
    if !in_namespace(mount).output().is_ok_and(|probe| probe.status.success()) {
        return skipped("this machine lets no test mount a small disk");
    }
    let script = format!("{mount}; \"$@\"; code=$?; ls -A \"$0/out\"; exit $code");
    let mut mine = in_namespace(&script);
    mine.arg(env!("CARGO_BIN_EXE_mine")).args(arguments(text(&input), text(&output)));
    let ended = mine.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: cannot write") && stderr.contains("No space left on device"), "{stderr}");
    assert_eq!(stdout.trim(), ".mine", "nothing half-written beside the work folder");
}

#[test]
fn a_run_killed_while_it_replaces_files_is_its_own_to_repair() {
    let work = folder();
    let (input, output) = (repo("fixtures/questions.parquet"), work.path().join("out"));
    mine_ok(&tiny(text(&input), text(&output), &[]));
    let pairs = std::fs::read(output.join("pairs.parquet")).unwrap();
    // as a kill between two renames leaves it, with an unfinished file
    std::fs::write(output.join(".mine-tmp-abc"), "half").unwrap();
    std::fs::write(output.join(".mine/vectors/.mine-tmp-def"), "half").unwrap();
    std::fs::remove_file(output.join("manifest.json")).unwrap();
    std::fs::remove_file(output.join("clusters.parquet")).unwrap();
    // a reader sees the version meanwhile
    assert!(json(&["show", text(&output), "--json"])["biggest_clusters"][0]["cluster_id"].is_number());
    mine_ok(&tiny(text(&input), text(&output), &[]));
    assert_eq!(pairs, std::fs::read(output.join("pairs.parquet")).unwrap());
    assert!(output.join("clusters.parquet").exists() && output.join("manifest.json").exists());
    for left in [".mine-tmp-abc", ".mine/vectors/.mine-tmp-def"] {
        assert!(!output.join(left).exists(), "{left}");
    }
}

#[test]
fn two_runs_do_not_share_an_output() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    corpus(&input);
    let mut child = start(&input, &output);
    assert!(wait_for(&mut child, || !segments(&output, "vectors").is_empty()));
    let error = mine_fails(&arguments(text(&input), text(&output)), 4);
    let holder = format!("is in use by process {}", child.id());
    assert!(error.contains(&holder) && error.contains("hint: add --wait"), "{error}");
    // or it waits, and then has nothing left to do
    let waiting = [arguments(text(&input), text(&output)), vec!["--wait"]].concat();
    let said = mine_ok(&waiting.into_iter().filter(|flag| *flag != "--quiet").collect::<Vec<_>>());
    assert!(said.contains(&format!("waiting for process {}", child.id())) && !said.contains("loading "), "{said}");
    assert!(child.wait().unwrap().success());
}
