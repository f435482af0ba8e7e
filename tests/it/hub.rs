//! Models from a hub: a server on the loopback speaks its protocol, well and badly.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::support::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NAME: &str = "somebody/tiny-bert";

/// How the server treats the weights; everything else it serves well.
#[derive(Clone, Copy, PartialEq)]
enum Weights {
    Good,
    /// A little at a time, with pauses longer than the client's patience would be for the whole.
    Slow,
    /// Every answer ends after half of what it promises.
    CutOff,
    /// The same, and the next request starts from the beginning again.
    CutOffAlways,
    /// Half of it, then silence, whatever is asked for.
    Stalled,
    WrongBytes,
}

/// A request line and the token that came with it.
type Seen = (String, Option<String>);

/// A hub with one model on a port of its own. It ends with the test's process.
struct Server {
    endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files(folder: &Path) -> HashMap<String, Vec<u8>> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_str().unwrap().to_string();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

impl Server {
    fn start(weights: Weights) -> Self {
        Self::with(weights, files(&repo("fixtures/models/tiny-bert")))
    }

    fn with(weights: Weights, files: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let (log, files) = (seen.clone(), Arc::new(files));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log) = (files.clone(), log.clone());
                // a client that went away is no failure of the server
                std::thread::spawn(move || answer(stream, weights, &files, &log).ok());
            }
        });
        Self { endpoint, seen }
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }

    /// `mine` with this hub and a cache in `home`.
    fn mine(&self, home: &Path, arguments: &[&str]) -> Output {
        let mut command = command(arguments);
        for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN_PATH"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", home).env("HF_ENDPOINT", &self.endpoint).env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
        command.env("NO_PROXY", "127.0.0.1").output().unwrap()
    }

    fn fails(&self, home: &Path, arguments: &[&str]) -> String {
        let output = self.mine(home, arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{error}");
        assert!(!error.contains("panicked") && !error.contains("internal error"), "{error}");
        error
    }
}

fn answer(
    mut stream: TcpStream,
    weights: Weights,
    files: &HashMap<String, Vec<u8>>,
    log: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut headers = HashMap::new();
    while let Some(Ok(line)) = lines.next().filter(|line| line.as_ref().is_ok_and(|line| !line.is_empty())) {
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        headers.insert(name.to_lowercase(), value.to_string());
    }
    log.lock().unwrap().push((request.clone(), headers.get("authorization").cloned()));
    let path = request.split(' ').nth(1).unwrap_or_default();
    let fail = |stream: &mut TcpStream, status: &str, code: &str| {
        write!(stream, "HTTP/1.1 {status}\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let resolve = format!("/{NAME}/resolve/{COMMIT}/");
    if path.starts_with("/api/models/somebody/private") && !headers.contains_key("authorization") {
        return fail(&mut stream, "401 Unauthorized", "RepoNotFound");
    }
    if path.starts_with(&format!("/api/models/{NAME}/revision/")) {
        if !path.ends_with("/main?blobs=true") && !path.ends_with(&format!("/{COMMIT}?blobs=true")) {
            return fail(&mut stream, "404 Not Found", "RevisionNotFound");
        }
        return send(&mut stream, "200 OK", listing(files).as_bytes(), "");
    }
    // large files come from another address, as on the real hub
    if let Some(file) = path.strip_prefix(&resolve).filter(|file| file.ends_with(".safetensors")) {
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: /storage/{file}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let Some(file) = path.strip_prefix(&resolve).or(path.strip_prefix("/storage/")) else {
        return fail(&mut stream, "404 Not Found", "RepoNotFound");
    };
    let Some(bytes) = files.get(file) else { return fail(&mut stream, "404 Not Found", "EntryNotFound") };
    if !file.ends_with(".safetensors") {
        return send(&mut stream, "200 OK", bytes, "");
    }
    serve_weights(&mut stream, weights, bytes, headers.get("range"))
}

fn serve_weights(
    stream: &mut TcpStream,
    weights: Weights,
    bytes: &[u8],
    range: Option<&String>,
) -> std::io::Result<()> {
    let range = range.filter(|_| !matches!(weights, Weights::CutOffAlways | Weights::Stalled));
    let start: usize = range.map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
    let (status, rest) = if range.is_some() { ("206 Partial Content", &bytes[start..]) } else { ("200 OK", bytes) };
    match weights {
        Weights::Good => send(stream, status, rest, ""),
        Weights::WrongBytes => send(stream, status, &vec![7; rest.len()], ""),
        Weights::Slow => {
            head(stream, status, rest.len(), "")?;
            for piece in rest.chunks(rest.len().div_ceil(5)) {
                stream.write_all(piece)?;
                std::thread::sleep(Duration::from_millis(300));
            }
            Ok(())
        }
        Weights::CutOff | Weights::CutOffAlways | Weights::Stalled => {
            head(stream, status, rest.len(), "")?;
            stream.write_all(&rest[..rest.len().div_ceil(2)])?;
            if weights == Weights::Stalled {
                std::thread::sleep(Duration::from_secs(30));
            }
            Ok(())
        }
    }
}

fn head(stream: &mut TcpStream, status: &str, length: usize, more: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n")
}

fn send(stream: &mut TcpStream, status: &str, body: &[u8], more: &str) -> std::io::Result<()> {
    head(stream, status, body.len(), more)?;
    stream.write_all(body)
}

/// What the hub says of a repository: weights with their SHA-256, the rest with git's hash.
fn listing(files: &HashMap<String, Vec<u8>>) -> String {
    let siblings: Vec<serde_json::Value> = files
        .iter()
        .map(|(name, bytes)| {
            let mut header = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
            header.update(bytes);
            let mut file =
                serde_json::json!({ "rfilename": name, "size": bytes.len(), "blobId": hex(&header.finalize()) });
            if name.ends_with(".safetensors") {
                let sha256 = hex(&Sha256::digest(bytes));
                file["lfs"] = serde_json::json!({ "sha256": sha256, "size": bytes.len(), "pointerSize": 134 });
            }
            file
        })
        .collect();
    serde_json::json!({ "id": NAME, "sha": COMMIT, "siblings": siblings }).to_string()
}

fn snapshot(home: &Path) -> PathBuf {
    home.join("hub/models--somebody--tiny-bert/snapshots").join(COMMIT)
}

#[test]
fn a_model_by_name_is_downloaded_once_and_then_works_offline() {
    let work = folder();
    let (home, input) = (work.path().join("hf"), work.path().join("q.parquet"));
    write_questions(&input, &["how do i cook rice", "how to cook rice", "what is a cat"]);
    let server = Server::start(Weights::Good);
    let (named, local) = (work.path().join("named"), work.path().join("local"));
    let output = server.mine(&home, &tiny(text(&input), text(&named), &["--bi-encoder", NAME]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    mine_ok(&tiny(text(&input), text(&local), &[]));
    assert_eq!(
        std::fs::read(named.join("pairs.parquet")).unwrap(),
        std::fs::read(local.join("pairs.parquet")).unwrap()
    );

    let weights = std::fs::read(repo("fixtures/models/tiny-bert/model.safetensors")).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(named.join("manifest.json")).unwrap()).unwrap();
    let model = &manifest["models"]["bi-encoder"];
    assert_eq!((model["name"].as_str(), model["revision"].as_str()), (Some(NAME), Some(COMMIT)));
    assert_eq!(model["sha256"]["model.safetensors"].as_str(), Some(&*hex(&Sha256::digest(&weights))));

    // Python's layout: links into the blobs, a reference that names the commit
    let repository = home.join("hub/models--somebody--tiny-bert");
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    for file in ["model.safetensors", "1_Pooling/config.json"] {
        let link = std::fs::read_link(snapshot(&home).join(file)).unwrap();
        assert!(link.is_relative() && snapshot(&home).join(file).is_file(), "{}", link.display());
    }
    let left: Vec<_> = std::fs::read_dir(repository.join("blobs")).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.iter().all(|path| path.extension().is_none()), "{left:?}");

    let requests = server.requests().len();
    let offline = Server { endpoint: "http://127.0.0.1:1".into(), seen: Arc::default() };
    let again = work.path().join("again");
    let output = offline.mine(&home, &tiny(text(&input), text(&again), &["--bi-encoder", NAME]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same_results(&named, &again);
    let exact = format!("{NAME}@{COMMIT}");
    let shown = offline.mine(&home, &["models", "show", &exact]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("bi-encoder"), "a commit is found without a reference");
    assert_eq!(server.requests().len(), requests);
}

#[test]
fn slow_and_interrupted_downloads_end_well() {
    for weights in [Weights::Slow, Weights::CutOff] {
        let home = folder();
        let server = Server::start(weights);
        let output = server.mine(home.path(), &["models", "pull", NAME]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = snapshot(home.path()).join("model.safetensors");
        let expected = std::fs::read(repo("fixtures/models/tiny-bert/model.safetensors")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        assert_eq!(
            String::from_utf8(output.stdout).unwrap().trim().trim_end_matches('/'),
            text(&snapshot(home.path()))
        );
    }
}

#[test]
fn a_broken_download_is_never_taken_for_a_model() {
    for (weights, expected) in [
        (Weights::CutOffAlways, "stopped at"),
        (Weights::Stalled, "stopped at"),
        (Weights::WrongBytes, "arrived with hash"),
    ] {
        let home = folder();
        let error = Server::start(weights).fails(home.path(), &["models", "pull", NAME]);
        assert!(error.contains(expected) && error.contains("model.safetensors"), "{error}");
        assert!(!snapshot(home.path()).join("model.safetensors").exists());
        assert!(!home.path().join("hub/models--somebody--tiny-bert/refs/main").exists());
        // what is left of it serves the next attempt
        let output = Server::start(Weights::Good).mine(home.path(), &["models", "pull", NAME]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_the_hub_refuses_is_explained() {
    let home = folder();
    let server = Server::start(Weights::Good);
    let error = server.fails(home.path(), &["models", "pull", "somebody/tiny-brt"]);
    assert!(
        error.contains("somebody/tiny-brt is neither a folder here nor a model") && error.contains("hint: "),
        "{error}"
    );
    let error = server.fails(home.path(), &["models", "pull", "somebody/tiny-bert@v9"]);
    assert!(error.contains("no revision \"v9\"") && error.contains("leave out @v9"), "{error}");
    let error = server.fails(home.path(), &["models", "pull", "somebody/private"]);
    assert!(error.contains("private or gated") && error.contains("HF_TOKEN"), "{error}");

    std::fs::write(home.path().join("token"), "hf_secret\n").unwrap();
    server.fails(home.path(), &["models", "pull", "somebody/private"]);
    let token = server.seen.lock().unwrap().last().unwrap().1.clone();
    assert_eq!(token.as_deref(), Some("Bearer hf_secret"));

    let closed = Server { endpoint: "http://127.0.0.1:1".into(), seen: Arc::default() };
    let error = closed.fails(home.path(), &["models", "pull", NAME]);
    assert!(error.contains("http://127.0.0.1:1 cannot be reached") && error.contains("hint: "), "{error}");
    let error = server.fails(home.path(), &["models", "show", "somebody/tiny-bert"]);
    assert!(error.contains("mine models pull somebody/tiny-bert"), "{error}");
    let output = command(&["--input", text(&repo("fixtures/questions.parquet")), "--bi-encoder", NAME])
        .env("HF_HOME", home.path())
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("HF_HUB_OFFLINE is set"));
}

#[test]
fn a_pickle_is_refused_with_the_way_to_convert_it() {
    let home = folder();
    let mut files = files(&repo("fixtures/models/tiny-bert"));
    let weights = files.remove("model.safetensors").unwrap();
    files.insert("pytorch_model.bin".into(), weights);
    let error = Server::with(Weights::Good, files).fails(home.path(), &["models", "pull", NAME]);
    assert!(error.contains("pytorch_model.bin, a pickle") && error.contains("save_pretrained"), "{error}");
}

#[test]
fn the_cache_is_listed_with_what_is_of_no_use() {
    let home = folder();
    let server = Server::start(Weights::Good);
    let list = |more: &[&str]| {
        let output = server.mine(home.path(), &[&["models", "list"], more].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(list(&[]).starts_with("no models in "));
    assert!(server.mine(home.path(), &["models", "pull", NAME]).status.success());
    let other = home.path().join("hub/models--other--half/snapshots").join(COMMIT);
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("config.json"), "{\"model_type\": \"llama\"}").unwrap();
    // complete, but of no family that is known, and one that no program could read
    for (name, config) in [("llama", "{\"model_type\": \"llama\"}"), ("damaged", "{")] {
        let path = home.path().join(format!("hub/models--other--{name}/snapshots/{COMMIT}"));
        copy_folder(&repo("fixtures/models/tiny-bert"), &path);
        std::fs::write(path.join("config.json"), config).unwrap();
    }
    std::fs::write(home.path().join("hub/models--somebody--tiny-bert/refs/.mine-tmp-1"), COMMIT).unwrap();
    let table = list(&[]);
    let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap().to_string();
    assert!(row(NAME).contains("main") && row(NAME).contains("bert") && row(NAME).ends_with("bi-encoder"), "{table}");
    assert!(row("other/half").contains("incomplete") && !table.contains(".mine-tmp"), "{table}");
    assert!(["other/llama", "other/damaged"].iter().all(|name| row(name).ends_with("not usable here")), "{table}");
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"])).unwrap();
    let of = |name: &str| json.as_array().unwrap().iter().find(|model| model["model"] == name).unwrap();
    assert_eq!(of(NAME)["commit"].as_str(), Some(COMMIT));
    assert_eq!((of("other/half")["complete"].as_bool(), of(NAME)["complete"].as_bool()), (Some(false), Some(true)));
    assert!(of("other/llama")["kind"].is_null());
}

/// Python's AutoModel fetches neither modules.json nor what it names.
#[test]
fn missing_modules_are_believed_only_where_the_hub_has_none() {
    let home = folder();
    let mut files = files(&repo("fixtures/models/tiny-bert"));
    files.extend([("notes.txt".into(), b"no".to_vec()), ("train_state.json".into(), b"{}".to_vec())]);
    let server = Server::with(Weights::Good, files.clone());
    let shows = |home: &Path| server.mine(home, &["models", "show", NAME]).status.success();
    assert!(server.mine(home.path(), &["models", "pull", NAME]).status.success());
    assert!(server.requests().iter().all(|line| !line.contains("notes.txt") && !line.contains("train_state")));
    for file in ["modules.json", "1_Pooling/config.json"] {
        assert!(shows(home.path()));
        std::fs::remove_file(snapshot(home.path()).join(file)).unwrap();
        assert!(!shows(home.path()), "{file} is missing");
        assert!(server.mine(home.path(), &["models", "pull", NAME]).status.success());
    }
    files.remove("modules.json");
    let (plain, without) = (folder(), Server::with(Weights::Good, files));
    assert!(without.mine(plain.path(), &["models", "pull", NAME]).status.success());
    let note = plain.path().join("hub/models--somebody--tiny-bert/.no_exist").join(COMMIT).join("modules.json");
    assert!(shows(plain.path()) && note.is_file());
    assert!(std::fs::remove_file(note).is_ok() && !shows(plain.path()));
}

#[test]
fn a_training_takes_names_and_two_downloads_of_one_model_share_the_cache() {
    let (home, work) = (folder(), folder());
    let server = Server::start(Weights::Slow);
    let train = &|name: &str| {
        let (pairs, output) = (repo("fixtures/pairs.csv"), work.path().join(name));
        let flags = ["--from", NAME, "--pairs", text(&pairs), "--output", text(&output), "--max-steps", "1"];
        let done = server.mine(home.path(), &[&["train", "--kind", "bi"], &flags[..]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    std::thread::scope(|scope| ["a", "b"].map(|name| scope.spawn(move || train(name))).map(|run| run.join().unwrap()));
}
