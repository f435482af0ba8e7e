//! What changed since the version before.

use anyhow::Result;

use crate::report::charts;
use crate::report::format::count;
use crate::report::run::Fact;
use crate::report::source::{QuestionCard, Source};
use crate::run::change_schema::{ClusterEventRow, Event};
use crate::store::versions::Version;

/// Events that are shown one by one.
const LISTED: usize = 15;

/// A cluster that changed.
pub struct Changed {
    pub event: &'static str,
    pub cluster: String,
    pub size: String,
    pub other: Option<String>,
    pub representative: Option<QuestionCard>,
}

/// The section as the page shows it.
pub struct NightView {
    pub title: String,
    pub facts: Vec<Fact>,
    pub changed: Vec<Changed>,
    pub left_out: Option<String>,
    pub trends: Vec<(&'static str, String)>,
}

/// The section, `None` in a first version.
pub fn view(source: &Source) -> Result<Option<NightView>> {
    let Some(night) = source.night else { return Ok(None) };
    let Some(version) = night.history.iter().find(|version| version.number == night.number) else { return Ok(None) };
    let Some(parent) = version.parent else { return Ok(None) };
    let counts = &version.counts;
    let fact = |name: &str, value: u64| Fact { name: name.into(), value: count(value as f64) };
    let mut facts =
        vec![fact("questions new", counts.new), fact("edited", counts.edited), fact("deleted", counts.deleted)];
    let of_event = |event: Event| counts.events.get(event.name()).copied().unwrap_or(0);
    let events = Event::ALL.into_iter().filter(|event| of_event(*event) > 0);
    facts.extend(events.map(|event| fact(&format!("clusters {}", event.name()), of_event(event))));
    if counts.backlog > 0 {
        facts.push(fact("pairs that wait for a rerank budget", counts.backlog));
    }
    let mut biggest: Vec<&ClusterEventRow> = night.events.iter().collect();
    biggest.sort_by_key(|event| {
        let moved = event.size_after.abs_diff(event.size_before).max(event.questions);
        (std::cmp::Reverse(moved), event.event, event.cluster)
    });
    let left_out = biggest.len().saturating_sub(LISTED);
    let changed = biggest.into_iter().take(LISTED).map(|event| Changed {
        event: event.event.name(),
        cluster: event.cluster.to_string(),
        size: match event.size_before == event.size_after {
            true => count(event.size_after.into()),
            false => format!("{} → {}", count(event.size_before.into()), count(event.size_after.into())),
        },
        other: event.other.map(|other| other.to_string()),
        representative: event.representative.map(|row| source.question(row)),
    });
    Ok(Some(NightView {
        title: format!("Since version {parent}"),
        facts,
        changed: changed.collect(),
        left_out: (left_out > 0).then(|| count(left_out as f64)),
        trends: trends(&night.history)?,
    }))
}

/// Counts over the kept versions.
fn trends(history: &[Version]) -> Result<Vec<(&'static str, String)>> {
    let of = |name: &'static str, value: &dyn Fn(&Version) -> u64| -> Result<(&'static str, String)> {
        let points: Vec<(u64, u64)> = history.iter().map(|version| (version.number, value(version))).collect();
        Ok((name, charts::trend(&points, name)?))
    };
    let mut trends = vec![
        of("questions", &|version| version.questions as u64)?,
        of("clusters", &|version| version.counts.clusters)?,
        of("duplicate pairs", &|version| version.counts.duplicates)?,
    ];
    if history.iter().any(|version| version.counts.backlog > 0) {
        trends.push(of("pairs in the backlog", &|version| version.counts.backlog)?);
    }
    Ok(trends)
}
