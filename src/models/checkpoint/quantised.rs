//! Storage of model weights in few bits: 8 are a quarter of the bytes on disk, f32 in memory.
//!
//! A matrix `W [rows, columns]` is stored as codes `q` of the same name, and an `F16` matrix `<name>.scale [rows,
//! ⌈columns / block⌉]`: within a row every `block` columns share a scale, `W[r, c] ≈ q[r, c] · scale[r, ⌊c / block⌋]`
//! with `scale = max|W| / (2^(bits − 1) − 1)` over the block. Blocks have 64 columns in 8 bits, 32 in fewer. One scale
//! for a whole row is not enough: a few large columns of MiniLM's feed-forward weights cost all others their precision
//! (lowest cosine to the original over 1,000 questions 0.9971 against 0.9992 with blocks). Vectors (biases, norms) stay
//! `F32`: they are few.
//!
//! Codes of 8 bits are `I8` under the matrix's own name. Fewer are packed, `q + 2^(bits − 1)`, the lowest bits first, into
//! `U8 <name>.q<bits> [rows, columns · bits / 8]`. Storing what was stored before
//! changes no bit, so a model that is trained from a packed token table without changing it shares that table with the original.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::models::checkpoint::tensor_file::floats;

/// Columns that share a scale.
fn block(bits: u32) -> usize {
    if bits == 8 { 64 } else { 32 }
}

/// Bits of a packed code.
pub const PACKED_BITS: std::ops::RangeInclusive<u32> = 3..=7;

/// Ending of the token table's name, in every family.
const TOKEN_TABLE: &str = "embeddings.word_embeddings.weight";

/// How many bits the matrices of a model get, 3 to 8.
#[derive(Debug, Clone, Copy)]
pub struct Bits {
    pub token_table: u32,
    pub others: u32,
}

impl Bits {
    /// Bits of the matrix `name`; 8 if a row of fewer bits would not end on a byte boundary.
    fn of(self, name: &str, columns: usize) -> u32 {
        let bits = if is_token_table(name) { self.token_table } else { self.others };
        if (columns * bits as usize).is_multiple_of(8) { bits } else { 8 }
    }
}

/// Whether a tensor is the token table, its codes or its scales.
pub fn is_token_table(name: &str) -> bool {
    let name = name.strip_suffix(".scale").unwrap_or(name);
    name.ends_with(TOKEN_TABLE) || split_packed(name).is_some_and(|(name, _)| name.ends_with(TOKEN_TABLE))
}

/// Name of the scales that belong to the stored tensor `name`.
pub fn scale_name(name: &str) -> String {
    format!("{name}.scale")
}

/// Name of the codes of matrix `name` in `bits` bits.
pub fn packed_name(name: &str, bits: u32) -> String {
    format!("{name}.q{bits}")
}

/// Matrix and bits of the name of packed codes.
pub fn split_packed(name: &str) -> Option<(&str, u32)> {
    let (name, bits) = name.rsplit_once(".q")?;
    bits.parse().ok().filter(|bits| PACKED_BITS.contains(bits)).map(|bits| (name, bits))
}

/// Shape of the scales of a matrix of `shape`, `None` for what is not a matrix.
pub fn scale_shape(shape: &[usize], bits: u32) -> Option<[usize; 2]> {
    match shape {
        &[rows, columns] => Some([rows, columns.div_ceil(block(bits))]),
        _ => None,
    }
}

/// Values in f32 of row-major `codes` of `bits` bits, a byte each, of width `columns`.
pub fn decode(codes: &[u8], scales: &[f32], columns: usize, bits: u32) -> Vec<f32> {
    let blocks = codes.chunks_exact(columns.max(1)).flat_map(|row| row.chunks(block(bits)));
    blocks.zip(scales).flat_map(|(block, &scale)| block.iter().map(move |&q| f32::from(q as i8) * scale)).collect()
}

/// The codes of `bits` bits of row-major `values` of width `columns`, a byte each, and their scales. A block of zeros
/// has scale 0.
pub fn encode(values: &[f32], columns: usize, bits: u32) -> (Vec<u8>, Vec<f16>) {
    let (mut codes, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    let largest = ((1 << (bits - 1)) - 1) as f32;
    for block in values.chunks_exact(columns.max(1)).flat_map(|row| row.chunks(block(bits))) {
        let scale = f16::from_f32(block.iter().fold(0.0f32, |most, v| most.max(v.abs())) / largest);
        let inverse = if scale > f16::ZERO { 1.0 / scale.to_f32() } else { 0.0 };
        codes.extend(block.iter().map(|v| (v * inverse).round().clamp(-largest, largest) as i8 as u8));
        scales.push(scale);
    }
    (codes, scales)
}

/// Codes of a byte each, in `bits` bits each.
pub fn pack(codes: &[u8], bits: u32) -> Vec<u8> {
    let (mut bytes, mut waiting, mut filled) = (Vec::with_capacity(codes.len()), 0u32, 0);
    for &code in codes {
        let unsigned = (i32::from(code as i8) + (1 << (bits - 1))) as u32;
        waiting |= unsigned << filled;
        filled += bits;
        while filled >= 8 {
            bytes.push(waiting as u8);
            waiting >>= 8;
            filled -= 8;
        }
    }
    bytes
}

/// The reverse of [`pack`].
pub fn unpack(bytes: &[u8], bits: u32) -> Vec<u8> {
    let (mut codes, mut waiting, mut filled) = (Vec::with_capacity(bytes.len() * 8 / bits as usize), 0u32, 0);
    for &byte in bytes {
        waiting |= u32::from(byte) << filled;
        filled += 8;
        while filled >= bits {
            codes.push(((waiting & ((1 << bits) - 1)) as i32 - (1 << (bits - 1))) as i8 as u8);
            waiting >>= bits;
            filled -= bits;
        }
    }
    codes
}

/// A tensor in memory: name, type, shape and bytes.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

/// Safetensors files whose matrices are stored in few bits: one of everything, or one of the token table and one of the
/// rest. Metadata is kept, and so is everything that is not a matrix, except the integer buffers (`position_ids`) of
/// older checkpoints, which no model reads. Matrices that are stored in few bits already stay as they are.
pub fn compress(bytes: &[u8], origin: &Path, bits: Bits, separate_tokens: bool) -> Result<Vec<Vec<u8>>> {
    let not_readable = || format!("{}: not a readable safetensors file", origin.display());
    let file = SafeTensors::deserialize(bytes).with_context(not_readable)?;
    let (_, header) = SafeTensors::read_metadata(bytes).with_context(not_readable)?;
    let mut all: Vec<Stored> = Vec::new();
    // the scales of a file that is compressed already are matrices too
    let is_scale = |name: &str| {
        let codes = name.strip_suffix(".scale").and_then(|of| file.tensor(of).ok());
        codes.is_some_and(|codes| matches!(codes.dtype(), Dtype::I8 | Dtype::U8))
    };
    for (name, view) in file.tensors() {
        let shape = view.shape().to_vec();
        let values = floats(view.dtype(), view.data()).filter(|_| !is_scale(&name));
        match (view.dtype(), shape.as_slice(), values) {
            (_, &[rows, columns], Some(values)) if columns > 0 => {
                let bits = bits.of(&name, columns);
                let (codes, scales) = encode(&values, columns, bits);
                let (stored, dtype, width, codes) = match bits {
                    8 => (name, Dtype::I8, columns, codes),
                    _ => (packed_name(&name, bits), Dtype::U8, columns * bits as usize / 8, pack(&codes, bits)),
                };
                let scale_bytes = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
                let scale_shape = scale_shape(&shape, bits).context("a matrix has scales")?.to_vec();
                all.push((scale_name(&stored), Dtype::F16, scale_shape, scale_bytes));
                all.push((stored, dtype, vec![rows, width], codes));
            }
            (Dtype::I64, ..) => {}
            (dtype, ..) => all.push((name, dtype, shape, view.data().to_vec())),
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let metadata: HashMap<String, String> = header.metadata().clone().unwrap_or_default();
    let (mut tokens, rest): (Vec<Stored>, Vec<Stored>) =
        all.into_iter().partition(|(name, ..)| separate_tokens && is_token_table(name));
    // a cross-encoder's names have a prefix, a bi-encoder's have none: the file is to be the same
    for (name, ..) in &mut tokens {
        name.drain(..name.find(TOKEN_TABLE).unwrap_or(0));
    }
    let files = [rest, tokens].into_iter().filter(|tensors| !tensors.is_empty());
    files.map(|tensors| serialize(&tensors, metadata.clone())).collect()
}

fn serialize(tensors: &[Stored], metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, dtype, shape, data) in tensors {
        views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), data)?));
    }
    Ok(safetensors::serialize(views, Some(metadata))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eight(bytes: &[u8]) -> Vec<u8> {
        compress(bytes, Path::new("m"), Bits { token_table: 8, others: 8 }, false).unwrap().remove(0)
    }

    #[test]
    fn matrices_of_any_float_are_stored_in_8_bits_once() {
        let values: Vec<f32> = (0..6).map(|v| v as f32).collect();
        let halves = |to: fn(f32) -> [u8; 2]| values.iter().flat_map(|&v| to(v)).collect::<Vec<u8>>();
        let (f16s, bf16s) =
            (halves(|v| f16::from_f32(v).to_le_bytes()), halves(|v| half::bf16::from_f32(v).to_le_bytes()));
        let tensor = |dtype, bytes| TensorView::new(dtype, vec![2, 3], bytes).unwrap();
        let tensors = [("a", tensor(Dtype::F16, &f16s)), ("b", tensor(Dtype::BF16, &bf16s))];
        let once = eight(&safetensors::serialize(tensors, None).unwrap());
        let file = SafeTensors::deserialize(&once).unwrap();
        for name in ["a", "b"] {
            assert_eq!(file.tensor(name).unwrap().dtype(), Dtype::I8);
            let scales = floats(Dtype::F16, file.tensor(&scale_name(name)).unwrap().data()).unwrap();
            let decoded = decode(file.tensor(name).unwrap().data(), &scales, 3, 8);
            assert!(decoded.iter().zip(&values).all(|(a, b)| (a - b).abs() < 0.03), "{decoded:?}");
        }
        assert_eq!(eight(&once), once);
    }

    proptest! {
        #[test]
        fn decoding_is_within_half_a_step(values in prop::collection::vec(-3.0f32..3.0, 3 * 130)) {
            let (codes, scales) = encode(&values, 130, 8);
            let scales: Vec<f32> = scales.iter().map(|scale| scale.to_f32()).collect();
            prop_assert_eq!(Some([3, scales.len() / 3]), scale_shape(&[3, 130], 8));
            let decoded = decode(&codes, &scales, 130, 8);
            for (i, (a, b)) in values.iter().zip(&decoded).enumerate() {
                let scale = scales[i / 130 * 3 + i % 130 / block(8)];
                // half a step, and what the largest value loses when its scale is rounded to f16
                prop_assert!((a - b).abs() <= scale * 0.57, "{} against {}", a, b);
            }
        }

        #[test]
        fn few_bits_come_back_and_change_nothing_the_second_time(
            values in prop::collection::vec(-3.0f32..3.0, 2 * 128),
            bits in 3u32..=7,
        ) {
            let (codes, scales) = encode(&values, 128, bits);
            let bytes = pack(&codes, bits);
            prop_assert_eq!(bytes.len(), values.len() * bits as usize / 8);
            prop_assert_eq!(&unpack(&bytes, bits), &codes);
            let steps: Vec<f32> = scales.iter().map(|scale| scale.to_f32()).collect();
            let decoded = decode(&codes, &steps, 128, bits);
            for (at, (a, b)) in values.iter().zip(&decoded).enumerate() {
                prop_assert!((a - b).abs() <= steps[at / block(bits)] * 0.57, "{} against {}", a, b);
            }
            prop_assert_eq!(encode(&decoded, 128, bits), (codes, scales));
        }
    }
}
