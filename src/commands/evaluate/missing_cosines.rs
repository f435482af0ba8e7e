//! Cosines of pairs that a finished run did not keep, by the model and in the precision it ran with.

use anyhow::{Result, bail};

use crate::device::DeviceChoice;
use crate::labels::score_pairs::{self, QuestionPairs};
use crate::models::bi_encoder;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::hub;
use crate::progress::Progress;
use crate::run::manifest::ModelRecord;
use crate::run::reader::FinishedRun;
use crate::tables::texts::Texts;

/// The cosine of each of `pairs` of `texts`. Fails when the run's bi-encoder is no longer what it was.
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
    let ran_in = finished.manifest.options.precision;
    let (precision, devices) = (ran_in, device.open(progress)?);
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
        bail!("{name}: not the bi-encoder of the run any more, so pairs that it did not keep cannot be scored");
    }
    Ok(folder)
}
