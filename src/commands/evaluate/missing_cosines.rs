//! Cosines of pairs that a finished run did not keep, by its model and in its precision.

use anyhow::Result;

use crate::commands::run_models;
use crate::device::DeviceChoice;
use crate::mining::score_pairs::{self, QuestionPairs};
use crate::models::bi_encoder;
use crate::progress::Progress;
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
    let folder = run_models::bi_encoder(&finished.manifest, progress)?;
    let precision = finished.manifest.options.precision.settle(device);
    let devices = precision.device(device).open(progress)?;
    precision.check(&devices)?;
    let models = bi_encoder::replicas(&folder, &devices, precision, progress)?;
    let questions = QuestionPairs::new(pairs.iter().map(|&(a, b)| (texts.get(a as usize), texts.get(b as usize))));
    score_pairs::cosines(&models, &questions, progress)
}
