//! Loops between the products of a forward pass. `network/ops.rs` gives the shapes.

use multiversion::multiversion;

use crate::models::kernels::arithmetic::{erf, moments};

/// `x ← gelu(x + bias)` row by row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn add_bias_gelu(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (value, &b) in row.iter_mut().zip(bias) {
            let shifted = *value + b;
            *value = 0.5 * shifted * (1.0 + erf(shifted * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

/// `x ← norm(x + bias + residual) · gamma + beta`, row by row, with `norm(y) = (y − mean(y)) / sqrt(var(y) + ε)`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn add_norm(x: &mut [f32], residual: &[f32], bias: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
    let width = bias.len();
    for (row, residual) in x.chunks_exact_mut(width).zip(residual.chunks_exact(width)) {
        for ((value, &r), &b) in row.iter_mut().zip(residual).zip(bias) {
            *value += r + b;
        }
        let (mean, inverse) = moments(row, epsilon);
        for ((value, &g), &b) in row.iter_mut().zip(gamma).zip(beta) {
            *value = (*value - mean) * inverse * g + b;
        }
    }
}
