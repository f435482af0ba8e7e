//! Kernels for x86 processors. Each takes a few rows of activations and a panel of weights, and keeps all sums in registers.
//! What is multiplied in one lane has 4 bytes: four codes, or two values in bf16.

#![expect(unsafe_code, reason = "instructions that the compiler does not choose by itself")]

use std::arch::x86_64::*;

use crate::models::kernels::rounded::Sums;

/// Bytes of activations and of weights that are multiplied and added up in one lane of an instruction.
const UNIT: usize = 4;

/// Calls `$kernel` for the number of rows at hand.
macro_rules! by_rows {
    ($kernel:ident, $columns:expr, $codes:ident, $rows:ident, $depth:ident, $panel:ident, $sums:ident, [$($count:literal),*]) => {{
        assert!($codes.len() >= $rows * $depth && $panel.len() == $depth * $columns && $depth % UNIT == 0);
        match $rows {
            // SAFETY: `available` lists a kernel only where the processor has its instructions, and the lengths are as
            // the kernel reads them
            $($count => unsafe { $kernel::<$count>($codes, $depth, $panel, $sums) },)*
            _ => unreachable!("a kernel takes no more rows than it says"),
        }
    }};
}

pub fn avx512_vnni(codes: &[u8], rows: usize, depth: usize, panel: &[u8], sums: &mut Sums<i32>) {
    by_rows!(avx512_vnni_rows, 64, codes, rows, depth, panel, sums, [1, 2, 3, 4, 5, 6]);
}

pub fn avx512_bf16(codes: &[u8], rows: usize, depth: usize, panel: &[u8], sums: &mut Sums<f32>) {
    by_rows!(avx512_bf16_rows, 64, codes, rows, depth, panel, sums, [1, 2, 3, 4, 5, 6]);
}

pub fn avx_vnni(codes: &[u8], rows: usize, depth: usize, panel: &[u8], sums: &mut Sums<i32>) {
    by_rows!(avx_vnni_rows, 16, codes, rows, depth, panel, sums, [1, 2, 3, 4, 5, 6]);
}

pub fn avx2(codes: &[u8], rows: usize, depth: usize, panel: &[u8], sums: &mut Sums<i32>) {
    by_rows!(avx2_rows, 16, codes, rows, depth, panel, sums, [1, 2, 3, 4]);
}

/// The unit at `step` of a row.
///
/// # Safety
/// The row has that many units.
#[inline(always)]
unsafe fn unit(codes: *const u8, row: usize, depth: usize, step: usize) -> i32 {
    // SAFETY: see above
    unsafe { codes.add(row * depth + step * UNIT).cast::<i32>().read_unaligned() }
}

/// Kernels of 64 columns in four registers, which differ in how a unit is multiplied.
macro_rules! four_registers {
    ($name:ident, $features:literal, $register:ty, $zero:ident, $multiply:ident, $sums:ty) => {
        /// # Safety
        /// Lengths as `by_rows` asserts them.
        #[target_feature(enable = $features)]
        unsafe fn $name<const ROWS: usize>(codes: &[u8], depth: usize, panel: &[u8], sums: &mut $sums) {
            let mut acc = [[$zero(); 4]; ROWS];
            let (codes, panel) = (codes.as_ptr(), panel.as_ptr());
            for step in 0..depth / UNIT {
                // SAFETY: step is below depth / 4, and the panel has 256 bytes for each step
                let weights: [__m512i; 4] =
                    std::array::from_fn(|at| unsafe { _mm512_loadu_si512(panel.add(step * 256 + at * 64).cast()) });
                for (row, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: as above
                    let x = _mm512_set1_epi32(unsafe { unit(codes, row, depth, step) });
                    for (acc, &w) in acc.iter_mut().zip(&weights) {
                        *acc = $multiply(*acc, x, w);
                    }
                }
            }
            for (sums, acc) in sums.iter_mut().zip(acc) {
                for (sums, acc) in sums.chunks_exact_mut(16).zip(acc) {
                    // SAFETY: a chunk has 16 sums, as a register
                    unsafe { sums.as_mut_ptr().cast::<$register>().write_unaligned(acc) };
                }
            }
        }
    };
}

four_registers!(avx512_vnni_rows, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512, _mm512_dpbusd_epi32, Sums<i32>);
four_registers!(avx512_bf16_rows, "avx512f,avx512bf16", __m512, _mm512_setzero_ps, multiply_bf16, Sums<f32>);

/// `acc + Σ x · w` of each pair of values.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn multiply_bf16(acc: __m512, x: __m512i, w: __m512i) -> __m512 {
    // SAFETY: both types are 512 bits
    let [x, w] = unsafe { std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([x, w]) };
    _mm512_dpbf16_ps(acc, x, w)
}

/// Kernels of 16 columns in two registers, which differ in how a unit is multiplied.
macro_rules! two_registers {
    ($name:ident, $features:literal, $multiply:ident) => {
        /// # Safety
        /// Lengths as `by_rows` asserts them.
        #[target_feature(enable = $features)]
        unsafe fn $name<const ROWS: usize>(codes: &[u8], depth: usize, panel: &[u8], sums: &mut Sums<i32>) {
            let mut acc = [[_mm256_setzero_si256(); 2]; ROWS];
            let (codes, panel) = (codes.as_ptr(), panel.as_ptr());
            for step in 0..depth / UNIT {
                // SAFETY: step is below depth / 4, and the panel has 64 codes for each step
                let weights: [__m256i; 2] =
                    std::array::from_fn(|at| unsafe { _mm256_loadu_si256(panel.add(step * 64 + at * 32).cast()) });
                for (row, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: as above
                    let x = _mm256_set1_epi32(unsafe { unit(codes, row, depth, step) });
                    for (acc, &w) in acc.iter_mut().zip(&weights) {
                        *acc = $multiply(*acc, x, w);
                    }
                }
            }
            for (sums, acc) in sums.iter_mut().zip(acc) {
                for (sums, acc) in sums.chunks_exact_mut(8).zip(acc) {
                    // SAFETY: a chunk has 8 sums
                    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), acc) };
                }
            }
        }
    };
}

two_registers!(avx_vnni_rows, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
two_registers!(avx2_rows, "avx2", multiply_add);

/// `acc + Σ x · w` of each quad.
#[target_feature(enable = "avx2")]
#[inline]
fn multiply_add(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(x, w);
    _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}
