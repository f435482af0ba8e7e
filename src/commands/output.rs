//! Results on stdout. The only file that writes there.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

/// Prints lines to stdout. A reader that closed the pipe is not an error.
pub fn print_lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{}", line.as_ref()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("cannot write to stdout")?,
        }
    }
    Ok(())
}

/// Prints one JSON object, its keys in alphabetical order.
pub fn print_json(object: &impl Serialize) -> Result<()> {
    print_lines([serde_json::to_string_pretty(&serde_json::to_value(object)?)?])
}
