//! Kernels for ARM processors: 8 rows of activations times 8 columns of weights, with all sums in registers.
//!
//! `sdot` multiplies four codes of a row with those of four columns. It takes signed codes alone, so the kernel subtracts 128
//! from those of the activations (`Kernel::shift`). `usmmla` and `bfmmla` multiply 8 bytes of two rows with those of two columns. Rust
//! has no stable functions for the three, hence assembly of one instruction each.

#![expect(unsafe_code, reason = "instructions that Rust has no stable functions for")]

use std::arch::aarch64::*;
use std::arch::asm;
use std::array::from_fn;

use crate::models::kernels::rounded::{self, STEP, Sums};

pub const ROWS: usize = 8;
pub const COLUMNS: usize = 8;

/// Bytes of a register.
const REGISTER: usize = 16;

/// Rounded rows have memory for whole blocks of [`rounded::ROWS`], so for whole blocks of these.
const _: () = assert!(rounded::ROWS.is_multiple_of(ROWS));

/// Whether `x` has 8 rows of `depth` bytes and the panel 8 columns, in whole registers: the kernels read them unchecked.
fn check(x: &[u8], rows: usize, depth: usize, panel: &[u8]) {
    assert!(rows <= ROWS && x.len() >= ROWS * depth && panel.len() == depth * COLUMNS);
    assert!(depth.is_multiple_of(STEP));
}

/// `sum + Σ x · w` of unit `UNIT` of a row and of four columns.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const UNIT: usize>(mut sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes its registers alone
    unsafe {
        asm!("sdot {sum:v}.4s, {weights:v}.16b, {x:v}.4b[{unit}]",
            sum = inout(vreg) sum, weights = in(vreg) weights, x = in(vreg) x, unit = const UNIT,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// 8 rows of codes (what lies past the last of `rows` is multiplied too, and not read) times a panel `[depth / 4, 8, 4]`.
pub fn dot(x: &[u8], rows: usize, depth: usize, panel: &[u8], sums: &mut Sums<i32>) {
    check(x, rows, depth, panel);
    // SAFETY: `available` lists the kernel only where the processor has the instruction; the lengths are as checked
    unsafe { dot_rows(x, depth, panel, sums) }
}

/// # Safety
/// Lengths as `check` asserts them.
#[target_feature(enable = "neon,dotprod")]
unsafe fn dot_rows(x: &[u8], depth: usize, panel: &[u8], sums: &mut Sums<i32>) {
    let mut acc = [[vdupq_n_s32(0); 2]; ROWS];
    for (step, panel) in panel.chunks_exact(REGISTER * COLUMNS).enumerate() {
        let x: [int8x16_t; ROWS] = from_fn(|row| {
            // SAFETY: a row has `depth` bytes, whole registers
            let codes = unsafe { vld1q_u8(x.as_ptr().add(row * depth + step * REGISTER)) };
            vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(128)))
        });
        // SAFETY: the panel has eight registers for each step
        let weights = |at: usize| unsafe { vld1q_s8(panel.as_ptr().add(at * REGISTER).cast()) };
        for half in 0..2 {
            let [a, b, c, d] = from_fn(|unit| weights(2 * unit + half));
            for (acc, &x) in acc.iter_mut().zip(&x) {
                acc[half] = sdot::<3>(sdot::<2>(sdot::<1>(sdot::<0>(acc[half], a, x), b, x), c, x), d, x);
            }
        }
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        // SAFETY: a row of sums has 64, of which these are the first 8
        unsafe {
            vst1q_s32(sums.as_mut_ptr(), acc[0]);
            vst1q_s32(sums[4..].as_mut_ptr(), acc[1]);
        }
    }
}

/// Kernels whose instruction multiplies two rows with two columns, for the type of the sums.
macro_rules! two_by_two {
    ($name:ident, $rows:ident, $multiply:ident, $instruction:literal, $feature:literal, $sum:ty) => {
        /// `sum + Σ x · w` of 8 bytes of two rows and of two columns: `[2, 2]`.
        #[inline]
        #[target_feature(enable = $feature)]
        fn $multiply(mut sum: uint8x16_t, x: uint8x16_t, weights: uint8x16_t) -> uint8x16_t {
            // SAFETY: the instruction reads and writes its registers alone
            unsafe {
                asm!($instruction,
                    sum = inout(vreg) sum, x = in(vreg) x, weights = in(vreg) weights,
                    options(pure, nomem, nostack, preserves_flags));
            }
            sum
        }

        /// 8 rows (what lies past the last of `rows` is multiplied too, and not read) times a panel `[depth / 8, 8, 8]`.
        pub fn $name(x: &[u8], rows: usize, depth: usize, panel: &[u8], sums: &mut Sums<$sum>) {
            check(x, rows, depth, panel);
            // SAFETY: `available` lists the kernel only where the processor has the instruction; the lengths are as checked
            unsafe { $rows(x, depth, panel, sums) }
        }

        /// # Safety
        /// Lengths as `check` asserts them.
        #[target_feature(enable = $feature)]
        unsafe fn $rows(x: &[u8], depth: usize, panel: &[u8], sums: &mut Sums<$sum>) {
            // sums of two rows and two columns each
            let mut acc = [[vdupq_n_u8(0); COLUMNS / 2]; ROWS / 2];
            for (step, panel) in panel.chunks_exact(REGISTER * COLUMNS / 2).enumerate() {
                // SAFETY: a row has `depth` bytes, whole registers
                let half = |row: usize| unsafe { vld1_u8(x.as_ptr().add(row * depth + step * REGISTER / 2)) };
                let x: [uint8x16_t; ROWS / 2] = from_fn(|pair| vcombine_u8(half(2 * pair), half(2 * pair + 1)));
                for (at, weights) in panel.chunks_exact(REGISTER).enumerate() {
                    // SAFETY: a chunk has the bytes of a register
                    let weights = unsafe { vld1q_u8(weights.as_ptr()) };
                    for (acc, &x) in acc.iter_mut().zip(&x) {
                        acc[at] = $multiply(acc[at], x, weights);
                    }
                }
            }
            for (pair, acc) in acc.iter().enumerate() {
                for (at, &acc) in acc.iter().enumerate() {
                    for (row, two) in [(2 * pair, vget_low_u8(acc)), (2 * pair + 1, vget_high_u8(acc))] {
                        // SAFETY: two sums of a row, 8 bytes
                        unsafe { vst1_u8(sums[row][2 * at..2 * at + 2].as_mut_ptr().cast(), two) };
                    }
                }
            }
        }
    };
}

two_by_two!(i8mm, i8mm_rows, usmmla, "usmmla {sum:v}.4s, {x:v}.16b, {weights:v}.16b", "neon,i8mm", i32);
two_by_two!(bf16, bf16_rows, bfmmla, "bfmmla {sum:v}.4s, {x:v}.8h, {weights:v}.8h", "neon,bf16", f32);
