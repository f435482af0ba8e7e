//! Attention of a forward pass, one head of one sequence at a time.
//!
//! A register holds one number for each of `LANES` queries. So softmax is taken in all lanes at once, its sums run over the
//! keys in their order, and neither a score nor a context is ever summed across the lanes of a register.

use multiversion::multiversion;

use crate::models::kernels::arithmetic::{LANES, exp};

/// Registers of sums at once, which do not wait for each other: scores of so many keys, or the context of so many queries.
const SUMS: usize = 8;

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
/// `queries` rows per sequence. Rows past a sequence's length are padding: never read, their context stays as it is.
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
    let longest = lengths.iter().copied().max().unwrap_or(0).next_multiple_of(SUMS);
    let padded = width.next_multiple_of(LANES);
    // whole registers and whole blocks of keys: what lies past the edges is computed and never read
    let (mut rows, mut query) = (vec![0.0; LANES * width], vec![0.0; LANES * width]);
    let (mut keys, mut values) = (vec![0.0; longest * width], vec![0.0; longest * padded]);
    let (mut bias, mut scores) = (vec![0.0; padded], vec![[0.0f32; LANES]; longest]);
    for (sequence, &length) in lengths.iter().enumerate() {
        for head in (0..hidden).step_by(width) {
            let of_head = head..head + width;
            for token in 0..length {
                let at = (sequence * tokens + token) * hidden + head;
                let row = keys[token * width..(token + 1) * width].iter_mut().zip(&k[at..at + width]);
                row.zip(&k_bias[of_head.clone()]).for_each(|((key, &k), &b)| *key = k + b);
                values[token * padded..token * padded + width].copy_from_slice(&v[at..at + width]);
            }
            bias[..width].copy_from_slice(&v_bias[of_head.clone()]);
            for first in (0..length.min(queries)).step_by(LANES) {
                let count = LANES.min(length.min(queries) - first);
                let at = |lane: usize| (sequence * queries + first + lane) * hidden + head;
                for (lane, row) in rows.chunks_exact_mut(width).enumerate().take(count) {
                    let row = row.iter_mut().zip(&q[at(lane)..at(lane) + width]);
                    row.zip(&q_bias[of_head.clone()]).for_each(|((out, &q), &b)| *out = (q + b) * scale);
                }
                transpose(&rows, &mut query, width);
                dot_products(&query, &keys[..length.next_multiple_of(SUMS) * width], &mut scores);
                let scores = &mut scores[..length];
                if let Some(distances) = distances {
                    let row = &distances[head / width * (2 * tokens - 1)..];
                    for (key, scores) in scores.iter_mut().enumerate() {
                        let of_key = row[..key + tokens - first].iter().rev();
                        scores[..count].iter_mut().zip(of_key).for_each(|(score, &bias)| *score += bias);
                    }
                }
                softmax(scores);
                // without dropout the weights sum to one
                let mut totals = [1.0; LANES];
                if let Some(record) = &mut record {
                    for lane in 0..count {
                        let row = ((sequence * hidden + head) / width * queries + first + lane) * tokens;
                        let probabilities = &mut record.probabilities[row..row + length];
                        probabilities.iter_mut().zip(&*scores).for_each(|(p, scores)| *p = scores[lane]);
                        if let Some(mask) = record.mask {
                            scores.iter_mut().zip(&mask[row..row + length]).for_each(|(s, &m)| s[lane] *= m);
                            totals[lane] = scores.iter().map(|scores| scores[lane]).sum();
                        }
                    }
                }
                for (chunk, bias) in bias.chunks_exact(LANES).enumerate() {
                    let (column, whole) = (chunk * LANES, LANES.min(width - chunk * LANES));
                    for start in (0..count).step_by(SUMS) {
                        let weights = scores.iter().map(|scores| std::array::from_fn(|lane| scores[start + lane]));
                        let totals = std::array::from_fn(|lane| totals[start + lane]);
                        let sums = weighted_sums(weights, &values[column..], padded, bias, totals);
                        for (lane, sums) in sums.iter().enumerate().take(count - start) {
                            context[at(start + lane) + column..][..whole].copy_from_slice(&sums[..whole]);
                        }
                    }
                }
            }
        }
    }
}

/// `[LANES, width] → [width, LANES]`.
#[inline(always)]
fn transpose(rows: &[f32], out: &mut [f32], width: usize) {
    for (d, out) in out.chunks_exact_mut(LANES).enumerate() {
        for (lane, out) in out.iter_mut().enumerate() {
            *out = rows[lane * width + d];
        }
    }
}

/// Scores `[keys, LANES]` of a register of queries `[width, LANES]` and whole blocks of keys `[keys, width]`.
#[inline(always)]
fn dot_products(query: &[f32], keys: &[f32], scores: &mut [[f32; LANES]]) {
    let width = query.len() / LANES;
    let (query, _) = query.as_chunks();
    for (keys, scores) in keys.chunks_exact(SUMS * width).zip(scores.as_chunks_mut().0) {
        let mut sums = [[0.0f32; LANES]; SUMS];
        let rows: [&[f32]; SUMS] = std::array::from_fn(|key| &keys[key * width..(key + 1) * width]);
        for (d, query) in query.iter().enumerate() {
            sums = add_scaled(sums, rows.map(|row| row[d]), query);
        }
        *scores = sums;
    }
}

/// Softmax over the keys, in every lane.
#[inline(always)]
fn softmax(scores: &mut [[f32; LANES]]) {
    let mut most = [f32::MIN; LANES];
    for scores in &*scores {
        for (most, &score) in most.iter_mut().zip(scores) {
            *most = if score > *most { score } else { *most };
        }
    }
    let mut sums = [0.0f32; LANES];
    for scores in &mut *scores {
        for ((score, &most), sum) in scores.iter_mut().zip(&most).zip(&mut sums) {
            *score = exp(*score - most);
            *sum += *score;
        }
    }
    let inverse = sums.map(|sum| 1.0 / sum);
    for scores in scores {
        scores.iter_mut().zip(&inverse).for_each(|(score, &inverse)| *score *= inverse);
    }
}

/// `total · bias + Σ weight · value` of some lanes, for LANES columns of the values: rows that lie `stride` apart.
#[inline(always)]
fn weighted_sums(
    weights: impl Iterator<Item = [f32; SUMS]>,
    values: &[f32],
    stride: usize,
    bias: &[f32],
    totals: [f32; SUMS],
) -> [[f32; LANES]; SUMS] {
    let mut sums: [[f32; LANES]; SUMS] = totals.map(|total| std::array::from_fn(|column| bias[column] * total));
    for (weights, values) in weights.zip(values.chunks(stride)) {
        let Some(values) = values.first_chunk::<LANES>() else { break };
        sums = add_scaled(sums, weights, values);
    }
    sums
}

/// `sum + factor · by` of each register of sums. Written out: in a loop the compiler keeps the sums in memory.
#[inline(always)]
fn add_scaled(sums: [[f32; LANES]; SUMS], factors: [f32; SUMS], by: &[f32; LANES]) -> [[f32; LANES]; SUMS] {
    let add = |mut sum: [f32; LANES], factor: f32| {
        sum.iter_mut().zip(by).for_each(|(sum, &by)| *sum += factor * by);
        sum
    };
    let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (sums, factors);
    [add(a, i), add(b, j), add(c, k), add(d, l), add(e, m), add(f, n), add(g, o), add(h, p)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Attention as its formula says, in f64.
    fn plain(
        [q, k, v]: [&[f32]; 3],
        [q_bias, k_bias, v_bias]: &[Vec<f32>; 3],
        AttentionShape { tokens, queries, width }: AttentionShape,
        lengths: &[usize],
        distances: Option<&[f32]>,
    ) -> Vec<f32> {
        let hidden = q_bias.len();
        let mut context = vec![0.0; lengths.len() * queries * hidden];
        for (sequence, &length) in lengths.iter().enumerate() {
            for query in 0..length.min(queries) {
                for head in 0..hidden / width {
                    let columns = head * width..(head + 1) * width;
                    let score = |key: usize| {
                        let of = |d: usize| {
                            let q = q[(sequence * queries + query) * hidden + d] + q_bias[d];
                            let k = k[(sequence * tokens + key) * hidden + d] + k_bias[d];
                            f64::from(q) * f64::from(k)
                        };
                        let bias = distances.map_or(0.0, |d| d[head * (2 * tokens - 1) + key + tokens - 1 - query]);
                        columns.clone().map(of).sum::<f64>() / (width as f64).sqrt() + f64::from(bias)
                    };
                    let weights: Vec<f64> = (0..length).map(|key| score(key).exp()).collect();
                    for d in columns.clone() {
                        let value = |key: usize| f64::from(v[(sequence * tokens + key) * hidden + d] + v_bias[d]);
                        let sum: f64 = weights.iter().enumerate().map(|(key, w)| w * value(key)).sum();
                        context[(sequence * queries + query) * hidden + d] = (sum / weights.iter().sum::<f64>()) as f32;
                    }
                }
            }
        }
        context
    }

    fn values(count: usize) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-2.0f32..2.0, count)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn attention_is_its_formula(
            (shape, lengths, qkv, biases, distances) in
                (1usize..40, 1usize..40, 1usize..4, any::<bool>()).prop_flat_map(|(tokens, width, heads, only_first)| {
                    let (queries, hidden) = (if only_first { 1 } else { tokens }, width * heads);
                    (
                        Just(AttentionShape { tokens, queries, width }),
                        prop::collection::vec(1..=tokens, 3),
                        (values(3 * queries * hidden), values(3 * tokens * hidden), values(3 * tokens * hidden)),
                        (values(hidden), values(hidden), values(hidden)),
                        prop::option::of(values(heads * (2 * tokens - 1))),
                    )
                }),
        ) {
            let (qkv, biases) = ([&*qkv.0, &*qkv.1, &*qkv.2], [biases.0, biases.1, biases.2]);
            let expected = plain(qkv, &biases, shape, &lengths, distances.as_deref());
            let mut context = vec![0.0; expected.len()];
            attention(&mut context, qkv, &biases, shape, &lengths, distances.as_deref(), None);
            for (at, (got, want)) in context.iter().zip(&expected).enumerate() {
                prop_assert!((got - want).abs() < 2e-5, "{at}: {got} {want}");
            }
        }
    }
}
