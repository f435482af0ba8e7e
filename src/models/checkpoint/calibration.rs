//! `dupmine.json`: thresholds and calibration that were measured on a model. Other tools ignore the file.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::atomic_file::write_json;
use crate::calibration::Calibrator;
use crate::calibration::decision::Decision;
use crate::calibration::gain::Gain;
use crate::calibration::profile::Profile;
use crate::error::hint;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::folder_writer::FolderWriter;

/// File name inside a model folder.
pub const FILE: &str = "dupmine.json";

/// Contents of `dupmine.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Fingerprint of the model that was measured: figures of another model mean nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Of a bi-encoder: cosines that matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine: Option<CosineCalibration>,
    /// Of a cross-encoder: the probability from which a pair is a duplicate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability_threshold: Option<f32>,
    /// Of a cross-encoder: its log-odds to probabilities; without one the plain sigmoid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibrator: Option<Calibrator>,
    /// Of a cross-encoder: how it decides together with the bi-encoder that it was measured with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub together: Option<ScoreFusion>,
    /// What the figures were measured on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_on: Option<String>,
}

/// A decision by the scores of two models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreFusion {
    /// Fingerprint of the bi-encoder: another one's cosines mean something else.
    pub bi_encoder: String,
    pub decision: Decision,
    /// What the cross-encoder added to the cosine, on the pairs that were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gain: Option<Gain>,
    /// What the two models said of a corpus like the labelled pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

impl Calibration {
    /// How a cross-encoder with this calibration decides together with the bi-encoder of this fingerprint, if the two were
    /// measured together.
    pub fn beside(&self, bi_encoder: &str) -> Option<&Decision> {
        self.together.as_ref().filter(|together| together.bi_encoder == bi_encoder).map(|together| &together.decision)
    }

    /// The same, or else how it decides alone. `None` if no threshold was measured.
    pub fn decision(&self, bi_encoder: &str) -> Option<Decision> {
        let alone = || {
            let calibrator = self.calibrator.clone().unwrap_or_default();
            Some(Decision {
                cosine_weight: 0.0,
                calibrator,
                threshold: self.probability_threshold?,
                rerank_floor: None,
                rerank_ceiling: None,
            })
        };
        self.beside(bi_encoder).cloned().or_else(alone)
    }
}

/// Cosines measured on labelled pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineCalibration {
    /// Pairs at or above it are duplicates, when the cosine alone decides.
    pub threshold: f32,
    /// Pairs below it are not worth a cross-encoder call.
    pub floor: f32,
}

/// Reads the folder's calibration; empty when it has none. Refuses one that was measured on another model.
pub fn read(folder: &ModelFolder) -> Result<Calibration> {
    let calibration: Calibration = folder.json(FILE)?.unwrap_or_default();
    let at = || folder.path(FILE).display().to_string();
    if let Some(calibrator) = &calibration.calibrator {
        calibrator.check().map_err(|e| anyhow!("{}: calibrator: {e}", at()))?;
    }
    if let Some(together) = &calibration.together {
        together.decision.check().map_err(|e| anyhow!("{}: together: {e}", at()))?;
    }
    if let Some(measured) = &calibration.model {
        let found = folder.fingerprint().with_context(at)?;
        if *measured != found {
            return Err(hint(
                format!("{}: it was measured on model {measured}, and this is model {found}", at()),
                "measure this model with mine calibrate, or remove the file; files that nobody changed are damaged",
            ));
        }
    }
    Ok(calibration)
}

/// Reads a calibration file at any path; `None` if it is missing or cannot be read.
pub fn peek(path: &Path) -> Option<Calibration> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes a calibration, complete or not at all.
pub fn write(path: &Path, calibration: &Calibration) -> Result<()> {
    write_json(path, calibration)
}

/// Copies the calibration of `source`, if it has one, to a model that was just made from it. The model's numbers are the
/// same, or nearly so after compression, but its fingerprint is new and replaces the old one in the copy. A decision with a
/// bi-encoder keeps the old bi-encoder's fingerprint: if both models were made again, measure the pair again.
/// `since` says what was done to the weights after the measurement.
pub fn carry_over(source: &ModelFolder, writer: &FolderWriter, since: Option<&str>) -> Result<()> {
    if !source.has(FILE) {
        return Ok(());
    }
    let mut measured = read(source)?;
    measured.model = measured.model.map(|_| writer.fingerprint()).transpose()?;
    if let (Some(on), Some(since)) = (&mut measured.measured_on, since) {
        on.push_str("; ");
        on.push_str(since);
    }
    writer.write(FILE, format!("{}\n", serde_json::to_string_pretty(&measured)?).as_bytes())
}
