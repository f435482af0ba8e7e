//! Matrix products in bf16 with sums in f32, for processors with instructions for them.
//!
//! Activations and weights are rounded to the nearest value in bf16, which has 8 bits of significand and the range of f32. The
//! instructions add two or four products at a time, and numbers below 2⁻¹²⁶ count as 0. Each kind of processor adds in an order of
//! its own, so the last bits of a sum depend on the processor; on one processor they do not depend on the batch.
//!
//! Shapes: R rows, d_in and d_out the widths of input and output.

use std::sync::LazyLock;

use multiversion::multiversion;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::models::kernels::amx;
#[cfg(target_arch = "aarch64")]
use crate::models::kernels::neon;
use crate::models::kernels::rounded::{self, Kernel, ROWS, RoundedMatrix, RoundedRows, STEP};
#[cfg(target_arch = "x86_64")]
use crate::models::kernels::x86::avx512_bf16;

/// Bytes of a value.
const BYTES: usize = 2;

/// The kernels that this processor has, the fastest first.
fn available() -> Vec<Kernel<f32>> {
    let mut kernels = Vec::new();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if amx::multiplies_bf16() {
        kernels.push(Kernel {
            begin: amx::begin,
            end: amx::end,
            ..Kernel::new("AMX", rounded::COLUMNS, ROWS, amx::bf16)
        });
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        kernels.push(Kernel::new("AVX-512 BF16", rounded::COLUMNS, 6, avx512_bf16));
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("bf16") {
        kernels.push(Kernel { unit: 8, ..Kernel::new("NEON BF16", neon::COLUMNS, neon::ROWS, neon::bf16) });
    }
    kernels
}

static FASTEST: LazyLock<Option<Kernel<f32>>> = LazyLock::new(|| available().first().copied());

/// Whether this processor has instructions for products in bf16.
pub fn is_fast() -> bool {
    FASTEST.is_some()
}

/// A matrix in bf16, packed for this processor. Only where [`is_fast`] says so.
#[derive(Debug, Clone)]
pub struct Bf16Matrix {
    widths: [usize; 2],
    kernel: Kernel<f32>,
    /// `[⌈d_out / columns⌉, depth / unit, columns, unit]`, depth as in [`Bf16Rows`]; zeros past the edges.
    panels: Vec<u8>,
}

impl Bf16Matrix {
    fn with_kernel(weight: &[f32], widths: [usize; 2], kernel: Kernel<f32>) -> Self {
        let [d_in, d_out] = widths;
        let depth = (d_in * BYTES).next_multiple_of(STEP);
        let mut panels = vec![0; kernel.panel_bytes(d_out, depth)];
        for (from, row) in weight.chunks_exact(d_out).enumerate() {
            for (to, &w) in row.iter().enumerate() {
                let at = kernel.position(to, from * BYTES, depth);
                panels[at..at + BYTES].copy_from_slice(&nearest(w).to_le_bytes());
            }
        }
        Self { widths, kernel, panels }
    }
}

impl RoundedMatrix for Bf16Matrix {
    type Rows = Bf16Rows;

    fn new(weight: &[f32], widths: [usize; 2]) -> Self {
        let kernel =
            FASTEST.unwrap_or_else(|| unreachable!("an encoder asks `is_fast` before it makes layers in bf16"));
        Self::with_kernel(weight, widths, kernel)
    }

    fn product(&self, x: &Bf16Rows, out: &mut [f32]) {
        let d_out = self.widths[1];
        debug_assert_eq!(x.depth, (self.widths[0] * BYTES).next_multiple_of(STEP));
        rounded::multiply(
            &self.kernel,
            (&x.values, x.depth),
            &self.panels,
            (out, d_out),
            |out, columns, rows, sums| {
                for (out, sums) in out.chunks_mut(d_out).zip(&sums[..rows.len()]) {
                    out[..columns.len()].copy_from_slice(&sums[..columns.len()]);
                }
            },
        );
    }
}

/// Rows of activations in bf16.
#[derive(Debug, Default)]
pub struct Bf16Rows {
    /// `[R, depth]` bytes, R rounded up to whole blocks of rows.
    values: Vec<u8>,
    /// d_in.
    width: usize,
    /// Bytes of a row, rounded up to whole steps.
    depth: usize,
}

impl RoundedRows for Bf16Rows {
    fn set(&mut self, x: &[f32], width: usize) {
        let depth = (width * BYTES).next_multiple_of(STEP);
        let bytes = (x.len() / width).next_multiple_of(ROWS) * depth;
        if width != self.width {
            // what another width left past the edge could be NaN, which times zero is not zero
            self.values.clear();
        }
        (self.width, self.depth) = (width, depth);
        self.values.resize(bytes, 0);
        round_rows(x, width, &mut self.values, depth);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma+avx2", "x86_64+avx2+fma"))]
fn round_rows(x: &[f32], width: usize, out: &mut [u8], depth: usize) {
    for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(depth)) {
        for (&v, out) in row.iter().zip(out.as_chunks_mut().0) {
            *out = nearest(v).to_le_bytes();
        }
    }
}

/// The nearest value in bf16, ties to even; not a number stays so. As `half::bf16::from_f32`, which the compiler does not vectorise.
#[inline(always)]
fn nearest(v: f32) -> u16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if v.is_nan() { 0x7fc0 } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use proptest::prelude::*;

    use super::*;

    fn values(count: usize, spread: f32) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1.0f32..1.0, count).prop_map(move |values| values.iter().map(|v| v * spread).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn every_kernel_of_this_machine_gives_the_plain_product(
            (widths, x, weight) in (1usize..70, 1usize..150, 1usize..150).prop_flat_map(|(rows, d_in, d_out)| {
                (Just([d_in, d_out]), values(rows * d_in, 3.0), values(d_in * d_out, 0.1))
            }),
        ) {
            let [d_in, d_out] = widths;
            let exact = |v: f32| f64::from(bf16::from_f32(v).to_f32());
            let mut rows = Bf16Rows::default();
            // what another width left behind changes nothing
            rows.set(&vec![f32::NAN; 5 * (d_in + 1)], d_in + 1);
            rows.set(&x, d_in);
            for kernel in available() {
                let mut out = vec![f32::NAN; x.len() / d_in * d_out];
                Bf16Matrix::with_kernel(&weight, widths, kernel).product(&rows, &mut out);
                for (row, out) in x.chunks_exact(d_in).zip(out.chunks_exact(d_out)) {
                    for (column, &out) in out.iter().enumerate() {
                        let of_column = weight.iter().skip(column).step_by(d_out);
                        let sum: f64 = row.iter().zip(of_column).map(|(&x, &w)| exact(x) * exact(w)).sum();
                        prop_assert!((f64::from(out) - sum).abs() < 1e-4, "{}: {out} {sum}", kernel.name);
                    }
                }
            }
        }

        #[test]
        fn values_are_rounded_as_half_does(bits in any::<u32>()) {
            let v = f32::from_bits(bits);
            let (ours, theirs) = (bf16::from_bits(nearest(v)), bf16::from_f32(v));
            prop_assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{v}: {ours} {theirs}");
        }
    }

    #[test]
    fn a_weight_or_a_value_that_is_not_a_number_is_not_hidden() {
        let (mut rows, mut out) = (Bf16Rows::default(), vec![0.0; 3]);
        let mut weight = vec![1.0; 8 * 3];
        weight[4] = f32::NAN;
        for kernel in available() {
            rows.set(&[1.0; 8], 8);
            Bf16Matrix::with_kernel(&weight, [8, 3], kernel).product(&rows, &mut out);
            assert!(out[1].is_nan() && !out[0].is_nan() && !out[2].is_nan(), "{}: {out:?}", kernel.name);
            rows.set(&[1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 8);
            Bf16Matrix::with_kernel(&[1.0; 8 * 3], [8, 3], kernel).product(&rows, &mut out);
            assert!(out.iter().all(|v| v.is_nan()), "{}: {out:?}", kernel.name);
        }
    }
}
