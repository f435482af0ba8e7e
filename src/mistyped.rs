//! Slips on the command line, answered with what to type instead of how the parser sees it.

use std::num::{ParseFloatError, ParseIntError};
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{usage, usage_with_hint};
use crate::run::options::declared;
use crate::tables::format::Format;

/// What to tell instead of the parser's own message; `None` if that says it well. `typed` is the command line without the
/// program's name.
pub fn explain(error: &clap::Error, typed: &[String]) -> Option<anyhow::Error> {
    let of = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => {
            extra_path(of(ContextKind::InvalidSubcommand)?, typed)
        }
        ErrorKind::UnknownArgument => {
            let argument = of(ContextKind::InvalidArg)?;
            negative_number(argument, typed).or_else(|| extra_path(argument, typed))
        }
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error)?;
            let expected = match (source.is::<ParseIntError>(), source.is::<ParseFloatError>()) {
                (true, _) => "a whole number",
                (_, true) => "a number",
                _ => return None,
            };
            let flag = of(ContextKind::InvalidArg)?.split([' ', '=']).next()?;
            Some(out_of_range(flag, of(ContextKind::InvalidValue)?, expected))
        }
        _ => None,
    }
}

fn out_of_range(flag: &str, value: &str, expected: &str) -> anyhow::Error {
    let range = declared(flag.trim_start_matches("--")).and_then(|option| option.range);
    let range = range.map_or(String::new(), |(least, most)| format!(" from {least} to {most}"));
    let value = if value.parse::<f64>().is_ok() { value.to_string() } else { format!("{value:?}") };
    usage(format!("{flag} is {value}, expected {expected}{range}"))
}

/// `--top-k -5`, which the parser takes for two flags.
fn negative_number(argument: &str, typed: &[String]) -> Option<anyhow::Error> {
    let place =
        typed.iter().position(|word| word.starts_with(argument) && word.parse::<f64>().is_ok_and(|n| n < 0.0))?;
    let flag = typed[..place].last().filter(|before| before.starts_with("--"))?;
    let value = &typed[place];
    Some(match declared(flag.trim_start_matches("--")).and_then(|option| option.range) {
        Some((least, most)) => usage(format!("{flag} is {value}, expected {least} to {most}")),
        None => usage(format!("{flag} is {value}, which cannot be negative")),
    })
}

/// Whether a word is the name of a table rather than of a command.
fn is_path(word: &str) -> bool {
    Path::new(word).exists() || Format::of(Path::new(word)).is_some() || word.contains(['*', '/'])
}

/// `mine questions.csv`, and `mine --input *.csv` after the shell has made several names of the pattern.
fn extra_path(word: &str, typed: &[String]) -> Option<anyhow::Error> {
    if !is_path(word) {
        return None;
    }
    let input = typed.iter().position(|word| word == "--input" || word.starts_with("--input="));
    let Some(input) = input else {
        return Some(usage_with_hint(
            format!("{word:?} is no command of mine"),
            format!("to find the duplicates in it: mine --input {word}"),
        ));
    };
    let first = match typed[input].strip_prefix("--input=") {
        Some(first) => first,
        None => typed.get(input + 1)?,
    };
    Some(usage_with_hint(
        format!("{word:?} follows --input {first}, which is one path: did the shell expand a pattern?"),
        format!("quote the pattern: mine --input '*.csv'; or repeat the flag: mine --input {first} --input {word}"),
    ))
}
