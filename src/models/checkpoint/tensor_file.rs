//! safetensors files: which of them a model folder has, and the tensors in them.
//!
//! Nothing in a file is believed before it is checked: the format's own checks (header length, offsets without gaps or
//! overlaps, shapes that fill their bytes) run when a file is opened, and a shard must be a plain name in the folder.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::error::hint;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;

/// A file with its parsed header.
pub struct TensorFile {
    /// For messages.
    pub path: PathBuf,
    bytes: Cow<'static, [u8]>,
    header: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl TensorFile {
    /// Opens one file.
    pub fn open(folder: &ModelFolder, name: &str) -> Result<Self> {
        let (bytes, path) = (folder.require(name)?, folder.path(name));
        let not_readable = || format!("{}: not a readable safetensors file", path.display());
        let (header_length, header) = SafeTensors::read_metadata(&bytes).with_context(not_readable)?;
        let data = header_length + size_of::<u64>();
        Ok(Self { path, bytes, header, data })
    }

    /// Bytes of the file.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// A tensor of the file.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let info = self.header.info(name)?;
        let (start, end) = info.data_offsets;
        let bytes = self.bytes.get(self.data + start..self.data + end)?;
        TensorView::new(info.dtype, info.shape.clone(), bytes).ok()
    }

    /// Every name, type and shape.
    pub fn tensors(&self) -> Vec<(String, Dtype, Vec<usize>)> {
        self.header.tensors().into_iter().map(|(name, info)| (name, info.dtype, info.shape.clone())).collect()
    }
}

/// Names of the tensors in a file's bytes.
pub fn tensor_names(bytes: &[u8]) -> Result<Vec<String>> {
    Ok(SafeTensors::read_metadata(bytes)?.1.tensors().into_keys().collect())
}

/// Row-major values in f32 of bytes of a floating-point type; `None` for other types.
pub fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        Dtype::F32 => Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::F16 => Some(pairs().map(|b| half::f16::from_le_bytes(b).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect()),
        _ => None,
    }
}

/// Names of the files that hold the weights of `stem` (`model`): `model.safetensors`, or the shards that
/// `model.safetensors.index.json` lists.
pub fn names(folder: &ModelFolder, stem: &str) -> Result<Vec<String>> {
    let whole = format!("{stem}.safetensors");
    let index = format!("{whole}.index.json");
    if folder.has(&whole) || !folder.has(&index) {
        refuse_pickle(folder, stem)?;
        return Ok(vec![whole]);
    }
    let Index { weight_map } = folder.require_json(&index)?;
    let mut shards: Vec<String> = weight_map.into_values().collect();
    shards.sort();
    shards.dedup();
    ensure!(!shards.is_empty(), "{}: weight_map names no file", folder.path(&index).display());
    for shard in &shards {
        ensure!(
            shard.ends_with(".safetensors") && !shard.contains(['/', '\\']) && !shard.starts_with('.'),
            "{}: shard {shard:?} is not the name of a safetensors file in the model folder",
            folder.path(&index).display()
        );
    }
    Ok(shards)
}

/// Refuses weights that only exist as a pickle, with the command that converts them.
pub fn refuse_pickle(folder: &ModelFolder, stem: &str) -> Result<()> {
    let pickle = format!("{}pytorch_model.bin", stem.strip_suffix("model").unwrap_or_default());
    let readable = [format!("{stem}.safetensors"), format!("{stem}.safetensors.index.json")];
    if !folder.has(&pickle) || readable.iter().any(|file| folder.has(file)) {
        return Ok(());
    }
    let is_cross = matches!(Kind::of(folder), Ok(Kind::Cross));
    let (class, name) = (if is_cross { "CrossEncoder" } else { "SentenceTransformer" }, folder.name());
    Err(hint(
        format!("{} is a pickle, which can run code when it is opened", folder.path(&pickle).display()),
        format!(
            "convert it once in Python: python -c \"from sentence_transformers import {class}; \
             {class}('{name}').save_pretrained('{name}-safetensors')\""
        ),
    ))
}
