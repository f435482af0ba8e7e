//! How a run fails: one line, sometimes a hint, and the exit code.
//!
//! Errors are `anyhow` errors that may contain one of the types here. They decide the exit code by one rule: 2 if what was
//! typed is wrong or names what is not there, 3 for refused results, 4 for a store in use, 130 for an interruption, and 1 if
//! the work failed. A hint is printed on a separate line.

use std::io::ErrorKind;
use std::panic::{UnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

/// Exit code if what was typed is wrong, or names what is not there.
const WRONG_USAGE: u8 = 2;
/// Exit code of a failure without a code of its own.
const FAILED: u8 = 1;
/// Exit code if a guard refuses the results.
const REFUSED: u8 = 3;
/// Exit code if another run uses the output or the store.
const IN_USE: u8 = 4;

/// What was typed is wrong: the command line, an option file, or the name of a file that is not there. Exit code 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A message with advice on what to do.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Hinted {
    pub message: String,
    pub hint: String,
    /// The process's exit code.
    pub code: u8,
}

/// The user pressed Ctrl-C, or a signal told the process to end.
#[derive(Debug, Error)]
#[error("interrupted{}", if *resumes { "; finished work is kept: the same command resumes where this one stopped" } else { "" })]
pub struct Interrupted {
    /// Whether finished work is on disk, so that the same command continues from there.
    pub resumes: bool,
}

/// A [`Usage`] error.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// A usage error with a hint.
pub fn usage_with_hint(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into(), code: WRONG_USAGE }.into()
}

/// An error with a hint.
pub fn hint(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into(), code: FAILED }.into()
}

/// An error with a hint: another run uses what this one needs.
pub fn in_use(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into(), code: IN_USE }.into()
}

/// An error with a hint: a guard keeps what is there.
pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into(), code: REFUSED }.into()
}

/// What is said of a file that cannot be opened or read.
pub fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("{}: no such file", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    }
}

/// The process's exit code for an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let has = |test: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(test);
    if has(|e| e.is::<Interrupted>()) {
        130
    } else if has(|e| e.is::<Usage>()) {
        WRONG_USAGE
    } else {
        error.chain().find_map(|e| e.downcast_ref::<Hinted>()).map_or(FAILED, |hinted| hinted.code)
    }
}

/// The message on one line, causes after colons, then the hint if any.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error:#}").replace(['\n', '\r'], " ");
    if let Some(hinted) = error.chain().find_map(|e| e.downcast_ref::<Hinted>()) {
        text.push_str(&format!("\nhint: {}", hinted.hint));
    }
    text
}

/// Runs `work` and turns a panic into an error, with nothing on stderr. Some libraries panic instead of failing:
/// backends without a driver, tokenizers on a damaged file.
pub fn quietly<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, String> {
    // the panic hook belongs to the whole process, and several threads may be in here: it is replaced once, and they
    // are counted
    static REPLACED: Once = Once::new();
    static QUIET: AtomicUsize = AtomicUsize::new(0);
    REPLACED.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |info| {
            if QUIET.load(Ordering::Relaxed) == 0 {
                hook(info);
            }
        }));
    });
    QUIET.fetch_add(1, Ordering::Relaxed);
    let result = caught(work);
    QUIET.fetch_sub(1, Ordering::Relaxed);
    result
}

/// Runs `work` and turns a panic into an error.
pub fn caught<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, String> {
    catch_unwind(work).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("it failed without a message");
        // libtorch adds a trace of its calls, with its newlines escaped
        let first = text.lines().next().and_then(|line| line.split("\\n").next()).unwrap_or(text);
        first.rsplit("value: ").next().unwrap_or(first).trim().to_string()
    })
}
