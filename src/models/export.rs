//! `mine models export`: any model that can be read, as a folder that Python opens.

use std::path::Path;

use anyhow::Result;

use crate::device::plain_cpu;
use crate::models::bi_encoder::BiEncoder;
use crate::models::checkpoint::calibration;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::folder_writer::FolderWriter;
use crate::models::checkpoint::kind::Kind;
use crate::models::cross_encoder::CrossEncoder;
use crate::models::siamese::SiameseClassifier;

/// Writes the model of `folder` into the new folder `output`: f32 weights whatever they were stored as, the old
/// layout of sentence-transformers, its calibration beside it.
pub fn export(folder: &ModelFolder, output: &Path) -> Result<()> {
    let (writer, device) = (FolderWriter::new(output)?, &plain_cpu());
    match Kind::of(folder)? {
        Kind::Bi => BiEncoder::load(folder, device)?.write(&writer)?,
        Kind::Cross => CrossEncoder::load(folder, device)?.write(&writer)?,
        Kind::Siamese => SiameseClassifier::load(folder, device)?.write(&writer)?,
    }
    calibration::carry_over(folder, &writer, None)?;
    writer.finish()
}
