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

/// Prints the figures of each version, the newest first, and then what each changed: together they would not fit a terminal of
/// 80 columns.
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
    let name =
        |version: &Version| format!("{}{}", version.number, if version.number == current.number { " *" } else { "" });
    let figures = |version: &Version| {
        let counts = &version.counts;
        let at = version.started.chars().take(16).collect::<String>().replace('T', " ");
        let numbers = [version.questions as u64, counts.duplicates, counts.clusters, counts.backlog];
        [name(version), at].into_iter().chain(numbers.map(|number| readable(number as usize))).collect()
    };
    let header = ["version", "run at", "questions", "duplicates", "clusters", "backlog"];
    let mut lines = table(&header, &[2, 3, 4, 5], kept.iter().map(figures).collect());
    lines.push(String::new());
    let changes = kept.iter().map(|version| vec![name(version), what_changed(version)]).collect();
    lines.extend(table(&["version", "what changed"], &[], changes));
    print_lines(lines)
}

/// `3 questions new, 1 edited; clusters: 2 created, 1 grown`.
fn what_changed(version: &Version) -> String {
    let counts = &version.counts;
    let questions = [("new", counts.new), ("edited", counts.edited), ("deleted", counts.deleted)];
    let questions = questions.into_iter().filter(|(_, count)| *count > 0);
    let mut questions: Vec<String> =
        questions.map(|(what, count)| format!("{} {what}", readable(count as usize))).collect();
    if let Some(first) = questions.first_mut() {
        *first = first.replacen(' ', " questions ", 1);
    }
    let events = Event::ALL
        .into_iter()
        .filter_map(|event| Some(format!("{} {}", readable(*counts.events.get(event.name())? as usize), event.name())));
    let events: Vec<String> = events.collect();
    let back = version.rolled_back_to.map(|to| format!("rolled back to {to}: ")).unwrap_or_default();
    let clusters = (!events.is_empty()).then(|| format!("clusters: {}", events.join(", ")));
    let parts: Vec<String> =
        Some(questions.join(", ")).filter(|said| !said.is_empty()).into_iter().chain(clusters).collect();
    format!("{back}{}", if parts.is_empty() { "no question and no cluster".into() } else { parts.join("; ") })
}
