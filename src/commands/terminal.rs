//! Tables that fit the terminal. The only user of `comfy_table`.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};

use crate::metrics::bootstrap::Interval;

/// Width where stdout is no terminal.
const WIDTH: u16 = 110;
/// Characters of a text that are shown before it is cut.
pub const CHARACTERS: usize = 300;

/// Rows under a header, long cells wrapped; columns named in `numbers` are aligned to the right. An empty header is
/// left out.
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

/// Figures of things: the first column names the thing, all others are figures.
pub fn figure_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    table(header, &(1..header.len()).collect::<Vec<_>>(), rows.into_iter().collect())
}

/// `0.742`, or `–` where it is undefined.
pub fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.3}"))
}

/// `0.742 (0.721–0.763)`.
pub fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    match interval {
        // an end just below zero would read -0.000
        Some(Interval { low, high }) => {
            let [low, high] = [low, high].map(|end| if end.abs() < 0.0005 { 0.0 } else { end });
            format!("{} ({low:.3}–{high:.3})", figure(value))
        }
        None => figure(value),
    }
}
