//! 8-bit storage of model weights: a quarter of the bytes on disk, f32 in memory.
//!
//! A matrix `W [rows, columns]` is stored as `I8` values `q` of the same name and shape and an `F32` vector
//! `<name>.scale [rows]`, with `W[r, c] ≈ q[r, c] · scale[r]` and `scale[r] = max|W[r, ·]| / 127`. Vectors (biases,
//! norms) stay `F32`: they are few and everything passes through them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// Name of the vector of row scales that belongs to the 8-bit tensor `name`.
pub fn scale_name(name: &str) -> String {
    format!("{name}.scale")
}

/// Values in f32 of row-major 8-bit `bytes` with one scale a row.
pub fn decode(bytes: &[u8], scales: &[f32]) -> Vec<f32> {
    let columns = bytes.len() / scales.len().max(1);
    let rows = bytes.chunks_exact(columns.max(1)).zip(scales);
    rows.flat_map(|(row, &scale)| row.iter().map(move |&q| f32::from(q as i8) * scale)).collect()
}

/// The 8-bit form of row-major `values`: codes and one scale a row. A row of zeros has scale 0.
pub fn encode(values: &[f32], columns: usize) -> (Vec<u8>, Vec<f32>) {
    let mut codes = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len() / columns.max(1));
    for row in values.chunks_exact(columns) {
        let scale = row.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        codes.extend(row.iter().map(|v| (v * inverse).round().clamp(-127.0, 127.0) as i8 as u8));
        scales.push(scale);
    }
    (codes, scales)
}

/// A safetensors file whose f32 matrices are stored in 8 bits. Everything else, metadata included, is kept, but for
/// the integer buffers (`position_ids`) of older checkpoints, which no model reads.
pub fn compress(bytes: &[u8], origin: &Path) -> Result<Vec<u8>> {
    let not_readable = || format!("{}: not a readable safetensors file", origin.display());
    let file = SafeTensors::deserialize(bytes).with_context(not_readable)?;
    let (_, header) = SafeTensors::read_metadata(bytes).with_context(not_readable)?;
    let mut owned: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in file.tensors() {
        let shape = view.shape().to_vec();
        match (view.dtype(), shape.as_slice()) {
            (Dtype::F32, &[_, columns]) if columns > 0 => {
                let values: Vec<f32> =
                    view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                let (codes, scales) = encode(&values, columns);
                let scale_bytes = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
                owned.push((scale_name(&name), Dtype::F32, vec![shape[0]], scale_bytes));
                owned.push((name, Dtype::I8, shape, codes));
            }
            (Dtype::I64, _) => {}
            (dtype, _) => owned.push((name, dtype, shape, view.data().to_vec())),
        }
    }
    owned.sort_by(|a, b| a.0.cmp(&b.0));
    let mut views = Vec::with_capacity(owned.len());
    for (name, dtype, shape, data) in &owned {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), data)?));
    }
    let metadata: HashMap<String, String> = header.metadata().clone().unwrap_or_default();
    Ok(safetensors::serialize(views, Some(metadata))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_is_within_half_a_step(values in prop::collection::vec(-3.0f32..3.0, 12)) {
            let (codes, scales) = encode(&values, 4);
            let decoded = decode(&codes, &scales);
            for (i, (a, b)) in values.iter().zip(&decoded).enumerate() {
                prop_assert!((a - b).abs() <= scales[i / 4] * 0.5001, "{} against {}", a, b);
            }
        }
    }
}
