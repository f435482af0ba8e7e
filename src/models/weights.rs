//! Named tensors out of a safetensors file into Burn's layers, with errors that name file, tensor and shapes.
//!
//! Layers are built directly from the file instead of through a name-remapping loader: each model's `load` then reads
//! as the table of tensor names it is, and a wrong shape is reported before any arithmetic.
//! 8-bit tensors (see [`crate::models::quantised`]) are decoded to f32 here, so no model knows about them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::module::Param;
use burn::nn::{Embedding, LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::models::quantised;

/// A parsed safetensors file. `'a` is the life of its bytes.
pub struct Weights<'a> {
    file: SafeTensors<'a>,
    origin: &'a Path,
    prefix: &'static str,
}

impl<'a> Weights<'a> {
    /// Parses `bytes`; names are looked up behind the first of `prefixes` (`"bert."`, …) that the file uses, else bare.
    pub fn parse(bytes: &'a [u8], origin: &'a Path, prefixes: &[&'static str]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .with_context(|| format!("{}: not a readable safetensors file", origin.display()))?;
        let uses = |prefix: &&&'static str| file.names().iter().any(|name| name.starts_with(**prefix));
        let prefix = prefixes.iter().find(uses).copied().unwrap_or("");
        Ok(Self { file, origin, prefix })
    }

    fn view(&self, name: &str) -> Option<TensorView<'_>> {
        let prefixed = format!("{}{name}", self.prefix);
        self.file.tensor(&prefixed).or_else(|_| self.file.tensor(name)).ok()
    }

    /// The tensor's values in f32, row-major, after checking its shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let view = self.view(name).with_context(|| {
            format!("{}: tensor `{}{name}` is missing (expected shape {shape:?})", self.origin.display(), self.prefix)
        })?;
        ensure!(
            view.shape() == shape,
            "{}: tensor `{name}` has shape {:?}, expected {shape:?}",
            self.origin.display(),
            view.shape()
        );
        let values = match view.dtype() {
            Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => {
                view.data().chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            Dtype::BF16 => {
                view.data().chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            Dtype::I8 => {
                let scale_shape = quantised::scale_shape(shape)
                    .with_context(|| format!("{}: 8-bit tensor `{name}` is not a matrix", self.origin.display()))?;
                let scales = self.values(&quantised::scale_name(name), &scale_shape)?;
                quantised::decode(view.data(), &scales, shape[1])
            }
            other => bail!("{}: tensor `{name}` is {other:?}, expected F32, F16, BF16 or I8", self.origin.display()),
        };
        Ok(values)
    }

    /// Old checkpoints call a norm's weight and bias `gamma` and `beta`.
    fn norm_name(&self, name: &str, part: &str, old_part: &str) -> String {
        let new = format!("{name}.{part}");
        if self.view(&new).is_none() { format!("{name}.{old_part}") } else { new }
    }

    /// `y = x W + b` from a PyTorch weight `[d_out, d_in]`, stored transposed as Burn wants it.
    pub fn linear(&self, name: &str, d_in: usize, d_out: usize, device: &Device) -> Result<Linear> {
        let weight = self.values(&format!("{name}.weight"), &[d_out, d_in])?;
        let bias = self.values(&format!("{name}.bias"), &[d_out])?;
        let mut transposed = vec![0.0f32; weight.len()];
        for (row, values) in weight.chunks_exact(d_in).enumerate() {
            for (column, &value) in values.iter().enumerate() {
                transposed[column * d_out + row] = value;
            }
        }
        Ok(Linear {
            weight: parameter::<2>(transposed, [d_in, d_out], device),
            bias: Some(parameter::<1>(bias, [d_out], device)),
        })
    }

    /// A layer norm over `d` features with the model's own epsilon (BERT: 1e-12, Burn's default is 1e-5).
    pub fn layer_norm(&self, name: &str, d: usize, epsilon: f64, device: &Device) -> Result<LayerNorm> {
        let mut norm = LayerNormConfig::new(d).with_epsilon(epsilon).init(device);
        norm.gamma = parameter::<1>(self.values(&self.norm_name(name, "weight", "gamma"), &[d])?, [d], device);
        norm.beta = Some(parameter::<1>(self.values(&self.norm_name(name, "bias", "beta"), &[d])?, [d], device));
        Ok(norm)
    }

    /// A table of `rows` vectors of width `d`.
    pub fn embedding(&self, name: &str, rows: usize, d: usize, device: &Device) -> Result<Embedding> {
        let weight = self.values(&format!("{name}.weight"), &[rows, d])?;
        Ok(Embedding { weight: parameter::<2>(weight, [rows, d], device) })
    }
}

fn parameter<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}
