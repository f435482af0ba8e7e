//! Files on object storage: `s3://bucket/prefix`. The only user of `object_store`.
//!
//! Endpoint and credentials come from the variables that other S3 programs read: `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, or the machine's role.

use std::path::Path as LocalPath;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, Error, ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use tokio::runtime::Runtime;

use crate::error::usage_with_hint;
use crate::store::files::Files;

/// Objects that are removed at the same time.
const REMOVED_AT_ONCE: usize = 16;

/// A larger object is sent in parts, each in a request of its own.
const PART_BYTES: usize = 64 << 20;
const REQUEST_TIMEOUT: &str = "300 seconds";

/// The files below an address.
pub fn open(url: &str) -> Result<Arc<dyn Files>> {
    let Some((bucket, prefix)) = url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return Err(usage_with_hint(
            format!("--store {url}: not an address of a store"),
            "expected a folder, file:///folder or s3://bucket/prefix",
        ));
    };
    let failed = || format!("--store {url}");
    let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let bucket = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT).build();
    let bucket = bucket.with_context(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start the threads of the store")?;
    Ok(Arc::new(Objects { url: url.trim_end_matches('/').into(), prefix: Path::from(prefix), bucket, runtime }))
}

#[derive(Debug)]
struct Objects {
    url: String,
    prefix: Path,
    bucket: AmazonS3,
    runtime: Runtime,
}

impl Objects {
    fn path(&self, path: &str) -> Path {
        path.split('/').filter(|name| !name.is_empty()).fold(self.prefix.clone(), |path, name| path.join(name))
    }

    /// The bytes of an object and its version; `None` if it is not there.
    fn get(&self, path: &str) -> Result<Option<(Vec<u8>, UpdateVersion)>> {
        let found = self.runtime.block_on(async {
            let found = self.bucket.get(&self.path(path)).await?;
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            Ok::<_, Error>((found.bytes().await?.to_vec(), version))
        });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.place(path))),
        }
    }
}

impl Files for Objects {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get(path)?.map(|(bytes, _)| bytes))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let to = self.path(path);
        let written = self.runtime.block_on(async {
            if bytes.len() <= PART_BYTES {
                return self.bucket.put(&to, bytes.to_vec().into()).await.map(drop);
            }
            let mut upload = self.bucket.put_multipart(&to).await?;
            for part in bytes.chunks(PART_BYTES) {
                upload.put_part(part.to_vec().into()).await?;
            }
            upload.complete().await.map(drop)
        });
        written.with_context(|| format!("cannot write {}", self.place(path)))
    }

    fn replace(&self, path: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<bool> {
        let mode = match (self.get(path)?, expected) {
            (None, None) => PutMode::Create,
            (Some((found, version)), Some(expected)) if found == expected => PutMode::Update(version),
            _ => return Ok(false),
        };
        let to = self.path(path);
        let put = self.bucket.put_opts(&to, bytes.to_vec().into(), mode.into());
        match self.runtime.block_on(put) {
            Ok(_) => Ok(true),
            // a request is repeated if its answer is lost: the first one may have written these bytes
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {
                Ok(self.read(path)?.as_deref() == Some(bytes))
            }
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", self.place(path))),
        }
    }

    fn remove(&self, path: &str) -> Result<()> {
        match self.runtime.block_on(self.bucket.delete(&self.path(path))) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", self.place(path))),
        }
    }

    fn remove_folder(&self, folder: &str) -> Result<()> {
        let folder_path = self.path(folder);
        let removed = self.runtime.block_on(async {
            let all = self.bucket.list(Some(&folder_path)).map_ok(|object| object.location);
            let all: Vec<Path> = all.try_collect().await?;
            let removed = futures::stream::iter(&all).map(|path| self.bucket.delete(path));
            removed.buffer_unordered(REMOVED_AT_ONCE).try_collect::<Vec<()>>().await
        });
        match removed {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", self.place(folder))),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.path(folder);
        let found = self.runtime.block_on(self.bucket.list_with_delimiter(Some(&path)));
        let found = found.with_context(|| format!("cannot list {}", self.place(folder)))?;
        let objects = found.objects.iter().filter_map(|object| object.location.filename());
        let folders = found.common_prefixes.iter().filter_map(Path::filename);
        let mut names: Vec<String> = objects.chain(folders).map(String::from).collect();
        names.sort();
        Ok(names)
    }

    fn place(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    fn folder(&self) -> Option<&LocalPath> {
        None
    }
}
