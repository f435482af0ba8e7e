//! The models of a finished run, opened again.

use anyhow::{Result, bail};

use crate::models::checkpoint::built_in;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::hub;
use crate::progress::Progress;
use crate::run::manifest::{Manifest, ModelRecord};

/// The bi-encoder of the run. Fails if its files have changed since.
pub fn bi_encoder(manifest: &Manifest, progress: &Progress) -> Result<ModelFolder> {
    open(&manifest.models.bi_encoder, built_in::BI_ENCODER, "bi-encoder", progress)
}

/// The cross-encoder of the run, if it had one. Fails if its files have changed since.
pub fn cross_encoder(manifest: &Manifest, progress: &Progress) -> Result<Option<ModelFolder>> {
    let record = manifest.models.cross_encoder.as_ref();
    record.map(|record| open(record, built_in::CROSS_ENCODER, "cross-encoder", progress)).transpose()
}

fn open(record: &ModelRecord, built_in: ModelFolder, kind: &str, progress: &Progress) -> Result<ModelFolder> {
    let ModelRecord { name, hash, revision, .. } = record;
    let written = revision.as_ref().map_or(name.clone(), |revision| format!("{name}@{revision}"));
    let folder = if *name == built_in.name() { built_in } else { hub::open(&written, progress)? };
    if folder.fingerprint()? != *hash {
        bail!("{name}: the {kind} has changed since the run, so pairs that the run did not keep cannot be scored");
    }
    Ok(folder)
}
