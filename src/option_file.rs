//! Options as they are written: TOML files and `--set key=value`, whose keys are the flags of the same name.
//!
//! Errors name the file, the line and the key; or the `--set` that was typed.

use std::path::Path;

use anyhow::Result;
use clap::{Args, Command};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::error::usage;

/// A file's text as a table.
pub fn parse(text: &str, origin: &Path) -> Result<Table> {
    toml::from_str(text).map_err(|e: toml::de::Error| {
        let line = e.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let line = line.map_or(String::new(), |line| format!(" line {line}:"));
        usage(format!("{}:{line} {}", origin.display(), e.message()))
    })
}

/// The place of a key in a file. `lines` are the lines of its table; the first of them is line `first` of the file,
/// from 1.
pub fn place<'a>(origin: &Path, first: usize, lines: impl IntoIterator<Item = &'a str>, key: &str) -> String {
    let is_key =
        |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    // a quoted or dotted key is not found: its place is the first line of the table
    let line = first + lines.into_iter().position(is_key).unwrap_or(0);
    format!("{}: line {line}", origin.display())
}

/// Refuses keys for which `Options` has no flag, and values that their key cannot have. The error names the nearest
/// key.
pub fn check<Options: Args + DeserializeOwned>(table: &Table, place: impl Fn(&str) -> String) -> Result<()> {
    let command = Options::augment_args(Command::new("keys"));
    fn names(argument: &clap::Arg) -> Vec<&str> {
        argument.get_long_and_visible_aliases().unwrap_or_default()
    }
    let known: Vec<&str> = command.get_arguments().flat_map(names).collect();
    // an old name of a key still works, but is never suggested
    let is_old = |key: &str| command.get_arguments().any(|a| a.get_all_aliases().unwrap_or_default().contains(&key));
    for (key, value) in table {
        if !known.contains(&key.as_str()) && !is_old(key) {
            let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(name, key)).unwrap_or(&"");
            return Err(usage(format!("{}: unknown key `{key}`; the nearest known key is `{nearest}`", place(key))));
        }
        let alone = Table::from_iter([(key.clone(), value.clone())]);
        let parsed: Result<Options, _> = alone.try_into();
        parsed.map_err(|e| usage(format!("{}: key `{key}`: {}", place(key), in_plain_words(e.message(), value))))?;
    }
    Ok(())
}

/// What serde says of a value, without the names of Rust's types.
fn in_plain_words(message: &str, value: &Value) -> String {
    let found = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = found.and_then(|rest| rest.split_once(", expected ")) else { return message.into() };
    let is_number = matches!(expected, "usize" | "u64" | "u32" | "i64" | "f32" | "f64");
    let expected = match expected {
        "usize" | "u64" | "u32" if message.starts_with("invalid value") => "a whole number, not below 0",
        "usize" | "u64" | "u32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "path string" => "a path",
        other => other,
    };
    let is_quoted = is_number && value.as_str().is_some_and(|text| text.trim().parse::<f64>().is_ok());
    let advice = if is_quoted { ": leave out the quotes" } else { "" };
    format!("found {}, expected {expected}{advice}", found.strip_prefix("string ").unwrap_or(found))
}

/// Parses and checks one `--set key=value`; a value that is not TOML counts as a string.
pub fn parse_set<Options: Args + DeserializeOwned>(argument: &str) -> Result<Table> {
    let Some((key, value)) = argument.split_once('=') else {
        return Err(usage(format!("--set {argument}: expected key=value")));
    };
    let (key, value) = (key.trim(), value.trim());
    let parsed = toml::from_str::<Table>(&format!("value = {value}")).ok();
    let value = parsed.and_then(|table| table.get("value").cloned()).unwrap_or_else(|| Value::String(value.into()));
    let table = Table::from_iter([(key.to_string(), value)]);
    check::<Options>(&table, |_| format!("--set {argument}"))?;
    Ok(table)
}

/// `value`, if it is in the closed range.
pub fn within<T: PartialOrd + std::fmt::Display + Copy>(key: &str, value: T, least: T, most: T) -> Result<T> {
    if value >= least && value <= most {
        Ok(value)
    } else {
        Err(usage(format!("--{key} is {value}, expected {least} to {most}")))
    }
}

/// `value`, if it is not below `least`.
pub fn at_least<T: PartialOrd + std::fmt::Display + Copy>(key: &str, value: T, least: T) -> Result<T> {
    if value >= least { Ok(value) } else { Err(usage(format!("--{key} is {value}, expected {least} or more"))) }
}

/// Serde of option values that are stored as they are typed: by way of `Display` and `FromStr`.
macro_rules! as_text {
    ($($kind:ty),*) => {$(
        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

pub(crate) use as_text;
