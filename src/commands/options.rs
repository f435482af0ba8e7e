//! `mine options`: every command and its options, for a program that offers them.

use std::any::TypeId;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, ArgAction, Args, Command};
use serde::Serialize;

use crate::commands::output::{print_json, print_lines};
use crate::commands::terminal::table;

#[derive(Debug, Args)]
pub struct OptionsArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A command as `--help` describes it.
#[derive(Debug, Serialize)]
struct DescribedCommand {
    /// As it is typed: `mine evaluate`.
    name: String,
    about: String,
    options: Vec<DescribedOption>,
}

/// An option or a positional argument. Hidden ones are left out.
#[derive(Debug, Serialize)]
struct DescribedOption {
    /// `top-k` for `--top-k`.
    name: String,
    positional: bool,
    required: bool,
    /// Whether it can be given several times.
    repeatable: bool,
    /// Whether the name alone is enough.
    switch: bool,
    /// What `--help` calls the value; `None` if there is never one.
    value_name: Option<String>,
    /// `boolean`, `integer`, `number`, `path`, `choice` or `text`.
    kind: &'static str,
    /// The values of a `choice`.
    possible_values: Vec<DescribedValue>,
    /// For a person to read: some defaults depend on the models or the input.
    default: Option<String>,
    help: String,
}

#[derive(Debug, Serialize)]
struct DescribedValue {
    name: String,
    help: String,
}

/// Prints the options of `parser` and of all its subcommands.
pub fn run(args: &OptionsArgs, mut parser: Command) -> Result<()> {
    parser.build();
    let commands = described(&parser);
    if args.json {
        let version = parser.get_version();
        return print_json(&serde_json::json!({ "version": version, "commands": commands }));
    }
    for command in &commands {
        print_lines([format!("{}: {}", command.name, command.about), String::new()])?;
        if !command.options.is_empty() {
            print_lines(table(&["option", "default", "meaning"], &[], command.options.iter().map(row).collect()))?;
            print_lines([""])?;
        }
    }
    Ok(())
}

/// The command and its subcommands, each before those below it.
fn described(command: &Command) -> Vec<DescribedCommand> {
    let typed = command.get_bin_name().unwrap_or(command.get_name());
    let options = command.get_arguments().filter(|arg| !arg.is_hide_set() && !is_about_the_parser(arg));
    let this = DescribedCommand {
        name: typed.to_string(),
        about: command.get_about().map(ToString::to_string).unwrap_or_default(),
        options: options.map(option).collect(),
    };
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    std::iter::once(this).chain(below.flat_map(described)).collect()
}

/// `--help` and `--version`.
fn is_about_the_parser(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

fn option(arg: &Arg) -> DescribedOption {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    // an option whose default the parser does not know says it at the end of its help
    let (help, written) = match help.strip_suffix(']').and_then(|help| help.rsplit_once(" [default: ")) {
        Some((before, default)) => (before.to_string(), Some(default.to_string())),
        None => (help, None),
    };
    let takes_value = arg.get_action().takes_values();
    let known: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = if takes_value && !known.is_empty() { Some(known.join(",")) } else { written };
    let kind = kind(arg);
    let possible_values = match kind {
        "choice" => arg.get_possible_values(),
        _ => Vec::new(),
    };
    DescribedOption {
        name: arg.get_long().unwrap_or(arg.get_id().as_str()).to_string(),
        positional: arg.is_positional(),
        required: arg.is_required_set(),
        repeatable: matches!(arg.get_action(), ArgAction::Append),
        switch: !takes_value || arg.get_num_args().is_some_and(|range| range.min_values() == 0),
        value_name: takes_value.then(|| value_name(arg)),
        kind,
        possible_values: possible_values.iter().filter(|value| !value.is_hide_set()).map(value).collect(),
        default,
        help,
    }
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn value(value: &clap::builder::PossibleValue) -> DescribedValue {
    let help = value.get_help().map(ToString::to_string).unwrap_or_default();
    DescribedValue { name: value.get_name().to_string(), help }
}

/// What the parser makes of the value.
fn kind(arg: &Arg) -> &'static str {
    let parsed = arg.get_value_parser().type_id();
    let is = |types: &[TypeId]| types.iter().any(|of| parsed == *of);
    if is(&[TypeId::of::<bool>()]) {
        "boolean"
    } else if is(&[TypeId::of::<usize>(), TypeId::of::<u64>(), TypeId::of::<u32>()]) {
        "integer"
    } else if is(&[TypeId::of::<f32>(), TypeId::of::<f64>()]) {
        "number"
    } else if is(&[TypeId::of::<PathBuf>()]) {
        "path"
    } else if !arg.get_possible_values().is_empty() {
        "choice"
    } else {
        "text"
    }
}

/// A line of the table: what is typed, its default, and what it means.
fn row(option: &DescribedOption) -> Vec<String> {
    let value = match &option.value_name {
        Some(name) if option.positional => return vec![name.clone(), default(option), meaning(option)],
        Some(name) if option.switch => format!(" [{name}]"),
        Some(name) => format!(" {name}"),
        None => String::new(),
    };
    vec![format!("--{}{value}", option.name), default(option), meaning(option)]
}

fn default(option: &DescribedOption) -> String {
    option.default.clone().unwrap_or_default()
}

fn meaning(option: &DescribedOption) -> String {
    if option.possible_values.is_empty() {
        return option.help.clone();
    }
    let names: Vec<&str> = option.possible_values.iter().map(|value| value.name.as_str()).collect();
    format!("{} ({})", option.help, names.join(", "))
}
