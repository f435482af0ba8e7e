//! Models by name: `organisation/model[@revision]` on the Hugging Face hub, kept in the cache that Python shares.
//!
//! What a user writes is a folder when a folder of that name exists; otherwise, when it has the form of a hub name, a
//! model of the hub. A model that is complete in the cache is used as it is, without asking the network: the same
//! command then gives the same model every night. `mine models pull` asks the hub for what the name means today.
//!
//! Environment, as in Python: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` (or the file `token` in `HF_HOME`),
//! `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`.

pub mod cache;
mod client;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use hf_hub::{Cache, Repo, RepoType};

use crate::error::hint;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::hub::client::Client;
use crate::progress::Progress;

/// A model's name on the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `organisation/model`.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubName {
    /// `organisation/model[@revision]`; `None` for what cannot be a hub name: paths with other than one slash, a dot or
    /// slash at an end, or characters that the hub does not know.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (organisation, model) = repository.split_once('/')?;
        let letters = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let part = |part: &str| !part.is_empty() && letters(part) && !part.starts_with('.') && !part.ends_with('.');
        let steps = || revision.split('/');
        let is_revision = !revision.is_empty() && steps().all(|step| letters(step) && !step.is_empty() && step != "..");
        (part(organisation) && part(model) && is_revision)
            .then(|| Self { repository: repository.into(), revision: revision.into() })
    }

    /// Whether the revision is a full commit hash, which never changes its meaning.
    pub fn is_commit(&self) -> bool {
        is_hash(&self.revision, 40)
    }

    /// The repository at this revision, as hf-hub knows it.
    pub fn repo(&self) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, self.revision.clone())
    }
}

impl std::fmt::Display for HubName {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.repository),
            revision => write!(f, "{}@{revision}", self.repository),
        }
    }
}

/// Whether `text` is `digits` lower-case hexadecimal digits.
pub(crate) fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// Where models are fetched from and kept.
pub struct Hub {
    /// The folder that holds `models--organisation--model` folders.
    pub cache: Cache,
    pub endpoint: String,
    pub token: Option<String>,
    /// Whether only the cache may be used.
    pub offline: bool,
    /// How long a server may be silent.
    pub patience: Duration,
}

impl Hub {
    /// The hub that the environment describes.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        // a shell replaces the tilde, an environment file does not; Python does
        let path = |written: String| match (written.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(user)) => user.join(rest),
            _ => PathBuf::from(written),
        };
        let home = match (set("HF_HOME"), set("XDG_CACHE_HOME")) {
            (Some(home), _) => path(home),
            (None, Some(cache)) => Path::new(&cache).join("huggingface"),
            (None, None) => match std::env::home_dir() {
                Some(user) => user.join(".cache/huggingface"),
                None => {
                    return Err(hint("this user has no home folder for the hub's cache", "set HF_HOME to a folder"));
                }
            },
        };
        let cache = set("HF_HUB_CACHE").map_or(home.join("hub"), path);
        let token_file = set("HF_TOKEN_PATH").map_or(home.join("token"), path);
        let token = set("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let is_on = |name: &str| set(name).is_some_and(|v| matches!(&*v.to_uppercase(), "1" | "ON" | "YES" | "TRUE"));
        let seconds = set("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse().ok()).filter(|&s| s > 0);
        Ok(Self {
            cache: Cache::new(std::path::absolute(cache)?),
            endpoint: set("HF_ENDPOINT").unwrap_or("https://huggingface.co".into()).trim_end_matches('/').into(),
            token: token.map(|token| token.trim().to_string()).filter(|token| !token.is_empty()),
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            patience: Duration::from_secs(seconds.unwrap_or(10)),
        })
    }
}

/// The model that `written` names: a folder, a model of the cache, or one of the hub, which is then downloaded.
pub fn open(written: &str, progress: &Progress) -> Result<ModelFolder> {
    match cached(written)? {
        Some(folder) => Ok(folder),
        None => pull(&name(written)?, progress),
    }
}

/// The model that `written` names: a folder, a name on the hub, or `built-in`, which stands for `default`.
pub fn open_or(written: &str, default: ModelFolder, progress: &Progress) -> Result<ModelFolder> {
    match written {
        built_in::NAME => Ok(default),
        built_in::CROSS_ENCODER_NAME => Ok(built_in::CROSS_ENCODER),
        name => open(name, progress),
    }
}

/// The same of a path, which need not be text; without one it is `default`.
pub fn open_path_or(written: Option<&Path>, default: ModelFolder, progress: &Progress) -> Result<ModelFolder> {
    match written {
        Some(path) if path.is_dir() => ModelFolder::open(path),
        Some(name) => open_or(&name.to_string_lossy(), default, progress),
        None => Ok(default),
    }
}

/// The model that `written` names, without the network: a folder or a complete model of the cache.
pub fn cached(written: &str) -> Result<Option<ModelFolder>> {
    let path = Path::new(written);
    if path.is_dir() {
        return ModelFolder::open(path).map(Some);
    }
    cache::find(&Hub::from_env()?.cache, &name(written)?)
}

/// Fetches what the hub holds under `name` today; what the cache already has is not fetched again.
pub fn pull(name: &HubName, progress: &Progress) -> Result<ModelFolder> {
    let hub = Hub::from_env()?;
    if hub.offline {
        return Err(hint(
            format!("{name} is not complete in the cache {}, and HF_HUB_OFFLINE is set", hub.cache.path().display()),
            "unset HF_HUB_OFFLINE, or copy the model here and give its folder",
        ));
    }
    let client = Client::new(&hub);
    let listing = client.listing(name)?;
    let files = cache::wanted(name, &listing.files)?;
    cache::download(&hub, &client, name, &listing.commit, &files, progress)?;
    match cache::find(&hub.cache, &HubName { revision: listing.commit, ..name.clone() })? {
        Some(folder) => Ok(folder),
        None => {
            Err(anyhow::anyhow!("{name}: the hub's copy is not a complete model (config.json, tokenizer, weights)"))
        }
    }
}

/// The hub name in `written`, when it can be one.
pub fn name(written: &str) -> Result<HubName> {
    HubName::parse(written).ok_or_else(|| {
        hint(
            format!("model folder {written} does not exist or is not a folder"),
            "give a sentence-transformers folder (one with a config.json and a model.safetensors), or a name on the hub \
             as in sentence-transformers/all-MiniLM-L6-v2",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_names_are_told_from_paths() {
        let parse = |text: &str| HubName::parse(text).map(|name| (name.repository, name.revision));
        let expected = |name: &str, revision: &str| Some((name.to_string(), revision.to_string()));
        assert_eq!(parse("org/all-MiniLM-L6-v2"), expected("org/all-MiniLM-L6-v2", "main"));
        assert_eq!(parse("org/m@refs/pr/3"), expected("org/m", "refs/pr/3"));
        for path in ["model", "./org/m", "/org/m", "a/b/c", "org/m/", "../m", "org/..", "org/m@", "org/m@../x", "o g/m"]
        {
            assert_eq!(parse(path), None, "{path}");
        }
        assert_eq!(HubName::parse("org/m@v1").unwrap().to_string(), "org/m@v1");
        assert_eq!(HubName::parse("org/m").unwrap().to_string(), "org/m");
    }
}
