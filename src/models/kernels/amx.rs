//! Kernels for processors with AMX: 16 rows of activations times 16 columns of weights in one instruction.
//!
//! A tile of activations has 16 rows of 64 bytes, a tile of weights 16 rows of 4 bytes for each of 16 columns, a tile of sums 16
//! rows of 16 columns. Two tiles of activations and two of weights give four of sums, so each loaded tile serves twice. The 4 bytes are
//! four codes or two values in bf16: only the instruction differs. Rust has no stable functions for it, hence assembly.

#![expect(unsafe_code, reason = "instructions that Rust has no functions for")]

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

use crate::models::kernels::rounded::{COLUMNS, ROWS, STEP, Sums};

/// Rows of a tile.
const TILE: usize = 16;

/// Bytes from one row to the next: of 64 columns of quads, and of 64 sums.
const STRIDE: usize = COLUMNS * 4;

/// Whether the processor has the instructions and the system lets this process use them: tiles are large, so Linux saves them only
/// for processes that ask.
fn is_there(instruction: u32) -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    let wanted = 1 << 24 | instruction;
    is_x86_feature_detected!("avx512f")
        && __cpuid_count(7, 0).edx & wanted == wanted
        // SAFETY: the call changes nothing but a permission of this process
        && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) } == 0
}

/// [`is_there`] for products of codes.
pub fn multiplies_int8() -> bool {
    is_there(1 << 25)
}

/// [`is_there`] for products in bf16.
pub fn multiplies_bf16() -> bool {
    is_there(1 << 22)
}

/// What `ldtilecfg` reads: bytes of a row and rows of each of eight tiles.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = Shapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Gives this thread tiles.
pub fn begin() {
    // SAFETY: only called where the processor has tiles; the shapes are those of palette 1
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, preserves_flags)) };
}

/// Frees them: a thread that is switched away has less to save.
pub fn end() {
    // SAFETY: only called where the processor has tiles
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

/// A kernel of 32 rows and 64 columns, for one instruction and the type of its sums.
macro_rules! kernel {
    ($name:ident, $instruction:literal, $sum:ty) => {
        /// 32 rows of `depth` bytes (whole steps) times a panel `[depth / 4, 64, 4]` of weights, between `begin` and `end`. What the
        /// memory holds past the last of `rows` is multiplied too, and not read.
        pub fn $name(x: &[u8], rows: usize, depth: usize, panel: &[u8], sums: &mut Sums<$sum>) {
            assert!(rows <= ROWS && x.len() >= ROWS * depth);
            assert!(panel.len() == depth * COLUMNS && depth.is_multiple_of(STEP) && depth > 0);
            for half in 0..2 {
                let weights = panel[half * 2 * TILE * 4..].as_ptr();
                // SAFETY: the lengths are as asserted: a step reads 64 bytes of each row and 16 rows of the panel, and the
                // sums have 32 rows of 64. A thread calls it between `begin` and `end`
                unsafe {
                    let sums = sums.as_mut_ptr().cast::<$sum>().add(half * 2 * TILE);
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "2:",
                        "tileloadd tmm4, [{x} + {depth}]",
                        "tileloadd tmm6, [{weights} + {stride}]",
                        concat!($instruction, " tmm0, tmm4, tmm6"),
                        "tileloadd tmm7, [{weights} + {stride} + 64]",
                        concat!($instruction, " tmm1, tmm4, tmm7"),
                        "tileloadd tmm5, [{lower} + {depth}]",
                        concat!($instruction, " tmm2, tmm5, tmm6"),
                        concat!($instruction, " tmm3, tmm5, tmm7"),
                        "add {x}, 64",
                        "add {lower}, 64",
                        "add {weights}, {panel_step}",
                        "dec {steps}",
                        "jnz 2b",
                        "tilestored [{sums} + {stride}], tmm0",
                        "tilestored [{sums} + {stride} + 64], tmm1",
                        "tilestored [{lower_sums} + {stride}], tmm2",
                        "tilestored [{lower_sums} + {stride} + 64], tmm3",
                        x = inout(reg) x.as_ptr() => _,
                        lower = inout(reg) x.as_ptr().add(TILE * depth) => _,
                        weights = inout(reg) weights => _,
                        steps = inout(reg) depth / STEP => _,
                        depth = in(reg) depth,
                        stride = in(reg) STRIDE,
                        sums = in(reg) sums,
                        lower_sums = in(reg) sums.add(TILE * COLUMNS),
                        panel_step = const TILE * STRIDE,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    );
                }
            }
        }
    };
}

kernel!(int8, "tdpbusd", i32);
kernel!(bf16, "tdpbf16ps", f32);
