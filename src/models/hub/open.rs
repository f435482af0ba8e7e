//! From what a user writes to the model folder that it names.

use std::path::Path;

use anyhow::Result;

use crate::error::{hint, usage_with_hint};
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::hub::cache;
use crate::models::hub::client::Client;
use crate::models::hub::name::HubName;
use crate::models::hub::settings::Hub;
use crate::progress::Progress;

/// The model that `written` names: a folder, a model of the cache, or one of the hub, which is then downloaded.
pub fn open(written: &str, progress: &Progress) -> Result<ModelFolder> {
    match cached(written)? {
        Some(folder) => Ok(folder),
        None => pull(&name(written)?, progress),
    }
}

/// The model that `written` names: a folder, a name on the hub, or `built-in` for `default`.
pub fn open_or(written: &str, default: ModelFolder, progress: &Progress) -> Result<ModelFolder> {
    match written {
        built_in::NAME => Ok(default),
        built_in::CROSS_ENCODER_NAME => Ok(built_in::CROSS_ENCODER),
        name => open(name, progress),
    }
}

/// The same for a path, which need not be UTF-8; without a path it is `default`.
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

/// Downloads what the hub holds under `name` today, except files that the cache already has.
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
        usage_with_hint(
            format!("model folder {written} does not exist or is not a folder"),
            "give a sentence-transformers folder (one with a config.json and a model.safetensors), or a name on the hub \
             as in sentence-transformers/all-MiniLM-L6-v2",
        )
    })
}
