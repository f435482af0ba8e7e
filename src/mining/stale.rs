//! What `--plan` says: what each stage would compute, and why.

use std::sync::Arc;

use anyhow::Result;

use crate::mining::collapse::{self, UniqueTexts};
use crate::mining::log::Log;
use crate::mining::plan::Plan;
use crate::mining::reference::Reference;
use crate::mining::{candidates, embed, neighbour_lists, rerank, run, write};
use crate::progress::{Progress, readable};
use crate::run::manifest::Manifest;
use crate::run::options::{Options, Part};
use crate::store::identity::{Identity, Kind};
use crate::store::root::Store;
use crate::store::versions::{Version, Versions};

/// One line a stage, and one if the run would be refused. Reads the input and looks into the store; changes nothing.
pub fn describe(plan: &Plan, force: bool, progress: &Progress) -> Result<Vec<String>> {
    let output = &plan.options.output;
    let store = Store::peek(output, plan.shared_store())?;
    let quiet = Progress::new(true, Arc::default());
    let mut reference = plan.options.reference.as_deref().map(|path| Reference::open(path, plan)).transpose()?;
    let questions = run::read(plan, reference.as_mut(), &quiet, &mut Log::default())?;
    let unique = collapse::collapse(&questions.texts, &questions.is_reference);
    let before = Versions::of(output).current();
    if store.mirror(output).map_or(Ok(false), |mirror| mirror.is_newer())? {
        progress
            .warn("another machine wrote a version of this output: a run fetches it first, this plan does not know it");
    }
    let mut stale = vec![
        ("embed", embedding(&store, plan, &unique, before.as_ref(), progress)?),
        ("candidates", None),
        ("rerank", None),
    ];
    let upstream = |stage: &str| Some(format!("after {stage}"));
    let lists = plan.neighbours(&unique)?;
    let found = neighbour_lists::stored(&store, &lists, &mut store.segments(&lists)?, &unique.keys, progress)?;
    stale[1].1 = match &found {
        Some(_) => None,
        None => Some(searching(&store, plan, &unique, before.as_ref(), progress)?),
    };
    stale[2].1 = match (&plan.scores, &found) {
        (None, _) => None,
        (Some(_), None) => upstream("candidates"),
        (Some(identity), Some(found)) => {
            let candidates = candidates::unordered(&found.lists, plan.options.top_k);
            let missing = rerank::missing(&store, plan, identity, &unique.keys, &candidates, progress)?;
            let changed =
                changed(Kind::Scores, identity, before.as_ref()).map_or(String::new(), |parts| format!(": {parts}"));
            (missing > 0).then(|| format!("{} pairs have no score{changed}", readable(missing)))
        }
    };
    if plan.scores.is_none() {
        stale.truncate(2);
    }
    let is_same =
        |version: &Version| version.content == questions.content && plan.decides_as(&version.decision).unwrap_or(false);
    let files = |options: &Options| options.of_part(Part::Files).ok();
    let is_written = before.as_ref().is_some_and(is_same)
        && Manifest::read(output)
            .ok()
            .flatten()
            .is_some_and(|manifest| files(&manifest.options) == files(&plan.options));
    let first = stale.iter().find(|(_, why)| why.is_some()).map(|(stage, _)| *stage);
    let why = match first {
        Some(stage) => upstream(stage),
        None if is_written => None,
        None => Some("its options, ids or column of --keep changed, or its files are not written".into()),
    };
    stale.push(("cluster", why));
    let line = |(stage, why): (&str, Option<String>)| match why {
        None => format!("{stage:<12} fresh"),
        Some(why) => format!("{stage:<12} stale   {why}"),
    };
    let mut lines: Vec<String> = stale.into_iter().map(line).collect();
    if let (false, Err(refused)) = (force, write::check_replaceable(plan)) {
        lines.push(format!("refused      {refused:#}; --force replaces it"));
    }
    Ok(lines)
}

fn searching(
    store: &Store,
    plan: &Plan,
    unique: &UniqueTexts,
    before: Option<&Version>,
    progress: &Progress,
) -> Result<String> {
    if let Some(earlier) = candidates::to_update(store, plan, unique, progress)? {
        let again = earlier.is_new.iter().filter(|is_new| !**is_new).count();
        let again = if again > 0 { format!(" ({} of them lost neighbours)", readable(again)) } else { String::new() };
        return Ok(format!(
            "searches {} of {} texts{again}",
            readable(earlier.fresh.len()),
            readable(unique.keys.len())
        ));
    }
    Ok(match changed(Kind::Neighbours, &plan.neighbours(unique)?, before) {
        Some(parts) => format!("searches all texts: {parts}"),
        None => "searches all texts: their lists are not stored".into(),
    })
}

fn embedding(
    store: &Store,
    plan: &Plan,
    unique: &UniqueTexts,
    before: Option<&Version>,
    progress: &Progress,
) -> Result<Option<String>> {
    let stored = embed::Stored::read(store.segments(&plan.vectors)?, &unique.keys, &unique.keys, progress)?;
    let (missing, all) = (stored.missing().len(), unique.keys.len());
    let changed = changed(Kind::Vectors, &plan.vectors, before).map_or(String::new(), |parts| format!(": {parts}"));
    Ok((missing > 0).then(|| format!("{} of {} texts have no vector{changed}", readable(missing), readable(all))))
}

/// What of an identity differs from the current version; `None` if nothing does.
fn changed(kind: Kind, identity: &Identity, before: Option<&Version>) -> Option<String> {
    let Some(before) = before else { return Some("never ran here".into()) };
    let parts = identity.changed_since(before.identity(kind)?);
    (!parts.is_empty()).then(|| format!("changed: {}", parts.join(", ")))
}
