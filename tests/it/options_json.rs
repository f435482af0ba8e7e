//! `mine options`: the description that the Python package is made from.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::*;

fn commands() -> Vec<Value> {
    json(&["options", "--json"])["commands"].as_array().unwrap().clone()
}

fn option(command: &str, name: &str) -> Value {
    let commands = commands();
    let command = commands.iter().find(|described| described["name"] == command).unwrap();
    let options = command["options"].as_array().unwrap();
    options.iter().find(|option| option["name"] == name).unwrap_or_else(|| panic!("{name} is not described")).clone()
}

/// The flags that `--help` lists, without those about the parser.
fn flags_of_help(command: &str) -> BTreeSet<String> {
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--help"]).collect();
    let help = String::from_utf8(mine(&words).stdout).unwrap();
    let listed = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let flag = line.strip_prefix("-h, ").or(line.strip_prefix("-V, ")).unwrap_or(line);
        // a line of wrapped help can begin with a flag and a full stop
        flag.strip_prefix("--")?.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()
    });
    let listed: BTreeSet<String> = listed.map(String::from).collect();
    listed.into_iter().filter(|flag| flag != "help" && flag != "version").collect()
}

#[test]
fn every_command_has_the_flags_of_its_help() {
    let commands = commands();
    for command in &commands {
        let name = command["name"].as_str().unwrap();
        let options = command["options"].as_array().unwrap();
        let flags: BTreeSet<String> = options
            .iter()
            .filter(|option| option["positional"] == false)
            .map(|option| option["name"].as_str().unwrap().to_string())
            .collect();
        assert_eq!(flags, flags_of_help(name), "{name}");
        assert!(command["about"].as_str().is_some_and(|about| !about.is_empty()), "{name} has no description");
        for option in options {
            assert!(option["help"].as_str().is_some_and(|help| !help.is_empty()), "{name}: {option}");
        }
    }
    let names: Vec<&str> = commands.iter().map(|command| command["name"].as_str().unwrap()).collect();
    for expected in ["mine", "mine run", "mine evaluate", "mine train", "mine models pull", "mine options"] {
        assert!(names.contains(&expected), "{names:?}");
    }
}

#[test]
fn an_option_says_what_it_takes() {
    let expected = [
        ("mine", "top-k", "integer", json!("100"), json!("K"), false, false),
        ("mine", "input", "text", json!(null), json!("PATH"), true, false),
        ("mine", "output", "path", json!("mined"), json!("DIR"), false, false),
        ("mine", "threshold", "number", json!("from dupmine.json"), json!("P"), false, false),
        ("mine", "delta", "boolean", json!("false"), json!("BOOL"), false, true),
        ("mine", "force", "boolean", json!(null), json!(null), false, true),
        ("mine evaluate", "gold", "path", json!(null), json!("FILE"), true, false),
        ("mine evaluate", "seed", "integer", json!("42"), json!("SEED"), false, false),
    ];
    for (command, name, kind, default, value_name, repeatable, switch) in expected {
        let found = option(command, name);
        let facts = ["kind", "default", "value_name", "repeatable", "switch", "positional", "possible_values"]
            .map(|fact| found[fact].clone());
        let expected = [json!(kind), default, value_name, json!(repeatable), json!(switch), json!(false), json!([])];
        assert_eq!(facts, expected, "{command} {name}");
    }
    let clustering = option("mine", "clustering");
    assert_eq!((&clustering["kind"], &clustering["default"]), (&json!("choice"), &json!("cohesive")));
    assert!(clustering["possible_values"].as_array().unwrap().iter().any(|value| value["name"] == "star"));
    let run = option("mine show", "run");
    assert_eq!((&run["positional"], &run["required"]), (&json!(true), &json!(true)));
}

#[test]
fn without_json_it_is_a_table() {
    let output = mine(&["options"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("mine evaluate: Measure models"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("--top-k K ") && line.contains("100")), "{text}");
}
