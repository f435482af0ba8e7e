//! Loops of the training path on the plain CPU: forward ones that keep what a gradient needs, and the gradients.
//!
//! Each is the derivative of the function of the same name in `forward.rs`; a gradient `g` is `∂L/∂` of what that function wrote.

use multiversion::multiversion;

use crate::models::kernels::arithmetic::{LANES, erf, exp, moments, sum};
use crate::models::kernels::attention::AttentionShape;

/// `x ← x + bias`, `out ← gelu(x)`, row by row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn add_bias_gelu_into(x: &mut [f32], bias: &[f32], out: &mut [f32]) {
    for (row, out) in x.chunks_exact_mut(bias.len()).zip(out.chunks_exact_mut(bias.len())) {
        for ((value, &b), out) in row.iter_mut().zip(bias).zip(out) {
            *value += b;
            *out = 0.5 * *value * (1.0 + erf(*value * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

/// `g ← g · gelu'(x)` with `gelu'(x) = Φ(x) + x φ(x)`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn gelu(g: &mut [f32], x: &[f32]) {
    const INVERSE_ROOT: f32 = 0.398_942_3; // 1 / √(2π)
    for (g, &x) in g.iter_mut().zip(x) {
        let cumulative = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
        *g *= cumulative + x * INVERSE_ROOT * exp(-0.5 * x * x);
    }
}

/// `x ← (x + bias) · mask + residual`, row by row. Without a mask it is ones.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn add_residual(x: &mut [f32], bias: &[f32], mask: Option<&[f32]>, residual: &[f32]) {
    let width = bias.len();
    for (at, (row, residual)) in x.chunks_exact_mut(width).zip(residual.chunks_exact(width)).enumerate() {
        row.iter_mut().zip(bias).for_each(|(value, &b)| *value += b);
        if let Some(mask) = mask {
            row.iter_mut().zip(&mask[at * width..(at + 1) * width]).for_each(|(value, &m)| *value *= m);
        }
        row.iter_mut().zip(residual).for_each(|(value, &r)| *value += r);
    }
}

/// `normalised ← norm(x)`, `x ← normalised · gamma + beta`, and `1 / sqrt(var + ε)` of every row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn norm_into(
    x: &mut [f32],
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    normalised: &mut [f32],
    inverses: &mut [f32],
) {
    let width = gamma.len();
    let rows = x.chunks_exact_mut(width).zip(normalised.chunks_exact_mut(width));
    for ((row, normalised), kept) in rows.zip(inverses) {
        let (mean, inverse) = moments(row, epsilon);
        *kept = inverse;
        for (((value, out), &g), &b) in row.iter_mut().zip(normalised).zip(gamma).zip(beta) {
            *out = (*value - mean) * inverse;
            *value = *out * g + b;
        }
    }
}

/// `g ←` gradient of the norm's input; adds to those of `gamma` and `beta`.
///
/// With `h = g · gamma` and x̂ the normalised row: `∂L/∂x = (h − mean(h) − x̂ · mean(h · x̂)) / σ`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn norm(
    g: &mut [f32],
    normalised: &[f32],
    inverses: &[f32],
    gamma: &[f32],
    of_gamma: &mut [f32],
    of_beta: &mut [f32],
) {
    let width = gamma.len();
    let rows = g.chunks_exact_mut(width).zip(normalised.chunks_exact(width));
    for ((row, normalised), &inverse) in rows.zip(inverses) {
        for (((g, &x), of_gamma), of_beta) in row.iter_mut().zip(normalised).zip(&mut *of_gamma).zip(&mut *of_beta) {
            *of_gamma += *g * x;
            *of_beta += *g;
        }
        row.iter_mut().zip(gamma).for_each(|(g, &scale)| *g *= scale);
        let mean = sum(row, |h| h) / width as f32;
        let along = dot(row, normalised) / width as f32;
        for (g, &x) in row.iter_mut().zip(normalised) {
            *g = (*g - mean - x * along) * inverse;
        }
    }
}

/// `total ← total + Σ rows of g`: the gradient of a bias.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn bias(g: &[f32], total: &mut [f32]) {
    for row in g.chunks_exact(total.len()) {
        total.iter_mut().zip(row).for_each(|(total, &g)| *total += g);
    }
}

/// `out ← a · b`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn multiply(a: &mut [f32], b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, &b)| *a *= b);
}

/// `total ← total + a`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn add(total: &mut [f32], a: &[f32]) {
    total.iter_mut().zip(a).for_each(|(total, &a)| *total += a);
}

/// Gradients of queries, keys and values from that of the context; shapes as in `attention` of `forward.rs`.
///
/// With probabilities P, dropout's factors M and values V: `∂L/∂V = (P∘M)ᵀ g`; `D = M ∘ (g Vᵀ)`;
/// `∂L/∂S = P ∘ (D − rowsum(P ∘ D))`; queries and keys get `∂L/∂S` times the others, scaled.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn attention(
    g: &[f32],
    [q, k, v]: [&[f32]; 3],
    [q_bias, k_bias, v_bias]: &[Vec<f32>; 3],
    (probabilities, mask): (&[f32], Option<&[f32]>),
    AttentionShape { tokens, queries, width }: AttentionShape,
    lengths: &[usize],
    [of_q, of_k, of_v]: [&mut [f32]; 3],
) {
    let hidden = q_bias.len();
    let scale = 1.0 / (width as f32).sqrt();
    let longest = lengths.iter().copied().max().unwrap_or(0).next_multiple_of(LANES);
    let (mut values, mut of_scores) = (vec![0.0; longest * width], vec![0.0f32; longest]);
    let (mut keys, mut query) = (vec![0.0f32; longest * width], vec![0.0f32; width]);
    for (sequence, &length) in lengths.iter().enumerate() {
        let first = sequence * tokens;
        let lanes = length.next_multiple_of(LANES);
        for head in (0..hidden).step_by(width) {
            let at = |token: usize| (first + token) * hidden + head..(first + token) * hidden + head + width;
            let query_row = |token: usize| {
                let start = (sequence * queries + token) * hidden + head;
                start..start + width
            };
            let of_head = head..head + width;
            // values transposed, so that one row of the gradient meets all of them in contiguous memory
            for token in 0..length {
                for (d, (&value, &b)) in v[at(token)].iter().zip(&v_bias[of_head.clone()]).enumerate() {
                    values[d * lanes + token] = value + b;
                }
                let row = &mut keys[token * width..(token + 1) * width];
                for ((out, &key), &b) in row.iter_mut().zip(&k[at(token)]).zip(&k_bias[of_head.clone()]) {
                    *out = (key + b) * scale;
                }
            }
            for token in 0..length.min(queries) {
                let g = &g[query_row(token)];
                for (at, out) in of_scores[..lanes].chunks_exact_mut(LANES).enumerate() {
                    let mut sums = [0.0f32; LANES];
                    for (&g, values) in g.iter().zip(values.chunks_exact(lanes)) {
                        for (sum, &value) in sums.iter_mut().zip(&values[at * LANES..(at + 1) * LANES]) {
                            *sum += g * value;
                        }
                    }
                    out.copy_from_slice(&sums);
                }
                let row = ((sequence * hidden + head) / width * queries + token) * tokens;
                let probabilities = &probabilities[row..row + length];
                let of_scores = &mut of_scores[..length];
                if let Some(mask) = mask {
                    of_scores.iter_mut().zip(&mask[row..row + length]).for_each(|(d, &m)| *d *= m);
                }
                let along = dot(of_scores, probabilities);
                of_scores.iter_mut().zip(probabilities).for_each(|(d, &p)| *d = p * (*d - along));
                for ((out, &value), &b) in query.iter_mut().zip(&q[query_row(token)]).zip(&q_bias[of_head.clone()]) {
                    *out = (value + b) * scale;
                }
                let of_query = &mut of_q[query_row(token)];
                for other in 0..length {
                    let d = of_scores[other];
                    let key = &keys[other * width..(other + 1) * width];
                    of_query.iter_mut().zip(key).for_each(|(out, &key)| *out += d * key);
                    of_k[at(other)].iter_mut().zip(&query).for_each(|(out, &query)| *out += d * query);
                    let weight = probabilities[other] * mask.map_or(1.0, |mask| mask[row + other]);
                    of_v[at(other)].iter_mut().zip(g).for_each(|(out, &g)| *out += weight * g);
                }
            }
        }
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, others) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = chunks.remainder().iter().zip(others.remainder()).map(|(&a, &b)| a * b).sum();
    for (a, b) in chunks.zip(others) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + tail
}
