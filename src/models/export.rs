//! `mine models export`: any model that can be read, as a folder that Python opens.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::device::plain_cpu;
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
pub fn export(folder: &ModelFolder, output: &Path) -> Result<()> {
    let (writer, device) = (FolderWriter::new(output)?, &plain_cpu());
    match Kind::of(folder)? {
        Kind::BiEncoder => BiEncoder::load(folder, device)?.write(&writer)?,
        Kind::CrossEncoder => CrossEncoder::load(folder, device)?.write(&writer)?,
        Kind::Siamese => SiameseClassifier::load(folder, device)?.write(&writer)?,
    }
    if folder.has(calibration::FILE) {
        // the numbers are the same, but the files that a calibration is tied to are others
        let mut measured = calibration::read(folder)?;
        let is_tied = measured.model.is_some();
        measured.model = is_tied.then(|| writer.fingerprint()).transpose()?;
        writer.json(calibration::FILE, &serde_json::to_value(measured)?)?;
    }
    writer.finish()
}
