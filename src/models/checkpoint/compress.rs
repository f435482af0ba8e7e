//! `mine models compress` and `mine models show`.

use std::path::Path;

use anyhow::Result;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::error::hint;
use crate::models::checkpoint::calibration::{self, Calibration, ScoreFusion};
use crate::models::checkpoint::config::{EncoderConfig, F32_LAYERS};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::folder_writer::FolderWriter;
use crate::models::checkpoint::kind::Kind;
use crate::models::checkpoint::quantised::{self, Bits};
use crate::models::checkpoint::tensor_file::{TensorFile, tensor_names};

/// How a model is stored.
#[derive(Debug, Clone, Copy)]
pub struct Storage {
    pub bits: Bits,
    /// Whether the token table gets its own file, so that models with the same table can share it.
    pub separate_tokens: bool,
}

/// Names of the two weight files of a model whose token table is separate: the layers, and the table.
const SEPARATE: [&str; 2] = ["model-layers.safetensors", "model-tokens.safetensors"];

/// Bytes of a model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub before: usize,
    pub after: usize,
}

/// Writes the model into `output` with weights of few bits, complete or not at all. `f32_layers` finds the numbers of the layers
/// that stay in f32 where others compute in 8 bits.
pub fn compress(
    model: &ModelFolder,
    output: &Path,
    storage: Storage,
    f32_layers: impl FnOnce() -> Result<Vec<usize>>,
) -> Result<Sizes> {
    let files = model.weight_files("model")?;
    if files != ["model.safetensors"] {
        return Err(hint(
            format!("{}: the weights are in {} files, expected model.safetensors alone", model.name(), files.len()),
            "`mine models export` writes one file; compress what it wrote",
        ));
    }
    let writer = FolderWriter::new(output)?;
    let origin = model.path("model.safetensors");
    let bytes = model.require("model.safetensors")?;
    let files = quantised::compress(&bytes, &origin, storage.bits, storage.separate_tokens)?;
    let sizes = Sizes { before: bytes.len(), after: files.iter().map(Vec::len).sum() };
    for file in model.config_files()? {
        writer.copy(model, &[&file])?;
    }
    let mut config: Value = model.require_json("config.json")?;
    let f32_layers = f32_layers()?;
    if EncoderConfig::read(model)?.f32_layers != f32_layers {
        match (f32_layers.is_empty(), config.as_object_mut()) {
            (true, Some(keys)) => drop(keys.remove(F32_LAYERS)),
            _ => config[F32_LAYERS] = f32_layers.into(),
        }
        writer.json("config.json", &config)?;
    }
    match files.as_slice() {
        [whole] => writer.write("model.safetensors", whole)?,
        files => {
            let mut places = Map::new();
            for (name, bytes) in SEPARATE.into_iter().zip(files) {
                writer.write(name, bytes)?;
                for tensor in tensor_names(bytes)? {
                    places.insert(tensor, name.into());
                }
            }
            writer.json("model.safetensors.index.json", &json!({ "metadata": {}, "weight_map": places }))?;
        }
    }
    calibration::carry_over(model, &writer, Some("before the weights were stored in fewer bits"))?;
    writer.finish()?;
    Ok(sizes)
}

/// `model_type` of its configuration, as in `bert`.
pub fn family(model: &ModelFolder) -> Result<String> {
    let config: Value = model.require_json("config.json")?;
    Ok(config.get("model_type").and_then(Value::as_str).unwrap_or("?").into())
}

/// What a folder holds, one line each: family, sizes, limits, tensors, calibration.
pub fn describe(model: &ModelFolder) -> Result<Vec<String>> {
    let config: Value = model.require_json("config.json")?;
    let names = model.weight_files("model")?;
    let files: Vec<TensorFile> = names.iter().map(|name| TensorFile::open(model, name)).collect::<Result<_>>()?;
    let tensors: Vec<_> = files.iter().flat_map(TensorFile::tensors).collect();
    let bytes: usize = files.iter().map(TensorFile::size).sum();
    let architecture = config.get("architectures").map_or("?".into(), |names| names.to_string().replace('"', ""));
    let parameters: usize = tensors
        .iter()
        .filter(|(name, ..)| !name.ends_with(".scale") && !name.ends_with("position_ids"))
        .map(|(name, _, shape)| {
            let stored = shape.iter().product::<usize>();
            quantised::split_packed(name).map_or(stored, |(_, bits)| stored * 8 / bits as usize)
        })
        .sum();
    let format = |name: &str, dtype: Dtype| match quantised::split_packed(name) {
        Some((_, bits)) => format!("{bits} bits"),
        None => format!("{dtype:?}"),
    };
    let mut types: Vec<String> = tensors.iter().map(|(name, dtype, _)| format(name, *dtype)).collect();
    types.sort();
    types.dedup();
    let calibration = calibration::read(model)?;
    let sizes = EncoderConfig::read(model);
    let mut lines = vec![
        format!("model        {}", model.name()),
        format!("kind         {}", Kind::of(model)?.name()),
        format!("family       {} {}", family(model)?, architecture),
        match &sizes {
            Ok(c) => format!(
                "shape        {} layers, hidden {}, {} heads, {} tokens in the vocabulary, {} positions",
                c.layers, c.hidden, c.heads, c.vocabulary, c.positions
            ),
            Err(why) => format!("shape        not known: {why:#}"),
        },
        format!("weights      {parameters} parameters, {bytes} bytes, stored as {}", types.join(" and ")),
        format!("hash         {}", model.fingerprint()?),
    ];
    if let Some(numbers) = sizes.ok().map(|c| c.f32_layers).filter(|numbers| !numbers.is_empty()) {
        lines.push(format!("in f32       layers {numbers:?}, counted from 0, where the others compute in int8"));
    }
    lines.push(match calibration.cosine {
        Some(cosine) => format!("cosine       duplicates from {}, candidates from {}", cosine.threshold, cosine.floor),
        None if calibration == Calibration::default() => "calibration  none (no dupmine.json)".into(),
        None => "cosine       not calibrated".into(),
    });
    lines.extend(calibration.probability_threshold.map(|p| format!("probability  duplicates from {p}")));
    lines.extend(calibration.together.map(|together| {
        let ScoreFusion { bi_encoder, decision, .. } = together;
        let weight = decision.cosine_weight;
        let floor = decision.rerank_floor.map_or(String::new(), |floor| format!(", reranks from cosine {floor}"));
        let ceiling =
            decision.rerank_ceiling.map_or(String::new(), |ceiling| format!(", up to cosine {}", ceiling.cosine));
        format!(
            "together     duplicates from {}, cosine of model {bi_encoder} times {weight:.1}{floor}{ceiling}",
            decision.threshold
        )
    }));
    lines.extend(calibration.measured_on.map(|on| format!("measured on  {on}")));
    Ok(lines)
}
