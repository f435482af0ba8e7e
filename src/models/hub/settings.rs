//! Which hub is used, and where its files are kept, by the environment variables that Python reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use hf_hub::Cache;

use crate::error::hint;

/// The server that models come from, and the cache that keeps them.
pub struct Hub {
    /// The folder that holds `models--organisation--model` folders.
    pub cache: Cache,
    pub endpoint: String,
    pub token: Option<String>,
    /// Whether only the cache may be used.
    pub offline: bool,
    /// How long to wait for a silent server.
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
