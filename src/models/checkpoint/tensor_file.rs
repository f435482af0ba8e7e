//! The tensors in a safetensors file.
//!
//! Nothing in a file is trusted before it is checked: the format's own checks (header length, offsets without gaps or
//! overlaps, shapes that fill their bytes) run when a file is opened.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::{Context, Result};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensors};

use crate::error::hint;
use crate::models::checkpoint::folder::ModelFolder;

/// Longest header that safetensors reads.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// A file with its parsed header.
pub struct TensorFile {
    /// For messages.
    pub path: PathBuf,
    bytes: Cow<'static, [u8]>,
    header: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

impl TensorFile {
    /// Opens one file.
    pub fn open(folder: &ModelFolder, name: &str) -> Result<Self> {
        let (bytes, path) = (folder.require(name)?, folder.path(name));
        let not_readable = || format!("{}: not a readable safetensors file", path.display());
        if let Some(whole) = whole_size(&bytes).filter(|whole| *whole > bytes.len() as u64) {
            return Err(hint(
                format!("{}: it is cut off: {} of {whole} bytes", not_readable(), bytes.len()),
                "copy or download the model again",
            ));
        }
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

/// Bytes that a file has by its own header; `None` if the header cannot be read.
fn whole_size(bytes: &[u8]) -> Option<u64> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?);
    let data = length.checked_add(size_of::<u64>() as u64).filter(|_| length <= MOST_HEADER_BYTES)?;
    let Some(header) = bytes.get(size_of::<u64>()..usize::try_from(data).ok()?) else {
        // a file of other bytes says some length too
        return bytes.get(size_of::<u64>()).is_some_and(|first| *first == b'{').then_some(data);
    };
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    let ends = header.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    data.checked_add(ends.max().unwrap_or(0))
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
