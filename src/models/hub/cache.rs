//! The cache that Python's huggingface_hub uses too, with the same layout:
//! `models--org--name/{refs/<revision>, blobs/<hash>, snapshots/<commit>/<file>}`.
//!
//! A blob gets its name after its hash is checked, and a revision points to a snapshot only when that is complete, so an
//! interrupted download is never used as a model.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hf_hub::Cache;
use serde_json::Value;

use crate::atomic_file::{TEMPORARY_PREFIX, write_bytes};
use crate::error::hint;
use crate::models::checkpoint::calibration;
use crate::models::checkpoint::file_names::{LIMIT_FILES, SENTENCE_PIECE, SIAMESE_HEAD, TOKENIZER_FILES};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::hub::client::{self, Client, RemoteFile};
use crate::models::hub::name::{HubName, is_hash};
use crate::models::hub::settings::Hub;
use crate::progress::Progress;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const MODULES: &str = "modules.json";
/// A tokenizer is read from one of these.
const VOCABULARIES: [&str; 4] = ["tokenizer.json", "vocab.txt", "vocab.json", SENTENCE_PIECE];

/// A model of the cache.
pub struct CachedModel {
    pub folder: ModelFolder,
    /// Names that point to it: branches and tags.
    pub revisions: Vec<String>,
    /// Of its files, in bytes.
    pub size: u64,
    /// Whether everything is there that a model is read from.
    pub complete: bool,
}

/// The model of the cache that `name` means, when it is complete.
pub fn find(cache: &Cache, name: &HubName) -> Result<Option<ModelFolder>> {
    let commit = match name.is_commit() {
        true => name.revision.clone(),
        false => match fs::read_to_string(repository(cache, name).join("refs").join(&name.revision)) {
            Ok(commit) => commit.trim().to_string(),
            Err(_) => return Ok(None),
        },
    };
    let path = cache.repo(name.repo()).pointer_path(&commit);
    Ok((is_hash(&commit, 40) && is_complete(&path)).then(|| ModelFolder::Hub {
        name: name.repository.clone(),
        commit,
        path,
    }))
}

/// Every model of the cache, complete or not, by name.
pub fn list(cache: &Cache) -> Result<Vec<CachedModel>> {
    let mut models = Vec::new();
    for repository in entries(cache.path())? {
        let Some(name) = file_name(&repository).strip_prefix("models--").map(|name| name.replace("--", "/")) else {
            continue;
        };
        // a repository that cannot be read must not hide the others
        let references = references(&repository.join("refs"), "").unwrap_or_default();
        let snapshots = entries(&repository.join("snapshots")).unwrap_or_default();
        for path in snapshots.into_iter().filter(|path| path.is_dir()) {
            let commit = file_name(&path);
            let names = references.iter().filter(|(_, to)| *to == commit);
            models.push(CachedModel {
                revisions: names.map(|(name, _)| name.clone()).collect(),
                size: size(&path).unwrap_or_default(),
                complete: is_complete(&path),
                folder: ModelFolder::Hub { name: name.clone(), commit, path },
            });
        }
    }
    models.sort_by_key(|model| model.folder.name());
    Ok(models)
}

/// SHA-256 of the weight files of a model of the cache, by file name.
pub fn sha256(snapshot: &Path) -> Result<BTreeMap<String, String>> {
    let is_weights = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "safetensors");
    let files = entries(snapshot)?.into_iter().filter(is_weights);
    files
        .map(|path| {
            // a large file's blob has its SHA-256 for a name
            let blob = fs::read_link(&path).map(|blob| file_name(&blob)).unwrap_or_default();
            let hash = if is_hash(&blob, 64) { blob } else { client::sha256(&path)? };
            Ok((file_name(&path), hash))
        })
        .collect()
}

/// The files of a repository that a model is read from. Weights in any other form than safetensors are refused.
pub fn wanted(name: &HubName, files: &[RemoteFile]) -> Result<Vec<RemoteFile>> {
    let has = |wanted: &str| files.iter().any(|file| file.name == wanted);
    if !has("config.json") {
        bail!("{name}: no config.json in the repository, so it is not a model that can be read here");
    }
    let modules = files.iter().filter_map(|file| file.name.strip_suffix("pytorch_model.bin"));
    let modules = modules.filter(|folder| folder.starts_with(|c: char| c.is_ascii_digit()));
    let pickled = modules.map(|folder| format!("{folder}{WEIGHTS}")).find(|weights| !has(weights));
    if let Some(weights) = pickled.or((!has(WEIGHTS) && !has(INDEX)).then(|| WEIGHTS.into())) {
        let script = format!(
            "convert it once in Python: SentenceTransformer({:?}).save_pretrained(DIR), or CrossEncoder(…) for a \
             cross-encoder, then give DIR",
            name.repository
        );
        let pickle = weights.replace(WEIGHTS, "pytorch_model.bin");
        let found = if has(&pickle) { format!("{pickle}, a pickle, which can run code") } else { "others".into() };
        return Err(hint(format!("{name}: no {weights} in the repository, only {found}"), script));
    }
    let is_read = |file: &str| {
        let own = ["config.json", MODULES, "config_sentence_transformers.json", calibration::FILE, WEIGHTS, INDEX];
        // megabytes that are not read if there is a tokenizer.json
        let tokenizer = TOKENIZER_FILES.contains(&file) && (file != SENTENCE_PIECE || !has("tokenizer.json"));
        own.contains(&file) || LIMIT_FILES.contains(&file) || tokenizer
    };
    let is_shard = |file: &str| file.starts_with("model-") && file.ends_with(".safetensors") && !has(WEIGHTS);
    let is_wanted = |file: &str| match file.split_once('/') {
        None => is_read(file) || is_shard(file),
        // modules of sentence-transformers (1_Pooling, 2_Dense) and the head of a siamese classifier
        Some((folder, inner)) => {
            let is_module = folder.starts_with(|c: char| c.is_ascii_digit()) || folder == SIAMESE_HEAD;
            is_module && !folder.contains("..") && (inner == "config.json" || inner == WEIGHTS)
        }
    };
    Ok(files.iter().filter(|file| is_wanted(&file.name) && !file.name.contains('\\')).cloned().collect())
}

/// Downloads the files that the cache lacks, then points the revision to them.
pub fn download(
    hub: &Hub,
    client: &Client,
    name: &HubName,
    commit: &str,
    files: &[RemoteFile],
    progress: &Progress,
) -> Result<()> {
    let repository = repository(&hub.cache, name);
    let create = |path: &Path| fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()));
    let blobs = repository.join("blobs");
    let locks = hub.cache.path().join(".locks").join(file_name(&repository));
    create(&blobs)?;
    create(&locks)?;
    let missing: u64 = files.iter().filter(|file| !blobs.join(&file.hash).exists()).map(|file| file.size).sum();
    if missing > 0 {
        progress.say(&format!("downloading {name} from {} at {}", hub.endpoint, &commit[..12]));
    }
    let task = progress.task("download", "bytes", missing as usize);
    for file in files {
        let blob = blobs.join(&file.hash);
        if !blob.exists() {
            let path = locks.join(format!("{}.lock", file.hash));
            let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            match lock.lock() {
                // some network file systems have no locks: two downloads then cost twice, and harm nothing
                Err(e) if e.kind() == std::io::ErrorKind::Unsupported => {}
                other => other.with_context(|| format!("cannot lock {}", path.display()))?,
            }
            // another process may have brought it while this one waited
            if !blob.exists() {
                let partial = blobs.join(format!("{}.incomplete", file.hash));
                task.resume(partial.metadata().map_or(0, |metadata| metadata.len().min(file.size)) as usize);
                client.fetch(name, commit, file, &partial, &task)?;
                fs::rename(&partial, &blob).with_context(|| format!("cannot write {}", blob.display()))?;
            }
        }
        point(&repository.join("snapshots").join(commit).join(&file.name), &blob)?;
    }
    drop(task);
    if !files.iter().any(|file| file.name == MODULES) {
        // as Python notes that the hub has none
        let absent = no_exist(&repository, commit);
        create(&absent)?;
        let path = absent.join(MODULES);
        File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    if !name.is_commit() {
        let reference = repository.join("refs").join(&name.revision);
        write_bytes(&reference, commit.as_bytes())?;
    }
    Ok(())
}

fn repository(cache: &Cache, name: &HubName) -> PathBuf {
    cache.path().join(name.repo().folder_name())
}

/// The folder in which Python notes the files that the hub does not have at a commit, as empty files of their names.
fn no_exist(repository: &Path, commit: &str) -> PathBuf {
    repository.join(".no_exist").join(commit)
}

/// Whether a snapshot holds configuration, tokenizer and all weights. Python may have fetched only some of them.
fn is_complete(snapshot: &Path) -> bool {
    let has = |file: &str| snapshot.join(file).is_file();
    let json = |file: &str| -> Option<Value> { serde_json::from_slice(&fs::read(snapshot.join(file)).ok()?).ok() };
    let weights = has(WEIGHTS)
        || json(INDEX).is_some_and(|index| {
            let shards = index.get("weight_map").and_then(Value::as_object);
            shards.is_some_and(|map| map.values().all(|file| file.as_str().is_some_and(has)))
        });
    let tokenizer = VOCABULARIES.into_iter().any(has);
    let modules = match json(MODULES) {
        Some(modules) => modules.as_array().into_iter().flatten().all(|module| {
            let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            let (kind, in_folder) = (text("type"), |file: &str| has(&format!("{}/{file}", text("path"))));
            // Normalize has a path and no file
            let configured = !kind.ends_with("Pooling") && !kind.ends_with("Dense") || in_folder("config.json");
            configured && (!kind.ends_with("Dense") || in_folder(WEIGHTS))
        }),
        // Python's AutoModel fetches no modules.json, and without it pooling and limits would be guessed. It may be missing only
        // if Python noted that the hub has none, or if the model needs none
        None => {
            let commit = snapshot.file_name().unwrap_or_default().to_string_lossy();
            let repository = snapshot.ancestors().nth(2).unwrap_or(snapshot);
            let classifies = json("config.json").is_some_and(|config| {
                let names = config.get("architectures").map(Value::to_string);
                names.is_some_and(|names| names.contains("ForSequenceClassification"))
            });
            !has(MODULES) && (classifies || no_exist(repository, &commit).join(MODULES).is_file())
        }
    };
    has("config.json") && weights && tokenizer && modules
}

/// Makes `at` a relative link to the blob, as Python does, or a copy on systems without links.
fn point(at: &Path, blob: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", at.display());
    if at.exists() {
        return Ok(());
    }
    let folder = at.parent().context("a snapshot's file has a folder")?;
    fs::create_dir_all(folder).with_context(failed)?;
    let make = |path: &Path| {
        #[cfg(unix)]
        {
            let snapshots = folder.ancestors().position(|above| above.ends_with("snapshots")).unwrap_or(1);
            let up: PathBuf = std::iter::repeat_n("..", snapshots + 1).collect();
            std::os::unix::fs::symlink(up.join("blobs").join(file_name(blob)), path)
        }
        #[cfg(not(unix))]
        fs::copy(blob, path).map(drop)
    };
    // replaces a link whose blob was deleted, or what another process made meanwhile
    let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).make_in(folder, make).with_context(failed)?;
    made.into_temp_path().persist(at).map_err(|e| e.error).with_context(failed)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a folder holds, in order of names; nothing when there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot read {}", folder.display());
    let read = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(failed)?,
    };
    let mut entries = read.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(failed)?;
    entries.sort();
    Ok(entries)
}

/// Revisions and the commits they point to; names may have slashes.
fn references(folder: &Path, prefix: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    // an unfinished reference has a name that begins with a dot
    for path in entries(folder)?.into_iter().filter(|path| !file_name(path).starts_with('.')) {
        let name = format!("{prefix}{}", file_name(&path));
        if path.is_dir() {
            found.extend(references(&path, &format!("{name}/"))?);
        } else if let Ok(commit) = fs::read_to_string(&path) {
            found.push((name, commit.trim().to_string()));
        }
    }
    Ok(found)
}

fn size(folder: &Path) -> Result<u64> {
    entries(folder)?
        .into_iter()
        .map(|path| if path.is_dir() { size(&path) } else { Ok(path.metadata().map_or(0, |metadata| metadata.len())) })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pickled_layer_is_refused_before_megabytes_are_fetched() {
        let name = HubName::parse("some/model").unwrap();
        let file = |name: &str| RemoteFile { name: name.into(), size: 1, hash: "0".into() };
        let mut files = ["config.json", WEIGHTS, "pytorch_model.bin", "1_Pooling/config.json"].map(file).to_vec();
        assert_eq!(wanted(&name, &files).unwrap().len(), 3);
        files.push(file("2_Dense/pytorch_model.bin"));
        let refused = wanted(&name, &files).unwrap_err().to_string();
        assert!(refused.contains("no 2_Dense/model.safetensors") && refused.contains("a pickle"), "{refused}");
        files.push(file("2_Dense/model.safetensors"));
        assert_eq!(wanted(&name, &files).unwrap().len(), 4);
    }
}
