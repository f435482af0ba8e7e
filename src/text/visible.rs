//! A text as a person can safely look at it, on a terminal or a page: on one line, without anything that acts.
//!
//! Questions are hostile input: an escape character moves the cursor, a right-to-left override turns the rest of the
//! line around. Such characters are shown by name instead of being dropped, so that what is odd is seen to be odd.

use std::fmt::Write;

use crate::progress::readable;

/// The text on one line, cut after `most` characters; a cut says how long the text is.
pub fn visible(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(4 * most));
    for (at, c) in text.chars().enumerate() {
        if at == most {
            let _ = write!(line, "… ({} characters)", readable(text.chars().count()));
            break;
        }
        match c {
            c if c.is_whitespace() => line.push(' '),
            '\0'..='\x1f' => line.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\x7f' => line.push('␡'),
            c if is_hidden(c) => {
                let _ = write!(line, "⟨U+{:04X}⟩", c as u32);
            }
            c => line.push(c),
        }
    }
    line
}

/// Controls, direction marks and overrides, invisible fillers. The joiners U+200C and U+200D stay: scripts need them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown_and_what_is_long_is_cut() {
        assert_eq!(visible("a\tb\u{a0}c\nd", 20), "a b c d");
        assert_eq!(visible("\x1b[2J\u{202e}x\u{85}\u{feff}", 20), "␛[2J⟨U+202E⟩x ⟨U+FEFF⟩");
        assert_eq!(visible("می‌خواهم", 20), "می‌خواهم");
        assert_eq!(visible(&"é".repeat(100_000), 3), "ééé… (100,000 characters)");
        assert_eq!(visible("abc", 3), "abc");
    }
}
