//! Loops of a forward pass. `network/ops.rs` gives the shapes.

use multiversion::multiversion;

use crate::models::kernels::arithmetic::{LANES, erf, exp, moments};

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

/// Rows of keys in a sequence, rows of queries in it, and the width of a head.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    pub tokens: usize,
    pub queries: usize,
    pub width: usize,
}

/// What attention keeps for its gradient.
pub struct AttentionRecord<'a> {
    /// `[B, N, queries, T]` softmax of the scores; rows and columns of padding are not written.
    pub probabilities: &'a mut [f32],
    /// Dropout's factors of the probabilities, of the same shape.
    pub mask: Option<&'a [f32]>,
}

/// Attention of every head of every sequence; sequence `s` owns rows `s·tokens .. s·tokens + lengths[s]`.
///
/// `width` is that of a head. The first `queries` tokens of a sequence have queries, all have keys: `q` and the context have
/// `queries` rows per sequence. Rows past a sequence's length are padding: never read, their context stays zero.
/// `distances` `[N, 2·tokens − 1]` is added to the scores by head and by key minus query.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
pub fn attention(
    context: &mut [f32],
    [q, k, v]: [&[f32]; 3],
    [q_bias, k_bias, v_bias]: &[Vec<f32>; 3],
    AttentionShape { tokens, queries, width }: AttentionShape,
    lengths: &[usize],
    distances: Option<&[f32]>,
    mut record: Option<AttentionRecord>,
) {
    let hidden = q_bias.len();
    let scale = 1.0 / (width as f32).sqrt();
    let longest = lengths.iter().copied().max().unwrap_or(0).next_multiple_of(LANES);
    let (mut query, mut keys, mut scores) = (vec![0.0; width], vec![0.0; longest * width], vec![0.0; longest]);
    for (sequence, &length) in lengths.iter().enumerate() {
        let first = sequence * tokens;
        // whole registers only: the lanes past the last key are computed and never read
        let lanes = length.next_multiple_of(LANES);
        for head in (0..hidden).step_by(width) {
            let at = |token: usize| (first + token) * hidden + head..(first + token) * hidden + head + width;
            let query_row = |token: usize| {
                let start = (sequence * queries + token) * hidden + head;
                start..start + width
            };
            let of_head = head..head + width;
            // keys transposed, so that one query meets all keys in contiguous memory
            for token in 0..length {
                for (d, (&key, &b)) in k[at(token)].iter().zip(&k_bias[of_head.clone()]).enumerate() {
                    keys[d * lanes + token] = key + b;
                }
            }
            for token in 0..length.min(queries) {
                for ((out, &value), &b) in query.iter_mut().zip(&q[query_row(token)]).zip(&q_bias[of_head.clone()]) {
                    *out = (value + b) * scale;
                }
                let scores = &mut scores[..lanes];
                for (at, scores) in scores.chunks_exact_mut(LANES).enumerate() {
                    let mut sums = [0.0f32; LANES];
                    for (&query, keys) in query.iter().zip(keys.chunks_exact(lanes)) {
                        for (sum, &key) in sums.iter_mut().zip(&keys[at * LANES..(at + 1) * LANES]) {
                            *sum += query * key;
                        }
                    }
                    scores.copy_from_slice(&sums);
                }
                if let Some(distances) = distances {
                    let first_key = head / width * (2 * tokens - 1) + tokens - 1 - token;
                    for (score, &bias) in scores.iter_mut().zip(&distances[first_key..first_key + length]) {
                        *score += bias;
                    }
                }
                let most = scores[..length].iter().copied().fold(f32::MIN, f32::max);
                for score in scores.iter_mut() {
                    *score = exp(*score - most);
                }
                let weights = &mut scores[..length];
                let inverse = 1.0 / weights.iter().sum::<f32>();
                weights.iter_mut().for_each(|weight| *weight *= inverse);
                // without dropout the weights sum to one
                let mut total = 1.0;
                if let Some(record) = &mut record {
                    let row = ((sequence * hidden + head) / width * queries + token) * tokens;
                    record.probabilities[row..row + length].copy_from_slice(weights);
                    if let Some(mask) = record.mask {
                        weights.iter_mut().zip(&mask[row..row + length]).for_each(|(weight, &m)| *weight *= m);
                        total = weights.iter().sum();
                    }
                }
                let out = &mut context[query_row(token)];
                out.iter_mut().zip(&v_bias[of_head.clone()]).for_each(|(out, &b)| *out = b * total);
                for (other, &weight) in weights.iter().enumerate() {
                    for (out, &value) in out.iter_mut().zip(&v[at(other)]) {
                        *out += weight * value;
                    }
                }
            }
        }
    }
}
