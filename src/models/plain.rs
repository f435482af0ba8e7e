//! Weights as plain numbers, and the gradients of linear layers and norms over them: what the training path on the plain
//! CPU device is made of. They are read once a step and shared by all of its micro-batches.
//!
//! Shapes: R rows.

use burn::nn::{LayerNorm, Linear};
use burn::tensor::TensorData;

use crate::models::kernels::backward;
use crate::models::kernels::product::{Matrix, add_product, product};
use crate::models::ops::{bias_values, norm_values, slice};

/// A linear layer.
pub struct PlainLinear {
    weight: TensorData,
    pub bias: Vec<f32>,
}

impl PlainLinear {
    pub fn new(linear: &Linear) -> Self {
        Self { weight: linear.weight.val().into_data(), bias: bias_values(linear) }
    }

    fn weight(&self) -> Matrix<'_> {
        Matrix::new(slice(&self.weight), self.bias.len())
    }

    /// `x W`, the bias left to whoever reads it next: `[R, d_in] → [R, d_out]`.
    pub fn product(&self, x: &[f32]) -> Vec<f32> {
        product(Matrix::new(x, self.weight.shape()[0]), self.weight())
    }

    /// The gradient of `x` from that of `x W + b`: `[R, d_out] → [R, d_in]`.
    pub fn of_input(&self, g: &[f32]) -> Vec<f32> {
        product(Matrix::new(g, self.bias.len()), self.weight().transposed())
    }

    /// Adds it to `total` instead.
    pub fn add_of_input(&self, g: &[f32], total: &mut [f32]) {
        add_product(total, Matrix::new(g, self.bias.len()), self.weight().transposed());
    }

    /// The gradients of W and b from `x` and that of `x W + b`.
    pub fn of_parameters(&self, x: &[f32], g: &[f32]) -> [Vec<f32>; 2] {
        let mut of_bias = vec![0.0; self.bias.len()];
        backward::bias(g, &mut of_bias);
        let x = Matrix::new(x, self.weight.shape()[0]);
        [product(x.transposed(), Matrix::new(g, self.bias.len())), of_bias]
    }
}

/// A norm over rows.
pub struct PlainNorm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f32,
}

/// What a norm, and the dropout next to it, leave for their gradient.
pub struct NormTape {
    /// Rows before gamma and beta.
    normalised: Vec<f32>,
    /// `1 / sqrt(var + ε)` of every row.
    inverses: Vec<f32>,
    /// Dropout's factors.
    pub mask: Option<Vec<f32>>,
}

impl PlainNorm {
    pub fn new(norm: &LayerNorm, epsilon: f64) -> Self {
        let (gamma, beta) = norm_values(norm);
        Self { gamma, beta, epsilon: epsilon as f32 }
    }

    /// `x ← norm(x)` row by row.
    pub fn record(&self, x: &mut [f32], mask: Option<Vec<f32>>) -> NormTape {
        let (mut normalised, mut inverses) = (vec![0.0; x.len()], vec![0.0; x.len() / self.gamma.len()]);
        backward::norm_into(x, &self.gamma, &self.beta, self.epsilon, &mut normalised, &mut inverses);
        NormTape { normalised, inverses, mask }
    }

    /// `g ←` gradient of the norm's input; returns those of gamma and beta.
    pub fn backward(&self, tape: &NormTape, g: &mut [f32]) -> [Vec<f32>; 2] {
        let [mut of_gamma, mut of_beta] = [(); 2].map(|()| vec![0.0; self.gamma.len()]);
        backward::norm(g, &tape.normalised, &tape.inverses, &self.gamma, &mut of_gamma, &mut of_beta);
        [of_gamma, of_beta]
    }
}
