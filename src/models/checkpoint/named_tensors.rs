//! Layers into a safetensors file that transformers opens: Hugging Face names, PyTorch's order of axes, f32.

use std::collections::HashMap;

use anyhow::Result;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::Tensor;
use safetensors::{Dtype, tensor::TensorView};

use crate::models::checkpoint::weights::transpose;

/// Tensors to be written: what `weights.rs` reads, this writes.
#[derive(Default)]
pub struct NamedTensors {
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl NamedTensors {
    /// The matrix `[d_in, d_out]` of a linear layer, transposed back to `[d_out, d_in]`.
    pub fn matrix(&mut self, name: &str, matrix: Tensor<2>) {
        let [d_in, d_out] = matrix.dims();
        let values = transpose(&values(matrix), d_out);
        self.tensors.push((name.to_string(), vec![d_out, d_in], values));
    }

    /// A layer norm.
    pub fn layer_norm(&mut self, name: &str, norm: &LayerNorm) {
        self.tensor(&format!("{name}.weight"), norm.gamma.val());
        if let Some(beta) = &norm.beta {
            self.tensor(&format!("{name}.bias"), beta.val());
        }
    }

    /// A table.
    pub fn embedding(&mut self, name: &str, table: &Embedding) {
        self.tensor(&format!("{name}.weight"), table.weight.val());
    }

    /// Any tensor as it is.
    pub fn tensor<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        self.tensors.push((name.to_string(), tensor.dims().to_vec(), values(tensor)));
    }

    /// Puts `prefix` before every name that is there.
    pub fn prefix(&mut self, prefix: &str) {
        self.tensors.iter_mut().for_each(|(name, ..)| name.insert_str(0, prefix));
    }

    /// The bytes of the file. Its metadata says `"format": "pt"`, without which transformers refuses it.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors
            .into_iter()
            .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, data)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(safetensors::serialize(views, Some(HashMap::from([("format".to_string(), "pt".to_string())])))?)
    }
}

#[expect(clippy::expect_used, reason = "converted on the same line")]
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32")
}
