//! How a run fails: one line, a hint where there is one, and the exit code.
//!
//! Errors are `anyhow` errors; the types here ride along inside so that `main` can tell a wrong command line (exit
//! code 2) and an interruption (130) from a failure (1), and print a hint on a line of its own.

use thiserror::Error;

/// The command line or a pipeline file asks for something that cannot be: exit code 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A message with advice on what to do about it.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Hinted {
    pub message: String,
    pub hint: String,
}

/// The user pressed Ctrl-C (or the process was asked to end); finished work is on disk.
#[derive(Debug, Error)]
#[error("interrupted; finished work is kept: the same command resumes where this one stopped")]
pub struct Interrupted;

/// An error of kind [`Usage`].
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// An error with a hint.
pub fn hint(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into() }.into()
}

/// The process's exit code for an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let has = |test: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(test);
    if has(|e| e.is::<Interrupted>()) {
        130
    } else if has(|e| e.is::<Usage>()) {
        2
    } else {
        1
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
