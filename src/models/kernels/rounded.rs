//! What the products of an encoder's layers have in common in every format that is smaller than f32.
//!
//! Activations are rounded row by row, weights once. Weights lie in panels of some columns, whose units of 4 or 8 bytes (four or
//! eight codes, or half as many values in bf16) follow each other as a kernel reads them.
//!
//! Shapes: R rows, d_in and d_out the widths of input and output.

use std::ops::Range;

/// Rows of activations that a kernel takes at most. Rounded rows have memory for whole blocks of them.
pub const ROWS: usize = 32;

/// Columns of the widest panel.
pub const COLUMNS: usize = 64;

/// Bytes to whose multiple a row is padded: those of a row of an AMX tile.
pub const STEP: usize = 64;

/// Sums of a few rows and columns.
pub type Sums<T> = [[T; COLUMNS]; ROWS];

/// Rows of activations, rounded.
pub trait RoundedRows: Default {
    /// Rounds rows of `width` values.
    fn set(&mut self, x: &[f32], width: usize);
}

/// A matrix `[d_in, d_out]`, rounded and packed for this processor.
pub trait RoundedMatrix: Sized {
    type Rows: RoundedRows;

    /// Rounds row-major weights.
    fn new(weight: &[f32], widths: [usize; 2]) -> Self;

    /// `x W`: `[R, d_in] → [R, d_out]`, written into `out`.
    fn product(&self, x: &Self::Rows, out: &mut [f32]);
}

/// One way to multiply rounded rows and panels; T is the type of the sums.
#[derive(Clone, Copy)]
pub struct Kernel<T: 'static> {
    pub name: &'static str,
    /// Columns of a panel: weights are packed for them.
    pub columns: usize,
    /// Rows at once.
    pub rows: usize,
    /// Bytes of a row and of a column that one instruction multiplies and adds up.
    pub unit: usize,
    /// What it subtracts from every code of the activations: 128 if its instruction multiplies signed codes alone.
    pub shift: i32,
    /// Rounded rows from one on, how many (up to `rows`), bytes of each (whole steps), and the panel
    /// `[depth / unit, columns, unit]`.
    pub multiply: fn(&[u8], usize, usize, &[u8], &mut Sums<T>),
    /// What a thread does before its first product, and after its last.
    pub begin: fn(),
    pub end: fn(),
}

impl<T> Kernel<T> {
    pub const fn new(
        name: &'static str,
        columns: usize,
        rows: usize,
        multiply: fn(&[u8], usize, usize, &[u8], &mut Sums<T>),
    ) -> Self {
        Self { name, columns, rows, unit: 4, shift: 0, multiply, begin: || (), end: || () }
    }

    /// Bytes of all panels for `columns` columns of `depth` bytes.
    pub fn panel_bytes(&self, columns: usize, depth: usize) -> usize {
        columns.next_multiple_of(self.columns) * depth
    }

    /// Where byte `at` of a column lies in the panels.
    pub fn position(&self, column: usize, at: usize, depth: usize) -> usize {
        let unit = column / self.columns * (depth / self.unit) + at / self.unit;
        (unit * self.columns + column % self.columns) * self.unit + at % self.unit
    }
}

impl<T> std::fmt::Debug for Kernel<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Multiplies rounded rows `x` of `depth` bytes with all panels. `write` gets the sums of a block: the output `[R, d_out]` from
/// the block's first row and column on, and which columns and rows these are.
pub fn multiply<T: Copy + Default>(
    kernel: &Kernel<T>,
    (x, depth): (&[u8], usize),
    panels: &[u8],
    (out, d_out): (&mut [f32], usize),
    write: impl Fn(&mut [f32], Range<usize>, Range<usize>, &Sums<T>),
) {
    let mut sums = [[T::default(); COLUMNS]; ROWS];
    (kernel.begin)();
    for (panel, weights) in panels.chunks_exact((depth * kernel.columns).max(1)).enumerate() {
        let columns = panel * kernel.columns..d_out.min((panel + 1) * kernel.columns);
        for (block, out) in out.chunks_mut(kernel.rows * d_out).enumerate() {
            let (first, count) = (block * kernel.rows, out.len() / d_out);
            (kernel.multiply)(&x[first * depth..], count, depth, weights, &mut sums);
            write(&mut out[columns.start..], columns.clone(), first..first + count, &sums);
        }
    }
    (kernel.end)();
}
