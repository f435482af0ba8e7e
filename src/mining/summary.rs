//! The last lines of a run, for a person.

use crate::mining::plan::Plan;
use crate::mining::rows::Tables;
use crate::progress::{Progress, readable};
use crate::run::manifest::Manifest;
use crate::tables::questions::Questions;
use crate::text::visible::visible;

const CLUSTERS_SHOWN: usize = 5;
const TEXT_CHARACTERS: usize = 90;

/// Prints what was found, where it is, and what took how long.
pub fn print(plan: &Plan, questions: &Questions, tables: &Tables, manifest: &Manifest, progress: &Progress) {
    let duplicates = tables.pairs.iter().filter(|pair| pair.is_duplicate == Some(true)).count();
    let review = tables.stats.iter().filter(|stats| stats.needs_review).count();
    progress.say("");
    progress.say(&format!(
        "questions  {} ({} rows skipped)",
        readable(questions.texts.len()),
        readable(questions.skipped.len())
    ));
    let undecided = tables.pairs.iter().filter(|pair| pair.is_duplicate.is_none()).count();
    progress.say(&format!(
        "pairs      {}: {} duplicates, {} undecided",
        readable(tables.pairs.len()),
        readable(duplicates),
        readable(undecided)
    ));
    let floor = plan.models.decision.as_ref().and_then(|decision| decision.rerank_floor);
    let below = tables.pairs.iter().filter(|pair| floor.is_some_and(|floor| pair.cosine < floor)).count();
    if let (Some(floor), 1..) = (floor, below) {
        progress.say(&format!(
            "           {} below cosine {floor} not reranked: --rerank-floor -1 reranks all",
            readable(below)
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
    let mut biggest: Vec<_> = tables.stats.iter().collect();
    biggest.sort_by_key(|stats| (std::cmp::Reverse(stats.size), stats.cluster));
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
