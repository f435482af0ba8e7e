//! Tables that fit the terminal. The only user of `comfy_table`.

use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Width where stdout is no terminal.
const WIDTH: u16 = 110;
/// Characters of a text that are shown before it is cut.
pub const CHARACTERS: usize = 300;

/// Rows under a header, long cells wrapped; columns named in `numbers` are aligned to the right. An empty header is
/// left out.
pub fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
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
    table.lines().map(|line| line.trim_end().to_string()).collect()
}
