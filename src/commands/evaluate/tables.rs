//! Figures as tables for a terminal.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};

use crate::metrics::bootstrap::Interval;

/// A table with figures flush right under a line of headings, as wide as the terminal at most.
pub fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings);
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string().lines().map(String::from).collect()
}

/// `0.742`, or `–` where it is undefined.
pub fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.3}"))
}

/// `0.742 (0.721–0.763)`.
pub fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    match interval {
        Some(Interval { low, high }) => format!("{} ({low:.3}–{high:.3})", figure(value)),
        None => figure(value),
    }
}
