//! Cosines of pairs that a finished run did not keep, by its model and in its precision.

use anyhow::{Result, bail};

use crate::device::DeviceChoice;
use crate::mining::score_pairs::{self, QuestionPairs};
use crate::models::bi_encoder;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::hub;
use crate::progress::Progress;
use crate::run::manifest::ModelRecord;
use crate::run::reader::FinishedRun;
use crate::tables::texts::Texts;

/// The cosine of each of `pairs` of `texts`. Fails if the run's bi-encoder has changed since the run.
pub fn cosines(
    finished: &FinishedRun,
    texts: &Texts,
    pairs: &[(u32, u32)],
    device: DeviceChoice,
    progress: &Progress,
) -> Result<Vec<f64>> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let folder = bi_encoder(finished, progress)?;
    let precision = finished.manifest.options.precision;
    let devices = device.open(progress)?;
    precision.check(&devices)?;
    let models = bi_encoder::replicas(&folder, &devices, precision)?;
    let questions = QuestionPairs::new(pairs.iter().map(|&(a, b)| (texts.get(a as usize), texts.get(b as usize))));
    score_pairs::cosines(&models, &questions, progress)
}

fn bi_encoder(finished: &FinishedRun, progress: &Progress) -> Result<ModelFolder> {
    let ModelRecord { name, hash, revision, .. } = &finished.manifest.models.bi_encoder;
    let built_in = built_in::BI_ENCODER;
    let written = revision.as_ref().map_or(name.clone(), |revision| format!("{name}@{revision}"));
    let folder = if *name == built_in.name() { built_in } else { hub::open(&written, progress)? };
    if folder.fingerprint()? != *hash {
        bail!("{name}: the bi-encoder has changed since the run, so pairs that the run did not keep cannot be scored");
    }
    Ok(folder)
}
