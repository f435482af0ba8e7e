//! `mine models compress` and `mine models show`.

use std::path::Path;

use anyhow::{Context, Result};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::models::folder::ModelFolder;
use crate::models::folder_writer::FolderWriter;
use crate::models::kind::Kind;
use crate::models::{calibration, quantised};

/// Writes the model into `output` with 8-bit weights, complete or not at all.
pub fn compress(model: &ModelFolder, output: &Path) -> Result<()> {
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
    let origin = model.path("model.safetensors");
    let bytes = model.require("model.safetensors")?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{}: not a readable safetensors file", origin.display()))?;
    let text = |key: &str| config.get(key).map_or("?".into(), |value| value.to_string().replace('"', ""));
    let parameters: usize = file
        .tensors()
        .iter()
        .filter(|(name, _)| !name.ends_with(".scale") && !name.ends_with("position_ids"))
        .map(|(_, view)| view.shape().iter().product::<usize>())
        .sum();
    let mut types: Vec<String> = file.tensors().iter().map(|(_, view)| format!("{:?}", view.dtype())).collect();
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
        format!("weights      {parameters} parameters, {} bytes, stored as {}", bytes.len(), types.join(" and ")),
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
