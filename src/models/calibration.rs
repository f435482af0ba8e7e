//! `dupmine.json`: what was measured of a model and belongs to it. Other tools ignore the file.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::models::folder::ModelFolder;

/// File name inside a model folder.
pub const FILE: &str = "dupmine.json";

/// Contents of `dupmine.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Of a bi-encoder: cosines that matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine: Option<CosineCalibration>,
    /// Of a cross-encoder: the probability from which a pair is a duplicate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability_threshold: Option<f32>,
    /// What the figures were measured on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_on: Option<String>,
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

/// Reads the folder's calibration; empty when it has none.
pub fn read(folder: &ModelFolder) -> Result<Calibration> {
    Ok(folder.json(FILE)?.unwrap_or_default())
}
