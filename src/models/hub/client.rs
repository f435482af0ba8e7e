//! The hub's protocol: what a repository holds, and its files, checked.
//!
//! hf-hub 0.5 knows the cache and the addresses. Its own transfers have no time limit, check no hash and name a file before
//! it is complete, so the transfers are here.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::error::hint;
use crate::models::hub::name::{HubName, is_hash};
use crate::models::hub::settings::Hub;
use crate::progress::Task;

/// Attempts in a row without new bytes before a download fails.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// Speaks to one hub.
pub struct Client<'a> {
    hub: &'a Hub,
    agent: Agent,
}

/// What a repository holds at a revision.
pub struct Listing {
    /// 40 hexadecimal digits.
    pub commit: String,
    pub files: Vec<RemoteFile>,
}

/// One file of a repository.
#[derive(Debug, Clone)]
pub struct RemoteFile {
    /// Path inside the repository.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of a large file, git's SHA-1 of a small one, in hexadecimal: also the file's name in the cache.
    pub hash: String,
}

#[derive(Deserialize)]
struct RawListing {
    sha: String,
    #[serde(default)]
    siblings: Vec<RawFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFile {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<RawLarge>,
}

#[derive(Deserialize)]
struct RawLarge {
    sha256: String,
    size: u64,
}

/// Why a transfer ended early.
enum Failure {
    /// Another attempt may do better.
    Passing(anyhow::Error),
    Final(anyhow::Error),
}

impl<'a> Client<'a> {
    pub fn new(hub: &'a Hub) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("dupmine/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(hub.patience))
            .timeout_recv_response(Some(hub.patience))
            .timeout_per_read(Some(hub.patience))
            .build();
        Self { hub, agent: agent.into() }
    }

    /// Commit and files of `name`, with their hashes.
    pub fn listing(&self, name: &HubName) -> Result<Listing> {
        let revision = name.revision.replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}?blobs=true", self.hub.endpoint, name.repository);
        let mut response = self.get(&url, 0).map_err(|e| self.unreachable(name, &e))?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(name, &response));
        }
        let unreadable = || format!("{url}: the answer is not the hub's");
        let raw: RawListing = response.body_mut().read_json().with_context(unreadable)?;
        ensure!(is_hash(&raw.sha, 40), "{url}: commit {:?} is not a hash", raw.sha);
        let hash = |file: RawFile| {
            let (size, hash) = match file.lfs {
                Some(large) => (Some(large.size), Some(large.sha256).filter(|hash| is_hash(hash, 64))),
                None => (file.size, file.blob_id.filter(|hash| is_hash(hash, 40))),
            };
            Some(RemoteFile { name: file.rfilename, size: size?, hash: hash? })
        };
        Ok(Listing { commit: raw.sha, files: raw.siblings.into_iter().filter_map(hash).collect() })
    }

    /// Downloads `file` to `partial`, continues a partial download, and checks size and hash. Progress counts bytes.
    pub fn fetch(&self, name: &HubName, commit: &str, file: &RemoteFile, partial: &Path, task: &Task) -> Result<()> {
        let url = format!("{}/{}/resolve/{commit}/{}", self.hub.endpoint, name.repository, encoded(&file.name));
        let length = || partial.metadata().map_or(0, |metadata| metadata.len());
        let (mut idle, mut most) = (0, length());
        let mut continued = most > 0;
        loop {
            if length() > file.size {
                remove(partial)?;
            }
            if let Err(failure) = self.append(name, &url, file, partial, task) {
                let error = match failure {
                    Failure::Final(error) => return Err(error),
                    Failure::Passing(error) => error,
                };
                idle = if length() > most { 0 } else { idle + 1 };
                most = most.max(length());
                if idle == ATTEMPTS {
                    let stopped = format!("{}: stopped at {} of {} bytes ({error:#})", file.name, most, file.size);
                    return Err(hint(
                        format!("{name}: {stopped}"),
                        "the same command continues where this one stopped; HF_HUB_DOWNLOAD_TIMEOUT=60 waits longer",
                    ));
                }
                std::thread::sleep(PAUSE * idle);
                continue;
            }
            let found = hash_of(partial, file)?;
            if found == file.hash {
                return Ok(());
            }
            remove(partial)?;
            if !std::mem::take(&mut continued) {
                return Err(hint(
                    format!("{name}: {} arrived with hash {found}, the hub says {}", file.name, file.hash),
                    "nothing was kept; try again, and if it stays so, look at HF_ENDPOINT or the proxy between",
                ));
            }
        }
    }

    /// One request for what is missing of `file`.
    fn append(&self, name: &HubName, url: &str, file: &RemoteFile, partial: &Path, task: &Task) -> Result<(), Failure> {
        let failed = |e| Failure::Final(anyhow::Error::new(e).context(format!("cannot write {}", partial.display())));
        let mut to = OpenOptions::new().create(true).append(true).open(partial).map_err(failed)?;
        let mut have = to.metadata().map_err(failed)?.len();
        if have == file.size {
            return Ok(());
        }
        let mut response = self.get(url, have).map_err(|e| Failure::Passing(self.unreachable(name, &e)))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // the server ignored the range and sends the whole file
            StatusCode::OK => {
                to.set_len(0).map_err(failed)?;
                have = 0;
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Failure::Passing(anyhow::anyhow!("{url} answered {status}")));
            }
            _ => return Err(Failure::Final(self.refused(name, &response).context(file.name.clone()))),
        }
        let mut from = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        while have < file.size {
            let read = from.read(&mut buffer).map_err(|e| Failure::Passing(e.into()))?;
            if read == 0 {
                return Err(Failure::Passing(anyhow::anyhow!("the server closed the connection")));
            }
            to.write_all(&buffer[..read]).map_err(failed)?;
            have += read as u64;
            task.advance(read).map_err(Failure::Final)?;
        }
        to.sync_all().map_err(failed)
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, ureq::Error> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.hub.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call()
    }

    fn unreachable(&self, name: &HubName, error: &ureq::Error) -> anyhow::Error {
        hint(
            format!("{name}: no folder of this name here, and {} cannot be reached: {error}", self.hub.endpoint),
            "check the network, HF_ENDPOINT and HTTPS_PROXY, or copy the model from another machine and give its folder",
        )
    }

    /// What a 4xx or 5xx means. Without a token the hub answers 401, not 404, for what does not exist.
    fn refused(&self, name: &HubName, response: &Response<Body>) -> anyhow::Error {
        let status = response.status();
        let code = response.headers().get("X-Error-Code").and_then(|code| code.to_str().ok()).unwrap_or_default();
        let endpoint = &self.hub.endpoint;
        let repository = &name.repository;
        match (status.as_u16(), code, &self.hub.token) {
            (404, "RevisionNotFound", _) => hint(
                format!("{repository} has no revision {:?} at {endpoint}", name.revision),
                format!("leave out @{} for the newest, or look at its branches and tags", name.revision),
            ),
            (404, "EntryNotFound", _) => anyhow::anyhow!("{name}: {endpoint} lists a file that it does not have"),
            (404, ..) => hint(
                format!("{repository} is neither a folder here nor a model at {endpoint} (404)"),
                "check the spelling; a folder is given as a path that exists",
            ),
            (401 | 403, _, None) => hint(
                format!("{endpoint} does not show {repository} ({status}): it does not exist, or is private or gated"),
                "check the spelling; for a private or gated model accept its terms and set HF_TOKEN",
            ),
            (401 | 403, _, Some(_)) => hint(
                format!("{endpoint} does not show {repository} to this token ({status})"),
                "check the spelling, that HF_TOKEN is valid, and that its owner accepted the model's terms",
            ),
            _ => anyhow::anyhow!("{name}: {endpoint} answered {status}"),
        }
    }
}

/// A path as part of a URL: characters with a meaning there, such as `#` and `?`, and non-ASCII bytes become `%XX`.
fn encoded(path: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    path.bytes().map(one).collect()
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// The hash of a downloaded file, of the kind that `file` has.
fn hash_of(path: &Path, file: &RemoteFile) -> Result<String> {
    if file.hash.len() == 64 {
        return sha256(path);
    }
    // git hashes a header with the content
    hash_with(Sha1::new_with_prefix(format!("blob {}\0", file.size)), path)
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    hash_with(Sha256::new(), path)
}

fn hash_with(mut hasher: impl Digest + Write, path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut from = File::open(path).with_context(failed)?;
    std::io::copy(&mut from, &mut hasher).with_context(failed)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn names_of_files_become_parts_of_an_address() {
        assert_eq!(encoded("1_Pooling/config.json"), "1_Pooling/config.json");
        assert_eq!(encoded("a b#c?d%é"), "a%20b%23c%3Fd%25%C3%A9");
    }
}
