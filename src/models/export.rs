//! `mine models export`: any model that can be read, as a folder that Python opens.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use serde_json::Value;

use crate::models::bi_encoder::BiEncoder;
use crate::models::calibration;
use crate::models::cross_encoder::CrossEncoder;
use crate::models::folder::ModelFolder;
use crate::models::folder_writer::FolderWriter;
use crate::models::siamese::SiameseClassifier;

/// What a folder's model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    BiEncoder,
    CrossEncoder,
    Siamese,
}

impl Kind {
    /// By what the folder says of itself: the kind that sentence-transformers 5.4 and later write, a siamese head, or
    /// the architecture in `config.json`.
    pub fn of(folder: &ModelFolder) -> Result<Self> {
        let named: Value = folder.json("config_sentence_transformers.json")?.unwrap_or_default();
        let config: Value = folder.require_json("config.json")?;
        let classifies =
            || config.get("architectures").is_some_and(|names| names.to_string().contains("ForSequenceClassification"));
        Ok(match named.get("model_type").and_then(Value::as_str) {
            _ if SiameseClassifier::is_in(folder) => Self::Siamese,
            Some("CrossEncoder") => Self::CrossEncoder,
            _ if !folder.has("modules.json") && classifies() => Self::CrossEncoder,
            _ => Self::BiEncoder,
        })
    }
}

/// Writes the model of `folder` into the new folder `output`: f32 weights whatever they were stored as, the layout that
/// every version of sentence-transformers reads, its calibration beside it.
pub fn export(folder: &ModelFolder, output: &Path, device: &Device) -> Result<()> {
    let writer = FolderWriter::new(output)?;
    match Kind::of(folder)? {
        Kind::BiEncoder => BiEncoder::load(folder, device)?.write(&writer)?,
        Kind::CrossEncoder => CrossEncoder::load(folder, device)?.write(&writer)?,
        Kind::Siamese => SiameseClassifier::load(folder, device)?.write(&writer)?,
    }
    writer.copy(folder, &[calibration::FILE])?;
    writer.finish()
}
