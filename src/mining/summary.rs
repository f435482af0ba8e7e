//! The last lines of a run, for a person.

use std::path::Path;

use crate::mining::plan::Plan;
use crate::mining::rows::Tables;
use crate::progress::{Progress, readable};
use crate::run::change_schema::Event;
use crate::run::manifest::Manifest;
use crate::run::schema::{PairKind, PairRow};
use crate::store::versions::Version;
use crate::tables::questions::Questions;
use crate::text::visible::visible;

const CLUSTERS_SHOWN: usize = 5;
const TEXT_CHARACTERS: usize = 90;

/// Prints what was found, what changed, where it is, and what took how long. `is_written` if nothing had to be written.
pub fn print(
    plan: &Plan,
    questions: &Questions,
    tables: &Tables,
    manifest: &Manifest,
    version: &Version,
    is_written: bool,
    progress: &Progress,
) {
    let duplicates = tables.pairs.iter().filter(|pair| pair.is_duplicate == Some(true)).count();
    let review = tables.stats.iter().filter(|stats| stats.needs_review).count();
    progress.say("");
    let known = questions.is_reference.iter().filter(|is| **is).count();
    let compared = if known > 0 { format!(", compared with {} known ones", readable(known)) } else { String::new() };
    progress.say(&format!(
        "questions  {} ({} rows skipped){compared}",
        readable(questions.texts.len() - known),
        readable(questions.skipped.len())
    ));
    let undecided = tables.pairs.iter().filter(|pair| pair.is_duplicate.is_none()).count();
    progress.say(&format!(
        "pairs      {}: {} duplicates, {} undecided",
        readable(tables.pairs.len()),
        readable(duplicates),
        readable(undecided)
    ));
    let floor = plan.rule.calibrated.as_ref().and_then(|decision| decision.rerank_floor);
    let below = tables.pairs.iter().filter(|pair| floor.is_some_and(|floor| pair.cosine < floor)).count();
    if let (Some(floor), 1..) = (floor, below) {
        progress.say(&format!(
            "           {} below cosine {floor} not reranked: --rerank-floor -1 reranks all",
            readable(below)
        ));
    }
    let ceiling = plan.models.decision.as_ref().and_then(|decision| decision.rerank_ceiling);
    let ceiling = ceiling.map(|ceiling| ceiling.cosine);
    let is_above = |pair: &PairRow| pair.kind == PairKind::Semantic && ceiling.is_some_and(|c| pair.cosine > c);
    let above = tables.pairs.iter().filter(|pair| is_above(pair)).count();
    if let (Some(ceiling), 1..) = (ceiling, above) {
        progress.say(&format!(
            "           {} above cosine {ceiling} not reranked: --rerank-ceiling 1 reranks all",
            readable(above)
        ));
    }
    let is_unasked = |pair: &PairRow| {
        pair.kind == PairKind::Semantic && pair.logit_ab.or(pair.logit_ba).is_none() && pair.probability.is_some()
    };
    let unasked = tables.pairs.iter().filter(|pair| is_unasked(pair)).count() - above;
    if plan.rule.unasked.is_some() {
        progress.say(&format!(
            "           {} more not reranked, their cosine decided: --rerank-share 100% reranks all",
            readable(unasked)
        ));
    }
    progress.say(&format!(
        "clusters   {} holding {} questions, {} to review",
        readable(tables.stats.len()),
        readable(tables.clusters.len()),
        readable(review)
    ));
    if plan.cross_encoder.is_none() {
        progress.say(&format!("           decided by cosine alone (at {}): no cross-encoder", plan.rule.threshold));
    }
    if version.parent.is_some() || is_written {
        say_changes(version, is_written, (&plan.options.output, plan.options.keep_versions), progress);
    }
    let mut biggest: Vec<_> = tables.stats.iter().collect();
    biggest.sort_by_key(|stats| std::cmp::Reverse(stats.size));
    biggest.truncate(CLUSTERS_SHOWN);
    if !biggest.is_empty() {
        progress.say("biggest clusters");
    }
    for stats in biggest {
        let text = questions.text_of_row(stats.representative).unwrap_or_default();
        progress.say(&format!("{:>9}  {}", stats.size, visible(text, TEXT_CHARACTERS)));
    }
    let seconds: Vec<String> = manifest
        .stages
        .iter()
        .map(|stage| match stage.cached {
            true => format!("{} cached", stage.stage),
            false => format!("{} {:.1}", stage.stage, stage.seconds),
        })
        .collect();
    progress.say(&format!("seconds    {:.1} in all: {}", manifest.seconds, seconds.join(", ")));
    progress.say(&format!("results    {}", plan.options.output.display()));
}

/// What the version changed.
fn say_changes(version: &Version, is_written: bool, (output, kept): (&Path, usize), progress: &Progress) {
    if is_written {
        progress.say(&format!("version    {}: nothing changed since its run at {}", version.number, version.started));
        return;
    }
    let counts = &version.counts;
    let number = |count: u64| readable(count as usize);
    progress.say(&format!(
        "version    {}: {} questions new, {} edited, {} deleted",
        version.number,
        number(counts.new),
        number(counts.edited),
        number(counts.deleted)
    ));
    let events = Event::ALL.into_iter().filter_map(|event| {
        let count = counts.events.get(event.name())?;
        Some(format!("{} {}", number(*count), event.name()))
    });
    let events: Vec<String> = events.collect();
    let said = if events.is_empty() { "no change".into() } else { events.join(", ") };
    progress.say(&format!("           clusters: {said}"));
    if let Some(parent) = version.parent.filter(|_| kept > 1) {
        progress.say(&format!("           version {parent} is kept: mine rollback {} --to {parent}", output.display()));
    }
}
