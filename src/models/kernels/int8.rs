//! Matrix products in 8 bits: codes of activations times codes of weights, summed exactly in 32-bit integers.
//!
//! A row of activations is `x ≈ scale · code + zero` with codes 0 to 255 over the row's own range; a column of weights is
//! `W ≈ scale · code` with signed codes. So
//!
//! ```text
//! x W = scale_x · scale_w · Σ code_x · code_w  +  zero_x · scale_w · Σ code_w
//! ```
//!
//! The codes of two weights that follow each other in a column have magnitudes of at most 128 together, because their
//! products must fit into the 16 bits of AVX2's `maddubs` (255 · 128 < 2¹⁵). So no kernel ever saturates, all of them give the
//! same integers. Weights that are large come seldom in pairs, so this costs
//! next to nothing against a whole byte for each weight, and half as much as 7 bits (BENCHMARKS.md). An instruction
//! that multiplies signed codes alone gets those of the activations less 128; `128 · Σ code_w` is added to its sums, as an integer.
//!
//! Shapes: R rows, d_in and d_out the widths of input and output.

use std::sync::LazyLock;

use multiversion::multiversion;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::models::kernels::amx;
use crate::models::kernels::arithmetic::LANES;
#[cfg(target_arch = "aarch64")]
use crate::models::kernels::neon;
use crate::models::kernels::rounded::{self, Kernel, ROWS, RoundedMatrix, RoundedRows, STEP, Sums};
#[cfg(target_arch = "x86_64")]
use crate::models::kernels::x86::{avx_vnni, avx2, avx512_vnni};

/// Sum of the magnitudes of two weights in units of their scale; rounding adds at most 1.
const MOST: f32 = 127.0;

const PORTABLE: Kernel<i32> = Kernel::new("portable", PORTABLE_COLUMNS, 4, portable::<4, 0>);

const PORTABLE_COLUMNS: usize = 16;

/// The kernels that this processor has, the fastest first.
fn available() -> Vec<Kernel<i32>> {
    let mut kernels = Vec::new();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if amx::multiplies_int8() {
        kernels.push(Kernel {
            begin: amx::begin,
            end: amx::end,
            ..Kernel::new("AMX", rounded::COLUMNS, ROWS, amx::int8)
        });
    }
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            kernels.push(Kernel::new("AVX-512 VNNI", rounded::COLUMNS, 6, avx512_vnni));
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni") {
            kernels.push(Kernel::new("AVX-VNNI", 16, 6, avx_vnni));
        }
        if is_x86_feature_detected!("avx2") {
            kernels.push(Kernel::new("AVX2", 16, 4, avx2));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if std::arch::is_aarch64_feature_detected!("i8mm") {
            kernels.push(Kernel { unit: 8, ..Kernel::new("NEON I8MM", neon::COLUMNS, neon::ROWS, neon::i8mm) });
        }
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            kernels.push(Kernel { shift: 128, ..Kernel::new("NEON dot", neon::COLUMNS, neon::ROWS, neon::dot) });
        }
    }
    kernels.push(PORTABLE);
    kernels
}

static FASTEST: LazyLock<Kernel<i32>> = LazyLock::new(|| available()[0]);

/// Whether this processor has instructions for products in 8 bits.
pub fn is_fast() -> bool {
    FASTEST.name != PORTABLE.name
}

/// A matrix `[d_in, d_out]` in 8 bits, a scale per column, packed for this processor.
#[derive(Debug, Clone)]
pub struct Int8Matrix {
    widths: [usize; 2],
    kernel: Kernel<i32>,
    /// `[⌈d_out / columns⌉, depth / unit, columns, unit]`, depth as in [`Codes`]; zeros past the edges.
    panels: Vec<u8>,
    /// The kernel's shift times the sum of the codes, `[d_out]`: what its sums are too small by.
    corrections: Vec<i32>,
    /// `[d_out]`.
    scales: Vec<f32>,
    /// Scale times the sum of the codes, `[d_out]`.
    sums: Vec<f32>,
}

impl Int8Matrix {
    fn with_kernel(weight: &[f32], widths: [usize; 2], kernel: Kernel<i32>) -> Self {
        let [d_in, d_out] = widths;
        let mut largest = vec![0.0f32; d_out];
        for pair in weight.chunks(2 * d_out) {
            for (to, most) in largest.iter_mut().enumerate() {
                let sum: f32 = pair.iter().skip(to).step_by(d_out).map(|w| w.abs()).sum();
                // a weight that is not a number makes its column's scale not one
                if sum > *most || sum.is_nan() {
                    *most = sum;
                }
            }
        }
        let scales: Vec<f32> = largest.iter().map(|most| most / MOST).collect();
        let inverses: Vec<f32> = scales.iter().map(|&scale| if scale > 0.0 { 1.0 / scale } else { 0.0 }).collect();
        let depth = d_in.next_multiple_of(STEP);
        let mut panels = vec![0u8; kernel.panel_bytes(d_out, depth)];
        let mut sums = vec![0i32; d_out];
        for (from, row) in weight.chunks_exact(d_out).enumerate() {
            for (to, &w) in row.iter().enumerate() {
                let code = (w * inverses[to]).round() as i8;
                panels[kernel.position(to, from, depth)] = code as u8;
                sums[to] += i32::from(code);
            }
        }
        let corrections = sums.iter().map(|sum| kernel.shift * sum).collect();
        let sums = sums.iter().zip(&scales).map(|(&sum, scale)| sum as f32 * scale).collect();
        Self { widths, kernel, panels, corrections, scales, sums }
    }
}

impl RoundedMatrix for Int8Matrix {
    type Rows = Codes;

    fn new(weight: &[f32], widths: [usize; 2]) -> Self {
        Self::with_kernel(weight, widths, *FASTEST)
    }

    fn product(&self, x: &Codes, out: &mut [f32]) {
        let d_out = self.widths[1];
        debug_assert_eq!(x.depth, self.widths[0].next_multiple_of(STEP));
        rounded::multiply(&self.kernel, (&x.codes, x.depth), &self.panels, (out, d_out), |out, columns, rows, sums| {
            let of_columns = (&self.corrections[columns.clone()], &self.scales[columns.clone()], &self.sums[columns]);
            restore(out, d_out, sums, &x.ranges[rows], of_columns);
        });
    }
}

/// Sums of codes back to values, for rows that lie `d_out` apart. `of_columns` are corrections, scales, and scales
/// times sums of codes.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn restore(
    out: &mut [f32],
    d_out: usize,
    sums: &Sums<i32>,
    ranges: &[(f32, f32)],
    of_columns: (&[i32], &[f32], &[f32]),
) {
    let (corrections, scales, constants) = of_columns;
    for ((out, sums), &(scale, zero)) in out.chunks_mut(d_out).zip(sums).zip(ranges) {
        let columns = corrections.iter().zip(scales).zip(constants);
        for ((out, &sum), ((&correction, &of_column), &constant)) in out.iter_mut().zip(sums).zip(columns) {
            *out = (sum + correction) as f32 * (scale * of_column) + zero * constant;
        }
    }
}

/// Rows of activations in 8 bits.
#[derive(Debug, Default)]
pub struct Codes {
    /// `[R, depth]`, R rounded up to whole blocks of rows; what is past the edges is multiplied and never read, or by zero.
    codes: Vec<u8>,
    /// d_in, rounded up to whole steps.
    depth: usize,
    /// Scale and zero of every row.
    ranges: Vec<(f32, f32)>,
}

impl RoundedRows for Codes {
    /// Each row is rounded to its own range.
    fn set(&mut self, x: &[f32], width: usize) {
        self.depth = width.next_multiple_of(STEP);
        let rows = x.len() / width;
        self.codes.resize(rows.next_multiple_of(ROWS) * self.depth, 0);
        self.ranges.resize(rows, (0.0, 0.0));
        round_rows(x, width, &mut self.codes, self.depth, &mut self.ranges);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn round_rows(x: &[f32], width: usize, codes: &mut [u8], depth: usize, ranges: &mut [(f32, f32)]) {
    // 2²³: added to a value of 0 to 255, it leaves the nearest integer in the lowest byte
    const ROUND: f32 = 8_388_608.0;
    for ((row, codes), range) in x.chunks_exact(width).zip(codes.chunks_exact_mut(depth)).zip(ranges) {
        let (zero, most, unless_finite) = range_of(row);
        let scale = (most - zero) / 255.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (code, &v) in codes.iter_mut().zip(row) {
            *code = ((v - zero) * inverse + ROUND).to_bits() as u8;
        }
        *range = (scale + unless_finite, zero);
    }
}

/// The least and the largest value of a row, and 0, or NaN if a value is not finite: codes would hide it.
#[inline(always)]
fn range_of(row: &[f32]) -> (f32, f32, f32) {
    // `min` and `max` of f32 are slower: they look for NaN
    let lower = |v: f32, least: f32| if v < least { v } else { least };
    let higher = |v: f32, most: f32| if v > most { v } else { most };
    let (mut least, mut most, mut nothing) = ([f32::MAX; LANES], [f32::MIN; LANES], [0.0f32; LANES]);
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (((&v, least), most), nothing) in chunk.iter().zip(&mut least).zip(&mut most).zip(&mut nothing) {
            *least = lower(v, *least);
            *most = higher(v, *most);
            *nothing += 0.0 * v;
        }
    }
    for (&v, ((least, most), nothing)) in rest.iter().zip(least.iter_mut().zip(&mut most).zip(&mut nothing)) {
        *least = lower(v, *least);
        *most = higher(v, *most);
        *nothing += 0.0 * v;
    }
    (
        least.iter().fold(f32::MAX, |best, &v| lower(v, best)),
        most.iter().fold(f32::MIN, |best, &v| higher(v, best)),
        nothing.iter().sum(),
    )
}

fn portable<const UNIT: usize, const SHIFT: i32>(
    codes: &[u8],
    rows: usize,
    depth: usize,
    panel: &[u8],
    sums: &mut Sums<i32>,
) {
    for (row, sums) in codes.chunks_exact(depth).zip(sums).take(rows) {
        let sums = &mut sums[..PORTABLE_COLUMNS];
        sums.fill(0);
        for (x, weights) in row.as_chunks::<UNIT>().0.iter().zip(panel.chunks_exact(PORTABLE_COLUMNS * UNIT)) {
            for (sum, w) in sums.iter_mut().zip(weights.as_chunks::<UNIT>().0) {
                *sum += x.iter().zip(w).map(|(&x, &w)| (i32::from(x) - SHIFT) * i32::from(w as i8)).sum::<i32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Those of this machine, and one that takes units and codes as the kernels of ARM do.
    fn all() -> Vec<Kernel<i32>> {
        let like_arm =
            Kernel { unit: 8, shift: 128, ..Kernel::new("like ARM", PORTABLE_COLUMNS, 4, portable::<8, 128>) };
        available().into_iter().chain([like_arm]).collect()
    }

    /// The product in f64 from the codes that were chosen.
    fn plain(x: &[f32], weight: &[f32], [d_in, d_out]: [usize; 2]) -> Vec<f32> {
        let rows = x.len() / d_in;
        let mut out = Vec::with_capacity(rows * d_out);
        for row in x.chunks_exact(d_in) {
            let (least, most) = row.iter().fold((f32::MAX, f32::MIN), |(l, m), &v| (l.min(v), m.max(v)));
            let scale = (most - least) / 255.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            let codes: Vec<i64> = row.iter().map(|v| ((v - least) * inverse).round_ties_even() as i64).collect();
            for column in 0..d_out {
                let of_column: Vec<f32> = weight.iter().skip(column).step_by(d_out).copied().collect();
                let pairs = of_column.chunks(2).map(|pair| pair.iter().map(|w| w.abs()).sum());
                let of_weight = pairs.fold(0.0f32, f32::max) / MOST;
                let inverse = if of_weight > 0.0 { 1.0 / of_weight } else { 0.0 };
                let weights: Vec<i64> = of_column.iter().map(|w| (w * inverse).round() as i64).collect();
                let sum: i64 = codes.iter().zip(&weights).map(|(x, w)| x * w).sum();
                let constant = weights.iter().sum::<i64>() as f32 * of_weight;
                out.push(sum as f32 * (scale * of_weight) + least * constant);
            }
        }
        out
    }

    fn values(count: usize, spread: f32) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(prop_oneof![9 => -1.0f32..1.0, 1 => Just(0.0)], count)
            .prop_map(move |values| values.iter().map(|v| v * spread).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn every_kernel_of_this_machine_gives_the_plain_product(
            (widths, x, weight) in (1usize..70, 1usize..150, 1usize..150).prop_flat_map(|(rows, d_in, d_out)| {
                (Just([d_in, d_out]), values(rows * d_in, 3.0), values(d_in * d_out, 0.1))
            }),
        ) {
            let expected = plain(&x, &weight, widths);
            let mut codes = Codes::default();
            codes.set(&x, widths[0]);
            for kernel in all() {
                let mut out = vec![f32::NAN; expected.len()];
                Int8Matrix::with_kernel(&weight, widths, kernel).product(&codes, &mut out);
                prop_assert_eq!(&out, &expected, "{}", kernel.name);
            }
        }
    }

    #[test]
    fn the_largest_codes_do_not_overflow() {
        let (d_in, d_out) = (4096, 64);
        let mut x = vec![1.0f32; d_in];
        x[0] = 0.0;
        let mut codes = Codes::default();
        codes.set(&x, d_in);
        // the first of each pair, both, and the second with the other sign
        for pair in [[1.0, 0.0], [0.5, 0.5], [-0.25, -0.75]] {
            let weight: Vec<f32> = (0..d_in * d_out).map(|at| pair[at / d_out % 2]).collect();
            let expected: f32 = x.iter().enumerate().map(|(at, x)| x * pair[at % 2]).sum();
            for kernel in all() {
                let mut out = vec![0.0; d_out];
                Int8Matrix::with_kernel(&weight, [d_in, d_out], kernel).product(&codes, &mut out);
                assert!(
                    out.iter().all(|&v| (v - expected).abs() < 0.01 * expected.abs()),
                    "{}: {} {expected}",
                    kernel.name,
                    out[0]
                );
            }
        }
    }

    #[test]
    fn a_weight_that_is_not_a_number_is_not_hidden() {
        let mut weight = vec![1.0; 8 * 3];
        weight[4] = f32::NAN;
        let (mut codes, mut out) = (Codes::default(), vec![0.0; 3]);
        codes.set(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 8);
        Int8Matrix::new(&weight, [8, 3]).product(&codes, &mut out);
        assert!(out[1].is_nan() && !out[0].is_nan() && !out[2].is_nan());
        // nor is a value
        codes.set(&[1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 8);
        Int8Matrix::new(&[1.0; 8 * 3], [8, 3]).product(&codes, &mut out);
        assert!(out.iter().all(|v| v.is_nan()));
    }
}
