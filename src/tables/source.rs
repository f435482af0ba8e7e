//! The bytes of an input file: found, unpacked, and in UTF-8.
//!
//! A path `-` is standard input. It is read once, into a temporary file without a name, so that it can be read again like
//! any other file and goes away with the process.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Display, Path};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use flate2::bufread::MultiGzDecoder;

use crate::error::{self, hint, usage};
use crate::tables::encoding::{Encoding, Recoded};

const BUFFER: usize = 1 << 16;

/// Whether a path stands for standard input.
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// A file's name for messages.
pub fn name(path: &Path) -> Display<'_> {
    if is_stdin(path) { Path::new("standard input").display() } else { path.display() }
}

/// Opens a file, or standard input. One that is not there is a usage error.
pub fn open(path: &Path) -> Result<File> {
    if is_stdin(path) {
        return stdin();
    }
    File::open(path).map_err(|error| {
        let said = error::cannot_read(path, &error);
        if error.kind() == ErrorKind::NotFound { usage(said) } else { anyhow!(said) }
    })
}

fn stdin() -> Result<File> {
    static KEPT: Mutex<Option<File>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match kept.take() {
        Some(file) => file,
        None => {
            let mut stdin = std::io::stdin().lock();
            if stdin.is_terminal() {
                return Err(usage("--input - reads standard input, but nothing is piped into it"));
            }
            let mut file = tempfile::tempfile().context("cannot keep standard input in a temporary file")?;
            std::io::copy(&mut stdin, &mut file).context("cannot keep standard input in a temporary file")?;
            file
        }
    };
    let file = kept.insert(file);
    // the place in the file is shared: nobody reads it twice at the same time
    file.seek(SeekFrom::Start(0))?;
    Ok(file.try_clone()?)
}

/// Bytes of a file as it lies there.
pub fn size(path: &Path) -> Result<u64> {
    Ok(open(path)?.metadata().with_context(|| format!("cannot read {}", name(path)))?.len())
}

/// Refuses a file that is not there, or is empty.
pub fn check(path: &Path) -> Result<()> {
    if size(path)? == 0 {
        bail!("{}: the file is empty (0 bytes)", name(path));
    }
    Ok(())
}

/// The text of a file in UTF-8. What gzip or zstd packed is unpacked, whatever the file is called.
pub fn text(path: &Path, encoding: Encoding) -> Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(BUFFER, open(path)?);
    let start = file.fill_buf().map_err(|error| cannot_read(path, &error))?;
    let unpacked: Box<dyn Read> = match start {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(hint(format!("{}: it is in UTF-16", name(path)), "save it as UTF-8"));
        }
        _ => Box::new(file),
    };
    let mut text: Box<dyn BufRead> = match encoding {
        Encoding::Utf8 => Box::new(BufReader::with_capacity(BUFFER, unpacked)),
        _ => Box::new(BufReader::with_capacity(BUFFER, Recoded::new(unpacked, encoding))),
    };
    if text.fill_buf().map_err(|error| cannot_read(path, &error))?.is_empty() {
        bail!("{}: the compressed file is empty", name(path));
    }
    Ok(text)
}

/// The error for bytes that cannot be had.
pub fn cannot_read(path: &Path, error: &std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => anyhow!("{}: the compressed file is cut off", name(path)),
        _ => anyhow!("cannot read {}: {error}", name(path)),
    }
}

/// The error for text that is not in the encoding that was said.
pub fn not_utf8(message: String) -> anyhow::Error {
    hint(
        message,
        "if the file is not in UTF-8, say so: --encoding windows-1252 (Excel on Windows) or --encoding latin1",
    )
}
