//! The kernel for processors with AMX: 16 rows of codes times 16 columns of weights in one instruction.
//!
//! A tile of codes has 16 rows of 64, a tile of weights 16 quads of 16 columns, a tile of sums 16 rows of 16 columns. Two tiles of codes
//! and two of weights give four of sums, so each loaded tile serves twice. Rust has no stable functions for these instructions, hence
//! assembly.

#![expect(unsafe_code, reason = "instructions that Rust has no functions for")]

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

use crate::models::kernels::int8::{MOST_COLUMNS, MOST_ROWS, STEP, Sums};

/// Rows of a tile.
const TILE: usize = 16;

/// Bytes from one row to the next: of 64 columns of quads, and of 64 sums.
const STRIDE: usize = MOST_COLUMNS * 4;

/// Whether the processor has the instructions and the system lets this process use them: tiles are large, so Linux saves them only
/// for processes that ask.
pub fn is_there() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    const TILES_AND_INT8: u32 = 1 << 24 | 1 << 25;
    let has = |features: u32| features & TILES_AND_INT8 == TILES_AND_INT8;
    is_x86_feature_detected!("avx512f")
        && has(__cpuid_count(7, 0).edx)
        // SAFETY: the call changes nothing but a permission of this process
        && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) } == 0
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
    // SAFETY: only called where `is_there`; the shapes are those of palette 1
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, preserves_flags)) };
}

/// Frees them: a thread that is switched away has less to save.
pub fn end() {
    // SAFETY: only called where `is_there`
    unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
}

pub fn multiply(codes: &[u8], rows: usize, depth: usize, panel: &[i8], sums: &mut Sums) {
    let tiles = rows.div_ceil(TILE);
    assert!(rows <= MOST_ROWS && codes.len() >= tiles * TILE * depth);
    assert!(panel.len() == depth * MOST_COLUMNS && depth.is_multiple_of(STEP) && depth > 0);
    for half in 0..2 {
        let weights = panel[half * 2 * TILE * 4..].as_ptr();
        let sums = sums[0][half * 2 * TILE..].as_mut_ptr();
        // SAFETY: the lengths are as asserted; a kernel is called between `begin` and `end`
        match tiles {
            1 => unsafe { one_tile_of_rows(codes.as_ptr(), depth, weights, sums) },
            _ => unsafe { two_tiles_of_rows(codes.as_ptr(), depth, weights, sums) },
        }
    }
}

/// 32 rows and 32 columns.
///
/// # Safety
/// Tiles are configured; `codes` has 32 rows of `depth`, the panel 64 columns, the sums 32 rows of 64.
unsafe fn two_tiles_of_rows(codes: *const u8, depth: usize, weights: *const i8, sums: *mut i32) {
    // SAFETY: see above; a step reads 64 codes of 32 rows and 16 rows of the panel
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "tileloadd tmm4, [{codes} + {depth}]",
            "tileloadd tmm6, [{weights} + {stride}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weights} + {stride} + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{lower} + {depth}]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {codes}, 64",
            "add {lower}, 64",
            "add {weights}, {panel_step}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {stride}], tmm0",
            "tilestored [{sums} + {stride} + 64], tmm1",
            "tilestored [{lower_sums} + {stride}], tmm2",
            "tilestored [{lower_sums} + {stride} + 64], tmm3",
            codes = inout(reg) codes => _,
            lower = inout(reg) codes.add(TILE * depth) => _,
            weights = inout(reg) weights => _,
            steps = inout(reg) depth / STEP => _,
            depth = in(reg) depth,
            stride = in(reg) STRIDE,
            sums = in(reg) sums,
            lower_sums = in(reg) sums.add(TILE * MOST_COLUMNS),
            panel_step = const TILE * STRIDE,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// 16 rows and 32 columns.
///
/// # Safety
/// As for [`two_tiles_of_rows`], with 16 rows.
unsafe fn one_tile_of_rows(codes: *const u8, depth: usize, weights: *const i8, sums: *mut i32) {
    // SAFETY: see above
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "2:",
            "tileloadd tmm4, [{codes} + {depth}]",
            "tileloadd tmm6, [{weights} + {stride}]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{weights} + {stride} + 64]",
            "tdpbusd tmm1, tmm4, tmm7",
            "add {codes}, 64",
            "add {weights}, {panel_step}",
            "dec {steps}",
            "jnz 2b",
            "tilestored [{sums} + {stride}], tmm0",
            "tilestored [{sums} + {stride} + 64], tmm1",
            codes = inout(reg) codes => _,
            weights = inout(reg) weights => _,
            steps = inout(reg) depth / STEP => _,
            depth = in(reg) depth,
            stride = in(reg) STRIDE,
            sums = in(reg) sums,
            panel_step = const TILE * STRIDE,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
