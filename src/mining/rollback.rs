//! Back to an earlier version: its results become the next version, and the changes say what that means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

use crate::atomic_file::{link, write_json};
use crate::error::hint;
use crate::mining::night::{earlier_changes, load};
use crate::mining::write;
use crate::nightly::changes::{Today, compare};
use crate::nightly::ids::{Groups, Ids, Origin, assign};
use crate::nightly::previous::{Member, Moment, Previous};
use crate::progress::Progress;
use crate::run::change_schema::{CLUSTER_EVENTS, MEMBERSHIP_CHANGES, Reason};
use crate::run::flags::RunTime;
use crate::run::manifest::{self, Manifest};
use crate::run::reader::Results;
use crate::store::lock::Lock;
use crate::store::mirror::Mirror;
use crate::store::place::{self, is_url};
use crate::store::versions::{Counts, Version, Versions};
use crate::text::key::TextKey;

/// Makes the results of version `to` the next version; `None` if they are the current ones.
pub fn rollback(
    output: &Path,
    to: u64,
    run_time: Option<RunTime>,
    wait: bool,
    progress: &Progress,
) -> Result<Option<Version>> {
    let versions = Versions::of(output);
    let holder = format!("process {}, rollback of {}", std::process::id(), output.display());
    let nothing = || {
        hint(
            format!("{} has no versions", output.display()),
            "give the --output folder of a run of mine that has ended",
        )
    };
    versions.current().ok_or_else(nothing)?;
    let _lock = Lock::acquire(versions.folder(), &holder, wait, progress)?;
    let mut mirror = mirror(output)?;
    if let Some(mirror) = &mut mirror {
        write::fetch(mirror, output, progress)?;
    }
    let current = versions.current().ok_or_else(nothing)?;
    let Some(target) = versions.find(to) else {
        let kept: Vec<String> = versions.kept().iter().map(|version| version.number.to_string()).collect();
        return Err(hint(
            format!("{} has no version {to}", output.display()),
            format!("it keeps {}; see mine history {}", kept.join(", "), output.display()),
        ));
    };
    if target.number == current.number || target.run_id == current.run_id && current.rolled_back_to == Some(to) {
        // a rollback that was killed may not have given the files their names
        write::publish(output, &current)?;
        return Ok(None);
    }
    let from = versions.files_of(target.number);
    let mut manifest = Manifest::read(&from)?
        .with_context(|| format!("version {to} has no files: an earlier mine wrote it, which kept none"))?;
    let time = run_time.map_or_else(jiff::Timestamp::now, |time| time.0);
    let now = Moment { version: versions.next_number(), time: time.as_microsecond() };

    let previous = load(output, &versions, &current, progress);
    let today = load(output, &versions, &target, progress)
        .with_context(|| format!("the questions or clusters of version {to} are not there"))?;
    let ids = ids_of(&today, previous.as_ref(), now)?;
    let results = Results::open(&from, Some(today.questions.ids.clone()))?;
    let compared = Today {
        questions: &today.questions,
        keys: &today.keys,
        clusters: &results.clusters()?,
        ids: &ids,
        cause: Reason::Scores,
        now,
    };
    let (changes, counts) = compare(previous.as_ref(), &compared)?;
    let events = changes.event_counts();
    let changes = match &previous {
        Some(previous) => {
            let kept = manifest.options.keep_versions;
            changes.after(earlier_changes(&versions.files_of(previous.version))?.since(now.version, kept))?
        }
        None => changes,
    };

    let folder = versions.files_of(now.version);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let replaced = [CLUSTER_EVENTS.file, MEMBERSHIP_CHANGES.file, manifest::FILE];
    for name in target.files.keys().filter(|name| !replaced.contains(&name.as_str())) {
        match write::hash(&from.join(name)) {
            Some(found) if target.files.get(name) == Some(&found) => link(&from.join(name), &folder.join(name))?,
            Some(_) => {
                return Err(hint(
                    format!(
                        "{} has changed since it was written: version {to} cannot come back",
                        from.join(name).display()
                    ),
                    "results share their bytes with their version: write into copies of them",
                ));
            }
            None => progress.warn(format!("{name} of version {to} was not kept: the next run writes it")),
        }
    }
    let footer = [("dupmine.run_id".to_string(), target.run_id.clone())];
    CLUSTER_EVENTS.write(&folder, &changes.ids, &changes.events, &footer)?;
    MEMBERSHIP_CHANGES.write(&folder, &changes.ids, &changes.membership, &footer)?;
    manifest.number = now.version;
    manifest.started = time.to_string();
    write_json(&folder.join(manifest::FILE), &manifest)?;
    let counts = Counts {
        new: counts.new as u64,
        edited: counts.edited as u64,
        deleted: counts.deleted as u64,
        events,
        ..target.counts.clone()
    };
    let version = Version {
        number: now.version,
        started: time.to_string(),
        parent: Some(current.number),
        rolled_back_to: Some(to),
        counts,
        // a file that was not kept is still one of the version: the next run sees that it is not there
        files: target
            .files
            .iter()
            .map(|(name, hash)| (name.clone(), hash.clone()))
            .chain(write::hashes(&folder)?)
            .collect(),
        ..target
    };
    match &mut mirror {
        Some(mirror) => mirror.commit(&version).and_then(|()| mirror.prune())?,
        None => versions.commit(&version)?,
    }
    write::publish(output, &version)?;
    versions.prune(manifest.options.keep_versions)?;
    Ok(Some(version))
}

/// The mirror of an output whose store is on object storage.
fn mirror(output: &Path) -> Result<Option<Mirror>> {
    let store = Manifest::read(output)?.and_then(|manifest| manifest.options.store);
    let Some(store) = store.filter(|store| is_url(store)) else { return Ok(None) };
    let files = place::open(&store)?;
    Ok(files.folder().is_none().then(|| Mirror::of(&files, output)))
}

/// The clusters keep the ids that they had. Those that are not in the version before are back.
fn ids_of(today: &Previous, before: Option<&Previous>, now: Moment) -> Result<Ids> {
    let mut keys: Vec<TextKey> = today.keys.clone();
    keys.sort_unstable();
    keys.dedup();
    let number = |key: &TextKey| keys.binary_search(key).ok().map(|at| at as u32);
    let mut questions = vec![0; keys.len()];
    today.keys.iter().filter_map(number).for_each(|text| questions[text as usize] += 1);
    let mut texts_of: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for member in &today.members {
        texts_of.entry(member.cluster).or_default().extend(number(&member.key));
    }
    let fixed: Vec<Option<u64>> = texts_of.keys().copied().map(Some).collect();
    let texts: Vec<Vec<u32>> = texts_of.into_values().collect();
    let groups =
        Groups { texts: &texts, keys: &keys, questions: &questions, fixed: &fixed, reserved: &BTreeSet::new() };
    let none: Vec<Member> = Vec::new();
    let members = before.map_or(&none, |before| &before.members);
    let mut ids = assign(&groups, members, &mut || Ok(None), now)?;
    let alive: BTreeSet<u64> = members.iter().map(|member| member.cluster).collect();
    for named in ids.named.iter_mut().filter(|named| !alive.contains(&named.id)) {
        named.origin = Origin::Restored;
    }
    Ok(ids)
}
