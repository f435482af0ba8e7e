//! The store on object storage: a real S3 server, moto from PyPI, that the test starts. `MINE_MOTO_SERVER` names its program.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cluster_support::*;
use crate::support::*;

/// A server with an empty bucket, and the variables that lead to it.
struct S3 {
    _server: Process,
    variables: Vec<(&'static str, String)>,
}

impl S3 {
    /// `None`, and a line that says so, if there is no moto here.
    fn start(work: &Path) -> Option<Self> {
        let program = std::env::var("MINE_MOTO_SERVER").unwrap_or_else(|_| "moto_server".into());
        if !Command::new(&program).arg("--help").output().is_ok_and(|output| output.status.success()) {
            skipped(
                "there is no moto_server (pip install 'moto[s3,server]'; MINE_MOTO_SERVER names it): S3 is not tried",
            );
            return None;
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = Process::start(command, work.join("moto.log"));
        wait_for(60, "the S3 server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let endpoint = format!("http://127.0.0.1:{port}");
        // a bucket is made by a PUT of its name; moto looks at no signature
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "PUT /corpus HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let variables = vec![
            ("AWS_ACCESS_KEY_ID", "key".to_string()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_string()),
            ("AWS_REGION", "us-east-1".to_string()),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ALLOW_HTTP", "true".to_string()),
        ];
        Some(Self { _server: server, variables })
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

fn run(cluster: &Cluster, s3: &S3, output: &str) -> String {
    let arguments = cluster.arguments(output, &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = command(&arguments);
    command.envs(s3.variables());
    Process::start(command, cluster.path(&format!("{output}.log"))).ended_well()
}

#[test]
fn object_storage_serves_a_cluster_and_the_next_machine() {
    let mut cluster = Cluster::new();
    let Some(s3) = S3::start(&cluster.path("")) else { return };
    cluster.store = "s3://corpus/some/prefix".into();
    write_corpus(&cluster.path("q.parquet"), 2100);
    cluster.run_alone();
    let _scheduler = cluster.scheduler();
    // each unit takes a while, so that neither does all
    let variables = [s3.variables(), vec![("MINE_PAUSE_UNITS", "300")]].concat();
    let _both = [cluster.executor("one", &variables), cluster.executor("two", &variables)];
    std::thread::sleep(Duration::from_secs(3));
    run(&cluster, &s3, "out");
    cluster.assert_as_alone();
    let (units, stages) = shares(&cluster.path("out"));
    assert_eq!((units.len(), stages.len()), (2, 3), "{units:?}");

    // the next night runs on another machine: nothing of the output is there
    std::fs::remove_dir_all(cluster.path("out")).unwrap();
    write_corpus(&cluster.path("q.parquet"), 2140);
    cluster.run_alone();
    let said = run(&cluster, &s3, "out");
    assert!(said.contains("version 1 was written by another machine: it is fetched"), "{said}");
    assert!(said.contains("version    2: 40 questions new"), "{said}");
    cluster.assert_as_alone();
}

#[test]
fn of_two_runs_at_the_same_time_the_second_to_end_fails_and_goes_on() {
    let mut cluster = Cluster::new();
    let Some(s3) = S3::start(&cluster.path("")) else { return };
    cluster.store = "s3://corpus/two".into();
    write_corpus(&cluster.path("q.parquet"), 400);
    let output = cluster.path("out");
    std::fs::create_dir(&output).unwrap();
    let probe = Command::new("unshare").args(["-rm", "sh", "-c", "mount -t tmpfs none \"$0\"", text(&output)]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skipped("this machine lets no test mount a folder that another process does not see");
    }
    let _scheduler = cluster.scheduler();
    let slow = [s3.variables(), vec![("MINE_PAUSE_UNITS", "4000")]].concat();
    let _executor = cluster.executor("slow", &slow);
    let arguments = cluster.arguments("out", &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut first = command(&arguments);
    first.envs(s3.variables());
    let mut first = Process::start(first, cluster.path("first.log"));
    std::thread::sleep(Duration::from_secs(3));

    // the same command on a machine that has nothing of the output, without the cluster
    let alone: Vec<&str> =
        arguments.iter().copied().filter(|word| *word != "--cluster" && !word.starts_with("df://")).collect();
    let script = "mount -t tmpfs none \"$0\" && exec \"$@\"";
    let mut second = Command::new("unshare");
    second.args(["-rm", "sh", "-c", script, text(&output), env!("CARGO_BIN_EXE_mine")]).args(&alone);
    second.envs(s3.variables());
    Process::start(second, cluster.path("second.log")).ended_well();

    assert_eq!(first.ended(), Some(4), "{}", first.said());
    assert!(
        first.said().contains("another run wrote a version of this output to s3://corpus/two/"),
        "{}",
        first.said()
    );
    let said = run(&cluster, &s3, "out");
    assert!(said.contains("version 1 was written by another machine: it is fetched"), "{said}");
    cluster.run_alone();
    cluster.assert_as_alone();
}
