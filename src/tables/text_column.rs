//! Which columns the text of a question is made of: `--text-column`.

use anyhow::Result;

use crate::error::usage;

/// The text of a question: one column, or several with text between them.
#[derive(Debug, PartialEq)]
pub(super) struct TextColumns {
    /// Each name once, in the order in which they are first used.
    pub names: Vec<String>,
    pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq)]
enum Piece {
    Literal(String),
    /// Number of a name.
    Column(usize),
}

impl TextColumns {
    /// `written` is the name of a column, several with commas between them, or text with `{column}` in it. `exists` tells
    /// whether a file has a column: one of exactly this name comes first.
    pub fn parse(written: &str, exists: impl Fn(&str) -> bool) -> Result<Self> {
        let mut parsed = Self { names: Vec::new(), pieces: Vec::new() };
        if exists(written) || !written.contains(['{', ',']) {
            parsed.column(written);
        } else if written.contains('{') {
            let wrong = |what: &str| usage(format!("--text-column {written:?}: {what}"));
            let mut rest = written;
            while let Some((before, after)) = rest.split_once('{') {
                let (column, after) = after.split_once('}').ok_or_else(|| wrong("a { has no }"))?;
                if column.trim().is_empty() {
                    return Err(wrong("{} names no column"));
                }
                parsed.literal(before);
                parsed.column(column.trim());
                rest = after;
            }
            parsed.literal(rest);
        } else {
            for (at, column) in written.split(',').enumerate() {
                if at > 0 {
                    parsed.literal(" ");
                }
                parsed.column(column.trim());
            }
        }
        Ok(parsed)
    }

    fn literal(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Literal(text.into()));
        }
    }

    fn column(&mut self, name: &str) {
        let found = self.names.iter().position(|other| other == name);
        let at = found.unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        self.pieces.push(Piece::Column(at));
    }

    /// The text of a row; `cells` are the values of the columns in the order of their names. Null if all are null, blank
    /// if all are blank. Of several columns, those that are null count as empty.
    pub fn fill<'a>(&self, cells: &[Option<&'a str>], buffer: &'a mut String) -> Option<&'a str> {
        if let [Piece::Column(_)] = self.pieces[..] {
            return cells[0];
        }
        cells.iter().flatten().next()?;
        buffer.clear();
        if cells.iter().flatten().all(|cell| cell.trim().is_empty()) {
            return Some("");
        }
        for piece in &self.pieces {
            buffer.push_str(match piece {
                Piece::Literal(text) => text,
                Piece::Column(at) => cells[*at].unwrap_or_default(),
            });
        }
        Some(buffer.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(written: &str, cells: &[Option<&str>]) -> Option<String> {
        let columns = TextColumns::parse(written, |_| false).unwrap();
        columns.fill(cells, &mut String::new()).map(String::from)
    }

    #[test]
    fn parts_are_joined_and_null_parts_are_empty() {
        assert_eq!(filled("subject, body", &[Some("a"), Some("b c")]).unwrap(), "a b c");
        assert_eq!(filled("subject,body", &[None, Some("b")]).unwrap(), "b");
        assert_eq!(filled("subject,body", &[Some("a"), Some("")]).unwrap(), "a");
        assert_eq!(filled("subject,body", &[None, None]), None);
        assert_eq!(filled("[{tag}] {title}: {tag}", &[Some("x"), Some("y")]).unwrap(), "[x] y: x");
        // a template's own text is no question
        assert_eq!(filled("Q: {a} {b}", &[Some(" "), None]).unwrap(), "");
        assert_eq!(filled("Q: {a}", &[None]), None);
        assert_eq!(filled("text", &[Some(" kept ")]).unwrap(), " kept ");
    }

    #[test]
    fn a_column_of_exactly_that_name_comes_first() {
        let names = |written: &str, exists: bool| TextColumns::parse(written, |_| exists).unwrap().names;
        assert_eq!(names("a,b", true), ["a,b"]);
        assert_eq!(names("a,b", false), ["a", "b"]);
        assert_eq!(names("{b} {a} {b}", false), ["b", "a"]);
        for (written, said) in [("{a", "a { has no }"), ("{} x", "{} names no column")] {
            let error = TextColumns::parse(written, |_| false).unwrap_err().to_string();
            assert!(error.ends_with(said), "{error}");
        }
    }
}
