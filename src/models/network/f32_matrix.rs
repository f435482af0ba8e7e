//! Products that stay in f32 among layers in 8 bits.

use burn::tensor::{Tensor, TensorData};

use crate::device::plain_cpu;
use crate::models::kernels::rounded::{RoundedMatrix, RoundedRows};
use crate::models::network::buffers::slice;

/// A matrix `[d_in, d_out]`.
#[derive(Debug, Clone)]
pub struct F32Matrix(Tensor<2>);

/// Rows of activations as they are, two at least: a product of one row is computed by another loop, which adds in another order.
#[derive(Debug, Default)]
pub struct F32Rows(Option<Tensor<2>>);

impl RoundedRows for F32Rows {
    fn set(&mut self, x: &[f32], width: usize) {
        let mut values = x.to_vec();
        values.resize(x.len().max(2 * width), 0.0);
        let shape = [values.len() / width, width];
        self.0 = Some(Tensor::from_data(TensorData::new(values, shape), &plain_cpu()));
    }
}

impl RoundedMatrix for F32Matrix {
    type Rows = F32Rows;

    fn new(weight: &[f32], widths: [usize; 2]) -> Self {
        Self(Tensor::from_data(TensorData::new(weight.to_vec(), widths), &plain_cpu()))
    }

    fn product(&self, x: &F32Rows, out: &mut [f32]) {
        let Some(rows) = &x.0 else { unreachable!("a layer sets rows before it multiplies them") };
        let product = rows.clone().matmul(self.0.clone()).into_data();
        out.copy_from_slice(&slice(&product)[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_same_product_alone_and_among_others() {
        let (d_in, d_out) = (1536, 384);
        let values = |count: usize| (0..count).map(|at| (at as f32 * 0.37).sin()).collect::<Vec<f32>>();
        let (matrix, x) = (F32Matrix::new(&values(d_in * d_out), [d_in, d_out]), values(5 * d_in));
        let product = |x: &[f32]| {
            let (mut rows, mut out) = (F32Rows::default(), vec![0.0; x.len() / d_in * d_out]);
            rows.set(x, d_in);
            matrix.product(&rows, &mut out);
            out
        };
        assert_eq!(product(&x[..d_in]), product(&x)[..d_out]);
    }
}
