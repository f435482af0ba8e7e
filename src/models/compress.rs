//! `mine models compress` and `mine models show`.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::error::hint;
use crate::models::folder::ModelFolder;
use crate::models::folder_writer::FolderWriter;
use crate::models::kind::Kind;
use crate::models::tensor_file::{self, TensorFile};
use crate::models::{calibration, quantised};

/// Writes the model into `output` with 8-bit weights, complete or not at all.
pub fn compress(model: &ModelFolder, output: &Path) -> Result<()> {
    let files = tensor_file::names(model, "model")?;
    if files != ["model.safetensors"] {
        return Err(hint(
            format!("{}: the weights are in {} files, expected model.safetensors alone", model.name(), files.len()),
            "`mine models export` writes one file; compress what it wrote",
        ));
    }
    let writer = FolderWriter::new(output)?;
    let origin = model.path("model.safetensors");
    let weights = quantised::compress(&model.require("model.safetensors")?, &origin)?;
    for file in model.config_files()? {
        writer.copy(model, &[&file])?;
    }
    writer.write("model.safetensors", &weights)?;
    calibration::carry_over(model, &writer)?;
    writer.finish()
}

/// `model_type` of its configuration, as in `bert`.
pub fn family(model: &ModelFolder) -> Result<String> {
    let config: Value = model.require_json("config.json")?;
    Ok(config.get("model_type").and_then(Value::as_str).unwrap_or("?").into())
}

/// What a folder holds, a line each: family, sizes, limits, tensors, calibration.
pub fn describe(model: &ModelFolder) -> Result<Vec<String>> {
    let config: Value = model.require_json("config.json")?;
    let names = tensor_file::names(model, "model")?;
    let files: Vec<TensorFile> = names.iter().map(|name| TensorFile::open(model, name)).collect::<Result<_>>()?;
    let tensors: Vec<_> = files.iter().flat_map(TensorFile::tensors).collect();
    let bytes: usize = files.iter().map(TensorFile::size).sum();
    let text = |key: &str| config.get(key).map_or("?".into(), |value| value.to_string().replace('"', ""));
    let parameters: usize = tensors
        .iter()
        .filter(|(name, ..)| !name.ends_with(".scale") && !name.ends_with("position_ids"))
        .map(|(.., shape)| shape.iter().product::<usize>())
        .sum();
    let mut types: Vec<String> = tensors.iter().map(|(_, dtype, _)| format!("{dtype:?}")).collect();
    types.sort();
    types.dedup();
    let calibration = calibration::read(model)?;
    let mut lines = vec![
        format!("model        {}", model.name()),
        format!("kind         {}", Kind::of(model)?.name()),
        format!("family       {} {}", family(model)?, text("architectures")),
        format!(
            "shape        {} layers, hidden {}, {} heads, {} tokens in the vocabulary, {} positions",
            text("num_hidden_layers"),
            text("hidden_size"),
            text("num_attention_heads"),
            text("vocab_size"),
            text("max_position_embeddings")
        ),
        format!("weights      {parameters} parameters, {bytes} bytes, stored as {}", types.join(" and ")),
        format!("hash         {}", model.fingerprint()?),
    ];
    lines.push(match calibration.cosine {
        Some(cosine) => format!("cosine       duplicates from {}, candidates from {}", cosine.threshold, cosine.floor),
        None => "cosine       not calibrated (no dupmine.json)".into(),
    });
    lines.extend(calibration.probability_threshold.map(|p| format!("probability  duplicates from {p}")));
    lines.extend(calibration.measured_on.map(|on| format!("measured on  {on}")));
    Ok(lines)
}
