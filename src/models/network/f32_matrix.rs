//! Products that stay in f32 among layers in 8 bits.

use burn::tensor::{Tensor, TensorData};

use crate::device::plain_cpu;
use crate::models::kernels::rounded::{RoundedMatrix, RoundedRows};
use crate::models::network::buffers::slice;

/// A matrix `[d_in, d_out]`.
#[derive(Debug, Clone)]
pub struct F32Matrix(Tensor<2>);

/// Rows of activations as they are.
#[derive(Debug, Default)]
pub struct F32Rows(Vec<f32>);

impl RoundedRows for F32Rows {
    fn set(&mut self, x: &[f32], _width: usize) {
        x.clone_into(&mut self.0);
    }
}

impl RoundedMatrix for F32Matrix {
    type Rows = F32Rows;

    fn new(weight: &[f32], widths: [usize; 2]) -> Self {
        Self(Tensor::from_data(TensorData::new(weight.to_vec(), widths), &plain_cpu()))
    }

    fn product(&self, x: &F32Rows, out: &mut [f32]) {
        let width = self.0.dims()[0];
        let rows = TensorData::new(x.0.clone(), [x.0.len() / width, width]);
        let product = Tensor::<2>::from_data(rows, &self.0.device()).matmul(self.0.clone()).into_data();
        out.copy_from_slice(slice(&product));
    }
}
