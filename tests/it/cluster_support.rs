//! Several machines as processes of this one: a scheduler, executors, and runs that use them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::*;

pub const BI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert");
pub const CROSS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny-bert-cross");

/// A process that ends with the test.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, log }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its exit code, once it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        let what = self.said();
        wait_for(120, &format!("the end of a process that said {what}"), || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }

    pub fn ended_well(&mut self) -> String {
        assert_eq!(self.ended(), Some(0), "{}", self.said());
        self.said()
    }
}

/// Waits until something is so.
pub fn wait_for(seconds: u64, what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(seconds), "waited {seconds} s for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A scheduler's port, and what runs and executors share.
pub struct Cluster {
    work: tempfile::TempDir,
    pub port: u16,
    pub store: String,
}

impl Cluster {
    pub fn new() -> Self {
        let work = folder();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let store = work.path().join("store").display().to_string();
        Self { work, port, store }
    }

    /// With questions, and what a run in one process says of them.
    pub fn with_questions(count: usize) -> Self {
        let cluster = Self::new();
        write_corpus(&cluster.path("q.parquet"), count);
        cluster.run_alone();
        cluster
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    pub fn scheduler(&self) -> Process {
        let command = command(&["cluster", "scheduler", "--port", &self.port.to_string(), "--executor-timeout", "3"]);
        let scheduler = Process::start(command, self.path("scheduler.log"));
        wait_for(30, "the scheduler", || scheduler.said().contains("listens on"));
        scheduler
    }

    /// An executor with the tiny models; `variables` are of its environment.
    pub fn executor(&self, name: &str, variables: &[(&str, &str)]) -> Process {
        self.executor_with(name, variables, &["--bi-encoder", BI, "--cross-encoder", CROSS])
    }

    pub fn executor_with(&self, name: &str, variables: &[(&str, &str)], more: &[&str]) -> Process {
        let scheduler = format!("127.0.0.1:{}", self.port);
        let base = ["cluster", "executor", "--scheduler", &scheduler, "--store", &self.store, "--name", name];
        let mut command = command(&[&base[..], &["--threads", "1", "--heartbeat", "1"], more].concat());
        command.envs(variables.iter().copied());
        Process::start(command, self.path(&format!("{name}.log")))
    }

    /// Arguments of a run on this cluster.
    pub fn arguments(&self, output: &str, more: &[&str]) -> Vec<String> {
        let url = format!("df://127.0.0.1:{}", self.port);
        let cluster = ["--cluster", &url, "--store", &self.store];
        let (input, output) = (self.path("q.parquet"), self.path(output));
        let more = [&["--cross-encoder", CROSS, "--min-cosine", "0.9", "--top-k", "4"][..], &cluster, more].concat();
        tiny(text(&input), text(&output), &more).into_iter().map(String::from).collect()
    }

    pub fn run(&self, output: &str) -> Process {
        let arguments = self.arguments(output, &[]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::start(command(&arguments), self.path(&format!("{output}.log")))
    }

    /// The same run in one process.
    pub fn run_alone(&self) {
        let (input, output) = (self.path("q.parquet"), self.path("alone"));
        let more = ["--cross-encoder", CROSS, "--min-cosine", "0.9", "--top-k", "4"];
        mine_ok(&tiny(text(&input), text(&output), &more));
    }

    /// Requires that the run on the cluster wrote the bytes of the one in one process.
    pub fn assert_as_alone(&self) {
        assert_same_results(&self.path("alone"), &self.path("out"));
    }

    /// Waits until so many executors are known to the scheduler.
    pub fn wait_for_executors(&self, count: usize) {
        let notes = Path::new(&self.store).join("executors");
        wait_for(60, "executors", || std::fs::read_dir(&notes).is_ok_and(|found| found.count() >= count));
    }

    /// Waits until a run has handed out units, and an executor has one of them.
    pub fn wait_for_units(&self) {
        let inputs = Path::new(&self.store).join("work");
        wait_for(60, "units", || std::fs::read_dir(&inputs).is_ok_and(|mut found| found.next().is_some()));
        std::thread::sleep(Duration::from_millis(1500));
    }
}

/// Questions with near copies, enough for several units of each kind.
pub fn write_corpus(path: &Path, count: usize) {
    let subjects = ["guitar", "rice", "paris", "money", "chess", "coffee", "garden", "cat", "physics", "tax"];
    let verbs = ["learn", "cook", "buy", "sell", "find", "clean", "repair"];
    let row = |n: usize| {
        let (verb, subject) = (verbs[n % 7], subjects[n / 7 % 10]);
        (n as i64, format!("how do i {verb} {subject} in {} days at place {}", n / 70 % 31, n / 2))
    };
    write_rows(path, &(0..count).map(row).collect::<Vec<_>>());
}

/// Executor → units that it did, over all stages of a run; and of which stages there are any.
pub fn shares(output: &Path) -> (std::collections::BTreeMap<String, u64>, Vec<String>) {
    let manifest: Value = serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap();
    let (mut units, mut stages) = (std::collections::BTreeMap::new(), Vec::new());
    for stage in manifest["stages"].as_array().unwrap() {
        let Some(executors) = stage["executors"].as_object() else { continue };
        stages.push(stage["stage"].as_str().unwrap().to_string());
        for (name, record) in executors {
            assert!(record["seconds"].as_f64().unwrap() > 0.0 && record["rows"].as_u64().unwrap() > 0);
            *units.entry(name.clone()).or_insert(0) += record["units"].as_u64().unwrap();
        }
    }
    (units, stages)
}
