//! The input and the output of a search.

/// Unit vectors, row-major `[rows, width]`.
#[derive(Clone, Copy)]
pub struct Vectors<'a> {
    pub values: &'a [f32],
    pub width: usize,
}

impl<'a> Vectors<'a> {
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// Some rows that follow each other.
    pub fn part(&self, rows: std::ops::Range<usize>) -> Self {
        Self { values: &self.values[rows.start * self.width..rows.end * self.width], width: self.width }
    }

    /// The values of these rows, one after the other.
    pub fn gather(&self, rows: &[u32]) -> Vec<f32> {
        rows.iter().flat_map(|&row| self.row(row as usize)).copied().collect()
    }

    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Cosine of two rows, which are unit vectors.
    pub fn cosine(&self, a: usize, b: usize) -> f32 {
        self.row(a).iter().zip(self.row(b)).map(|(x, y)| x * y).sum()
    }
}

/// A neighbour and its cosine to the row whose list it stands in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    pub row: u32,
    pub cosine: f32,
}

/// What a search returns: up to `top_k` neighbours a row, all at or above `floor`, the row itself excluded;
/// the nearest first, ties to the smaller row.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    pub top_k: usize,
    pub floor: f32,
}
