//! Runs on several machines: what they write is what one process writes.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::cluster_support::*;
use crate::support::*;

#[test]
fn two_executors_write_the_bytes_of_one_process() {
    let cluster = Cluster::with_questions(2500);
    let _scheduler = cluster.scheduler();
    // each unit takes a while, so that neither does all
    let pause = [("MINE_PAUSE_UNITS", "150")];
    let _both = [cluster.executor("one", &pause), cluster.executor("two", &pause)];
    cluster.wait_for_executors(2);
    cluster.run("out").ended_well();
    cluster.assert_as_alone();
    let (units, stages) = shares(&cluster.path("out"));
    assert_eq!(stages, ["embed", "candidates", "rerank"]);
    assert!(units.len() == 2 && units.values().all(|units| *units > 2), "{units:?}");
    let work = Path::new(&cluster.store).join("work");
    assert_eq!(std::fs::read_dir(work).map_or(0, Iterator::count), 0, "what was handed out is removed");

    // a second night: only what is new
    write_corpus(&cluster.path("q.parquet"), 2540);
    cluster.run_alone();
    let said = cluster.run("out").ended_well();
    assert!(said.contains("2,500 of 2,540 questions are there already"), "{said}");
    cluster.assert_as_alone();
    mine_ok(&["verify", text(&cluster.path("out")), "--all"]);
}

#[test]
fn an_executor_that_joins_late_helps() {
    let cluster = Cluster::with_questions(2500);
    let _scheduler = cluster.scheduler();
    let _early = cluster.executor("early", &[("MINE_PAUSE_UNITS", "1500")]);
    let mut run = cluster.run("out");
    cluster.wait_for_units();
    let _late = cluster.executor("late", &[]);
    run.ended_well();
    cluster.assert_as_alone();
    let (units, _) = shares(&cluster.path("out"));
    assert!(units["late"] > units["early"] && units["early"] > 0, "{units:?}");
}

#[test]
fn another_build_and_other_models_are_refused_by_name() {
    let cluster = Cluster::with_questions(600);
    let scheduler = cluster.scheduler();
    let _build = cluster.executor("old", &[("MINE_PRETENDED_BUILD", "0.0.9 (1.1.1)")]);
    let _models = cluster.executor_with("foreign", &[], &["--bi-encoder", BI]);
    let mut run = cluster.run("out");
    wait_for(60, "the refusals", || run.said().matches("is not used: ").count() == 2);
    let _right = cluster.executor("right", &[]);
    let said = run.ended_well();
    assert!(said.contains("executor old is not used: it has version 0.0.9 (1.1.1), this run needs "), "{said}");
    assert!(scheduler.said().contains("executor old is not used: it has version 0.0.9"), "{}", scheduler.said());
    cluster.assert_as_alone();
    // embedding suits its bi-encoder, reranking does not
    let (units, _) = shares(&cluster.path("out"));
    assert!(!units.contains_key("old") && units.contains_key("right"), "{units:?}");
    let refused = scheduler.said().contains("executor foreign is not used: its cross-encoder is ");
    assert!(refused || said.contains("executor foreign is not used: its cross-encoder is "), "{said}");
}

#[test]
fn ctrl_c_cancels_the_job_and_the_same_command_goes_on() {
    let cluster = Cluster::with_questions(1600);
    let _scheduler = cluster.scheduler();
    let executor = cluster.executor("slow", &[("MINE_PAUSE_UNITS", "1200")]);
    let mut run = cluster.run("out");
    wait_for(60, "the first result", || executor.said().contains(" questions in "));
    run.signal("-INT");
    assert_eq!(run.ended(), Some(130));
    assert!(run.said().contains("finished work is kept: the same command resumes"), "{}", run.said());
    std::thread::sleep(Duration::from_secs(2));
    let done = executor.said().lines().count();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(executor.said().lines().count(), done, "the job is cancelled");
    drop(executor);
    let _fast = cluster.executor("fast", &[]);
    let said = cluster.run("out").ended_well();
    assert!(said.contains("questions are there already"), "{said}");
    cluster.assert_as_alone();
}

#[test]
fn an_executor_ends_after_the_unit_under_way() {
    let cluster = Cluster::with_questions(1600);
    let _scheduler = cluster.scheduler();
    let mut leaving = cluster.executor("leaving", &[("MINE_PAUSE_UNITS", "3000")]);
    let mut run = cluster.run("out");
    cluster.wait_for_units();
    leaving.signal("-TERM");
    assert_eq!(leaving.ended(), Some(0), "{}", leaving.said());
    assert!(leaving.said().contains("stopping after the units under way"), "{}", leaving.said());
    assert!(leaving.said().contains("512 questions in"), "{}", leaving.said());
    let _other = cluster.executor("other", &[]);
    run.ended_well();
    cluster.assert_as_alone();
    assert!(shares(&cluster.path("out")).0.contains_key("leaving"));
}

#[test]
fn what_is_wrong_is_said_before_work_begins() {
    let work = folder();
    let input = work.path().join("q.parquet");
    write_corpus(&input, 20);
    let output = work.path().join("out");
    let fails = |more: &[&str]| mine_fails(&tiny(text(&input), text(&output), more), 2);
    let said = fails(&["--cluster", "df://localhost:1"]);
    assert!(said.contains("--cluster df://localhost:1 needs a --store that all machines reach"), "{said}");
    let said = fails(&["--cluster", "localhost", "--store", "s"]);
    assert!(
        said.contains("not the address of a scheduler") && said.contains("hint: expected df://host:port"),
        "{said}"
    );
    let arguments = tiny(text(&input), text(&output), &["--cluster", "df://localhost:1", "--store", "s"]);
    let said = mine_fails(&arguments, 1);
    assert!(said.contains("does not answer") && said.contains("hint: start one: mine cluster scheduler"), "{said}");
    assert!(!output.exists(), "nothing is written");
    let said = mine_fails(&["cluster", "executor", "--scheduler", "here", "--store", "s"], 2);
    assert!(said.contains("--scheduler here: not host and port"), "{said}");
    let said = mine_fails(&["cluster", "executor", "--store", "s", "--bind", "no.such.host"], 2);
    assert!(said.contains("--bind no.such.host: not an address of this machine"), "{said}");
    let said = mine_fails(&["cluster", "executor", "--store", "gs://bucket"], 2);
    assert!(said.contains("expected a folder, file:///folder or s3://bucket/prefix"), "{said}");
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = mine_fails(&["cluster", "scheduler", "--port", &port], 1);
    assert!(said.contains("cannot listen on") && said.contains("choose another --port"), "{said}");
}
