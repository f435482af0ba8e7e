//! Tables that fit the terminal. The only user of `comfy_table`.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};

use crate::metrics::bootstrap::Interval;
use crate::view::block::Block;

/// Width if stdout is not a terminal.
const WIDTH: u16 = 110;

/// Lines and tables, fitted to the terminal's width.
pub fn fit(blocks: Vec<Block>) -> Vec<String> {
    let lines = |block: Block| match block {
        Block::Line(line) => vec![line],
        Block::Table(block) => {
            let header: Vec<&str> = block.header.iter().map(String::as_str).collect();
            table(&header, &block.numbers, block.rows)
        }
    };
    blocks.into_iter().flat_map(lines).collect()
}

/// Rows under a header; long cells wrap. The columns in `numbers` are aligned to the right. Without a header if it is
/// empty.
pub fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    if !header.is_empty() {
        table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    } else {
        table.load_style(presets::NOTHING);
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(WIDTH);
    }
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    table.add_rows(rows);
    for &at in numbers {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // every cell has a space on both sides
    table.lines().map(|line| line.trim_end().replacen(' ', "", 1)).collect()
}

/// A table whose first column is a name and whose other columns are numbers.
pub fn figure_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    table(header, &(1..header.len()).collect::<Vec<_>>(), rows.into_iter().collect())
}

/// `0.742`, or `–` if it is undefined.
pub fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.3}"))
}

/// `0.742 (0.721–0.763)`.
pub fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    match interval {
        // a bound just below zero would be shown as -0.000
        Some(Interval { low, high }) => {
            let [low, high] = [low, high].map(|end| if end.abs() < 0.0005 { 0.0 } else { end });
            format!("{} ({low:.3}–{high:.3})", figure(value))
        }
        None => figure(value),
    }
}
