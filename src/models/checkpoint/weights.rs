//! Named tensors out of safetensors files into Burn's layers, with errors that name file, tensor and shapes.
//!
//! Layers are built directly from the files instead of through a name-remapping loader: each model's `load` then reads
//! as the table of tensor names it is, and a wrong shape is reported before any arithmetic.
//! Tensors of few bits (`quantised.rs`) are decoded to f32 here, so no model knows about them.

use anyhow::{Context, Result, bail, ensure};
use burn::module::Param;
use burn::nn::{Embedding, LayerNorm, LayerNormConfig};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, tensor::TensorView};

use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::quantised;
use crate::models::checkpoint::tensor_file::{self, TensorFile};

/// The tensors of a model, and the device on which layers are built from them.
pub struct Weights {
    files: Vec<TensorFile>,
    prefix: &'static str,
    device: Device,
}

impl Weights {
    /// Opens `<stem>.safetensors` or its shards. Names are looked up behind `prefix` (`"bert."`) and bare.
    pub fn open(folder: &ModelFolder, stem: &str, prefix: &'static str, device: &Device) -> Result<Self> {
        let names = folder.weight_files(stem)?;
        let files = names.iter().map(|name| TensorFile::open(folder, name)).collect::<Result<_>>()?;
        Ok(Self { files, prefix, device: device.clone() })
    }

    /// Codes and bits of a matrix that is stored in less than a byte.
    fn find_packed(&self, name: &str) -> Option<(&TensorFile, TensorView<'_>, u32)> {
        quantised::PACKED_BITS.into_iter().find_map(|bits| {
            let (file, view) = self.find(&quantised::packed_name(name, bits))?;
            Some((file, view, bits))
        })
    }

    fn find(&self, name: &str) -> Option<(&TensorFile, TensorView<'_>)> {
        let prefixed = format!("{}{name}", self.prefix);
        let in_any = |name: &str| self.files.iter().find_map(|file| Some((file, file.tensor(name)?)));
        in_any(&prefixed).or_else(|| in_any(name))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some() || self.find_packed(name).is_some()
    }

    /// The tensor's values in f32, row-major, after checking its shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        if let (None, Some((file, codes, bits))) = (self.find(name), self.find_packed(name)) {
            return self.unpacked(name, shape, file, &codes, bits);
        }
        let (file, view) = self.find(name).with_context(|| {
            let paths: Vec<String> = self.files.iter().map(|file| file.path.display().to_string()).collect();
            format!("{}: tensor `{name}` is missing (expected shape {shape:?})", paths.join(", "))
        })?;
        let path = file.path.display();
        ensure!(view.shape() == shape, "{path}: tensor `{name}` has shape {:?}, expected {shape:?}", view.shape());
        let values = match view.dtype() {
            Dtype::I8 => {
                let scales = self.scales(name, shape, 8, file)?;
                quantised::decode(view.data(), &scales, shape[1], 8)
            }
            other => tensor_file::floats(other, view.data())
                .with_context(|| format!("{path}: tensor `{name}` is {other:?}, expected F32, F16, BF16 or I8"))?,
        };
        Ok(values)
    }

    fn unpacked(
        &self,
        name: &str,
        shape: &[usize],
        file: &TensorFile,
        codes: &TensorView<'_>,
        bits: u32,
    ) -> Result<Vec<f32>> {
        let (path, name) = (file.path.display(), quantised::packed_name(name, bits));
        let expected = match shape {
            &[rows, columns] => [rows, columns * bits as usize / 8],
            _ => bail!("{path}: tensor `{name}` of {bits} bits is not a matrix"),
        };
        let (dtype, found) = (codes.dtype(), codes.shape());
        ensure!(
            dtype == Dtype::U8 && found == expected && (shape[1] * bits as usize).is_multiple_of(8),
            "{path}: tensor `{name}` is {dtype:?} {found:?}, expected U8 {expected:?}"
        );
        let scales = self.scales(&name, shape, bits, file)?;
        Ok(quantised::decode(&quantised::unpack(codes.data(), bits), &scales, shape[1], bits))
    }

    /// The scales of the stored tensor `name` of a matrix of `shape`.
    fn scales(&self, name: &str, shape: &[usize], bits: u32, file: &TensorFile) -> Result<Vec<f32>> {
        let path = file.path.display();
        let scale_shape = quantised::scale_shape(shape, bits)
            .with_context(|| format!("{path}: tensor `{name}` of few bits is not a matrix"))?;
        let scale = quantised::scale_name(name);
        if self.find(&scale).is_some_and(|(_, view)| view.dtype() == Dtype::I8) {
            bail!("{path}: tensor `{scale}` is I8, expected F16 or F32");
        }
        self.values(&scale, &scale_shape)
    }

    /// Old checkpoints call a norm's weight and bias `gamma` and `beta`.
    fn norm_name(&self, name: &str, part: &str, old_part: &str) -> String {
        let old = format!("{name}.{old_part}");
        if self.has(&old) { old } else { format!("{name}.{part}") }
    }

    /// The matrix `[d_in, d_out]` of a linear layer from a PyTorch weight `[d_out, d_in]`, transposed as Burn wants it.
    pub fn matrix(&self, name: &str, [d_in, d_out]: [usize; 2]) -> Result<Param<Tensor<2>>> {
        let weight = transpose(&self.values(name, &[d_out, d_in])?, d_in);
        Ok(self.parameter(weight, [d_in, d_out]))
    }

    /// A layer norm over `d` features with the model's own epsilon (BERT: 1e-12, Burn's default is 1e-5).
    pub fn layer_norm(&self, name: &str, d: usize, epsilon: f64) -> Result<LayerNorm> {
        let mut norm = LayerNormConfig::new(d).with_epsilon(epsilon).init(&self.device);
        norm.gamma = self.vector(&self.norm_name(name, "weight", "gamma"), d)?;
        norm.beta = Some(self.vector(&self.norm_name(name, "bias", "beta"), d)?);
        Ok(norm)
    }

    /// A table of `rows` vectors of width `d`.
    pub fn embedding(&self, name: &str, rows: usize, d: usize) -> Result<Embedding> {
        let weight = self.values(&format!("{name}.weight"), &[rows, d])?;
        Ok(Embedding { weight: self.parameter(weight, [rows, d]) })
    }

    /// A vector of `d` values.
    pub fn vector(&self, name: &str, d: usize) -> Result<Param<Tensor<1>>> {
        Ok(self.parameter(self.values(name, &[d])?, [d]))
    }

    fn parameter<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }
}

/// Row-major `[rows, columns]` to `[columns, rows]`.
pub fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    let mut transposed = vec![0.0f32; values.len()];
    for (row, values) in values.chunks_exact(columns.max(1)).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            transposed[column * rows + row] = value;
        }
    }
    transposed
}
