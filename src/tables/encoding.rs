//! Text that is not in UTF-8, made UTF-8 while it is read.

use std::io::Read;

use serde::{Deserialize, Serialize};

/// How the bytes of a text file stand for characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// What most programs write.
    #[default]
    #[value(name = "utf-8", alias = "utf8")]
    #[serde(rename = "utf-8", alias = "utf8")]
    Utf8,
    /// ISO 8859-1: each byte is the character of that number.
    #[value(name = "latin1", alias = "iso-8859-1")]
    #[serde(rename = "latin1", alias = "iso-8859-1")]
    Latin1,
    /// Excel and other Windows programs; Latin-1 with typographic quotes and the euro sign.
    #[value(name = "windows-1252", alias = "cp1252")]
    #[serde(rename = "windows-1252", alias = "cp1252")]
    Windows1252,
}

/// Windows-1252 from 0x80 to 0x9f, where it differs from Latin-1. Bytes without a meaning stay control characters, as in
/// browsers (<https://encoding.spec.whatwg.org/index-windows-1252.txt>).
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl Encoding {
    /// The character of a byte, in an encoding of one byte a character.
    fn character(self, byte: u8) -> char {
        match (self, byte) {
            (Self::Windows1252, 0x80..=0x9f) => WINDOWS_1252[usize::from(byte - 0x80)],
            _ => char::from(byte),
        }
    }
}

/// The same text in UTF-8.
pub struct Recoded<R> {
    inner: R,
    encoding: Encoding,
    /// UTF-8 that is read and not yet passed on, from `next`.
    pending: String,
    next: usize,
}

impl<R: Read> Recoded<R> {
    /// `encoding` is one of one byte a character.
    pub fn new(inner: R, encoding: Encoding) -> Self {
        Self { inner, encoding, pending: String::new(), next: 0 }
    }
}

impl<R: Read> Read for Recoded<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.next == self.pending.len() {
            let mut raw = [0; 8192];
            let read = self.inner.read(&mut raw)?;
            self.next = 0;
            self.pending.clear();
            self.pending.extend(raw[..read].iter().map(|&byte| self.encoding.character(byte)));
        }
        let rest = &self.pending.as_bytes()[self.next..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.next += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_the_character_that_python_reads() {
        let recoded = |bytes: &[u8], encoding| {
            let mut text = String::new();
            Recoded::new(bytes, encoding).read_to_string(&mut text).unwrap();
            text
        };
        // bytes(range(0x80, 0xa0)).decode("cp1252") without the five that Python refuses
        assert_eq!(
            recoded(b"\x80\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8e", Encoding::Windows1252),
            "€‚ƒ„…†‡ˆ‰Š‹ŒŽ"
        );
        assert_eq!(
            recoded(b"\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9e\x9f", Encoding::Windows1252),
            "‘’“”•–—˜™š›œžŸ"
        );
        assert_eq!(recoded(b"caf\xe9 \xfcber", Encoding::Windows1252), "café über");
        assert_eq!(recoded(b"caf\xe9 \x93", Encoding::Latin1), "café \u{93}");
        // longer than the buffer, and characters of several bytes at its end
        let long = vec![0xe9; 20_001];
        assert_eq!(recoded(&long, Encoding::Latin1), "é".repeat(20_001));
    }
}
