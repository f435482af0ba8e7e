//! Runs on several machines when something goes wrong with one of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster_support::*;
use crate::support::*;

#[test]
fn an_executor_that_is_killed_costs_its_unit_alone() {
    let cluster = Cluster::with_questions(1600);
    let _scheduler = cluster.scheduler();
    // it holds its first result back for ever
    let killed = cluster.executor("killed", &[("MINE_PAUSE_UNITS", "600000")]);
    let mut run = cluster.run("out");
    cluster.wait_for_units();
    killed.signal("-KILL");
    let _other = cluster.executor("other", &[]);
    run.ended_well();
    cluster.assert_as_alone();
    let (units, _) = shares(&cluster.path("out"));
    assert_eq!(units.into_keys().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn a_scheduler_that_is_started_again_takes_the_run_up() {
    let cluster = Cluster::with_questions(1600);
    let scheduler = cluster.scheduler();
    let _executor = cluster.executor("one", &[("MINE_PAUSE_UNITS", "700")]);
    let mut run = cluster.run("out");
    cluster.wait_for_units();
    drop(scheduler);
    wait_for(30, "the run to notice", || run.said().contains("does not answer: waiting for it"));
    let _scheduler = cluster.scheduler();
    run.ended_well();
    cluster.assert_as_alone();
}

#[test]
fn a_unit_that_is_done_twice_does_no_harm() {
    let cluster = Cluster::with_questions(1600);
    let _scheduler = cluster.scheduler();
    let asleep = cluster.executor("asleep", &[("MINE_PAUSE_UNITS", "2500")]);
    let mut run = cluster.run("out");
    cluster.wait_for_units();
    // it is taken for dead, and ends its unit when another has done it too
    asleep.signal("-STOP");
    let _other = cluster.executor("other", &[]);
    run.ended_well();
    asleep.signal("-CONT");
    wait_for(30, "the second result", || asleep.said().contains("512 questions in"));
    cluster.assert_as_alone();
    cluster.run("out").ended_well();
    cluster.assert_as_alone();
    mine_ok(&["verify", text(&cluster.path("out")), "--all"]);
}

#[test]
fn a_unit_longer_than_the_timeout_is_waited_for() {
    let cluster = Cluster::with_questions(120);
    let scheduler = cluster.scheduler();
    // the timeout is 3 s
    let executor = cluster.executor("slow", &[("MINE_PAUSE_UNITS", "6000")]);
    cluster.run("out").ended_well();
    cluster.assert_as_alone();
    let (units, _) = shares(&cluster.path("out"));
    let done = executor.said().lines().filter(|line| line.contains(" in ")).count() as u64;
    assert_eq!(done, units["slow"], "no unit was done again: {}\n{}", executor.said(), scheduler.said());
}

#[test]
fn a_damaged_result_is_computed_again() {
    let cluster = Cluster::with_questions(300);
    let _scheduler = cluster.scheduler();
    let _executor = cluster.executor("one", &[("MINE_PAUSE_UNITS", "1500")]);
    let mut run = cluster.run("out");
    // a result lies there before it is noted
    let vectors = Path::new(&cluster.store).join("vectors");
    let segments = || -> Vec<PathBuf> {
        let folders = std::fs::read_dir(&vectors).into_iter().flatten().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "arrow")).collect()
    };
    wait_for(60, "a segment", || !segments().is_empty());
    let segment = segments()[0].clone();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let said = run.ended_well();
    assert!(said.contains("is damaged: what it held is computed again"), "{said}");
    cluster.assert_as_alone();
}

#[test]
fn a_full_store_ends_the_run_with_its_reason_and_nothing_is_lost() {
    let cluster = Cluster::new();
    write_corpus(&cluster.path("q.parquet"), 1600);
    let disk = cluster.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let probe = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none \"$0\"", text(&disk)]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skipped("this machine lets no test mount a small disk");
    }
    // everything in one mount namespace; the executor starts when the inputs of the units are written
    let script = "mount -t tmpfs -o size=300k none \"$DISK\" || exit 9; \
        \"$MINE\" cluster scheduler --port $PORT & scheduler=$!; \
        \"$MINE\" cluster executor --scheduler localhost:$PORT --store \"$DISK\" --bi-encoder \"$BI\" \
            --cross-encoder \"$CROSS\" & executor=$!; \
        sleep 2; \"$MINE\" \"$@\"; code=$?; kill -9 $scheduler $executor; exit $code";
    let mut full = Cluster::new();
    full.store = text(&disk).into();
    let arguments = full.arguments("out", &[]);
    std::fs::copy(cluster.path("q.parquet"), full.path("q.parquet")).unwrap();
    let mut run = Command::new("unshare");
    run.args(["-rm", "bash", "-c", script, "bash"]).args(&arguments);
    let variables = [("MINE", env!("CARGO_BIN_EXE_mine")), ("BI", BI), ("CROSS", CROSS), ("DISK", text(&disk))];
    let output = run.envs(variables).env("PORT", full.port.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let error: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(error.len() == 1 && error[0].contains("No space left on device"), "{said}");
    assert!(said.contains("hint: the same command continues with what is missing"), "{said}");
    assert!(!full.path("out").join("manifest.json").exists());
}
