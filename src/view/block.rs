//! Text for a terminal before it is fitted to the terminal's width.

/// Characters of a text that are shown before it is cut.
pub const CHARACTERS: usize = 300;

/// A line, or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    Line(String),
    Table(Table),
}

/// Rows under a header; without a header if it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub header: Vec<String>,
    /// Columns that hold numbers: they are aligned to the right.
    pub numbers: Vec<usize>,
    pub rows: Vec<Vec<String>>,
}

impl Block {
    pub fn line(text: impl Into<String>) -> Self {
        Self::Line(text.into())
    }

    /// An empty line.
    pub fn gap() -> Self {
        Self::Line(String::new())
    }

    pub fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> Self {
        let header = header.iter().map(|name| name.to_string()).collect();
        Self::Table(Table { header, numbers: numbers.to_vec(), rows })
    }
}
