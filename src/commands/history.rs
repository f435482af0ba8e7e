//! `mine history`: the versions of an output that are kept.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::commands::output::{print_json, print_lines};
use crate::commands::terminal::table;
use crate::error::usage_with_hint;
use crate::progress::readable;
use crate::run::change_schema::Event;
use crate::store::versions::{Version, Versions};

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Output folder of a run
    #[arg(default_value = "mined")]
    run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints a line for each version, the newest first.
pub fn run(args: &HistoryArgs) -> Result<()> {
    let versions = Versions::of(&args.run);
    let Some(current) = versions.current() else {
        return Err(usage_with_hint(
            format!("{} has no versions", args.run.display()),
            "give the --output folder of a run of mine that has ended",
        ));
    };
    let kept: Vec<Version> = versions.kept().into_iter().rev().collect();
    if args.json {
        return print_json(&serde_json::json!({ "current": current.number, "versions": kept }));
    }
    let header = [
        "version",
        "run at",
        "questions",
        "new",
        "edited",
        "deleted",
        "duplicates",
        "clusters",
        "backlog",
        "what changed",
    ];
    let rows = kept.iter().map(|version| row(version, current.number)).collect();
    print_lines(table(&header, &[2, 3, 4, 5, 6, 7, 8], rows))
}

fn row(version: &Version, current: u64) -> Vec<String> {
    let counts = &version.counts;
    let mut row = vec![
        format!("{}{}", version.number, if version.number == current { " *" } else { "" }),
        version.started.chars().take(16).collect::<String>().replace('T', " "),
        readable(version.questions),
    ];
    let numbers = [counts.new, counts.edited, counts.deleted, counts.duplicates, counts.clusters, counts.backlog];
    row.extend(numbers.map(|number| readable(number as usize)));
    let events = Event::ALL
        .into_iter()
        .filter_map(|event| Some(format!("{} {}", readable(*counts.events.get(event.name())? as usize), event.name())));
    let events: Vec<String> = events.collect();
    let back = version.rolled_back_to.map(|to| format!("rolled back to {to}: ")).unwrap_or_default();
    row.push(format!("{back}{}", if events.is_empty() { "–".into() } else { events.join(", ") }));
    row
}
