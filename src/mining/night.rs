//! One night: what is read of the version before, and what is left for the next.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::atomic_file::{make_folder_of, step};
use crate::mining::cluster::Known;
use crate::mining::collapse::UniqueTexts;
use crate::mining::plan::Plan;
use crate::mining::rows::{Group, Tables};
use crate::mining::write::{self, Results};
use crate::nightly::changes::{self, Changes, QuestionCounts, Today};
use crate::nightly::guards::{self, Tripped};
use crate::nightly::ids::{self, Groups, Ids};
use crate::nightly::previous::{self, Member, Moment, Previous};
use crate::progress::Progress;
use crate::run::change_schema::{CLUSTER_EVENTS, MEMBERSHIP_CHANGES, Reason};
use crate::run::manifest::Manifest;
use crate::run::reader::stored_questions;
use crate::store::files::of_folder;
use crate::store::identity::Kind;
use crate::store::root::Store;
use crate::store::segments::Segments;
use crate::store::versions::{Counts, Version, Versions};
use crate::tables::corpus;
use crate::tables::id_index::IdIndex;
use crate::tables::questions::Questions;
use crate::text::key::TextKey;

/// A run among the versions of its output.
pub struct Night {
    versions: Versions,
    /// The version that this run is, and its time.
    pub now: Moment,
    /// The same as text, for people and the manifest.
    pub time: String,
    /// What the results change.
    pub previous: Option<Previous>,
    /// Whether the ids of `previous` have the type of today's.
    ids_fit: bool,
    /// Changes of the versions up to `previous`.
    earlier: Option<Changes>,
    /// The record of `previous`.
    parent: Option<Version>,
    /// The current version, if this run has the same results.
    pub same: Option<Version>,
}

impl Night {
    /// The night after the current version. A version that was kept by an earlier program, or is damaged, is as none: then
    /// the number of this one is not the next, but the one after.
    pub fn after_current(plan: &Plan, started: jiff::Timestamp, progress: &Progress) -> Result<Self> {
        let versions = Versions::of(&plan.options.output);
        let time = plan.options.run_time.map_or(started, |time| time.0);
        let parent = versions.current();
        let previous = parent.as_ref().and_then(|version| load(&plan.options.output, &versions, version, progress));
        let earlier = previous.as_ref().and_then(|previous| load_changes(&versions, previous, progress));
        let written = Manifest::read(&plan.options.output).ok().flatten().map_or(0, |manifest| manifest.number);
        let last = (versions.next_number() - 1).max(written);
        // a gap in the numbers tells who follows the changes that they do not continue from what was there
        let number = if earlier.is_none() && last > 0 { last + 2 } else { last + 1 };
        let now = Moment { version: number, time: time.as_microsecond() };
        let time = time.to_string();
        Ok(Self { versions, now, time, previous, ids_fit: true, earlier, parent, same: None })
    }

    /// Brings the ids of the version before to the type of today's. If one has no value of that type, changes start anew.
    pub fn fit_ids(&mut self, questions: &Questions, progress: &Progress) {
        let Some(previous) = &mut self.previous else { return };
        match previous.questions.ids.with_type_of(&questions.ids) {
            Ok(ids) => previous.questions.ids = ids,
            Err(error) => {
                progress.warn(format!("version {}: {error}: changes start anew", previous.version));
                self.ids_fit = false;
                self.now.version += u64::from(self.earlier.take().is_some());
            }
        }
    }

    /// If the current version has these results, the night is that version's again: after a kill, or with nothing new.
    pub fn settle(&mut self, plan: &Plan, run_id: &str, questions: &Questions, progress: &Progress) -> Result<()> {
        let Some(current) = self.versions.current().filter(|current| current.run_id == run_id) else { return Ok(()) };
        let time: jiff::Timestamp = current.started.parse().context("a version has no time")?;
        self.now = Moment { version: current.number, time: time.as_microsecond() };
        self.time.clone_from(&current.started);
        let parent = current.parent.and_then(|number| self.versions.find(number));
        // without its parent the version is compared with itself: nothing changed
        if let Some(parent) = parent {
            self.previous = load(&plan.options.output, &self.versions, &parent, progress);
            self.earlier = self.previous.as_ref().and_then(|previous| load_changes(&self.versions, previous, progress));
            self.parent = Some(parent);
        } else if current.parent.is_none() {
            (self.previous, self.earlier, self.parent) = (None, None, None);
        }
        self.same = Some(current);
        let number = self.now.version;
        self.fit_ids(questions, progress);
        self.now.version = number;
        Ok(())
    }

    /// Refuses an input that lacks too much of the version before.
    pub fn check_input(&self, plan: &Plan, questions: &Questions, unique: &UniqueTexts) -> Result<()> {
        let Some(previous) = &self.previous else { return Ok(()) };
        let is_reference = |question: usize| questions.is_reference.get(question) == Some(&true);
        let of_input = unique.text_of.iter().enumerate().filter(|(question, _)| !is_reference(*question));
        let keys: Vec<TextKey> = of_input.map(|(_, &text)| unique.keys[text as usize]).collect();
        let Some((tripped, gone)) = guards::deleted(previous, &keys, &plan.limits()) else { return Ok(()) };
        let gone = previous.questions.part(&gone)?;
        Err(write::refuse(&plan.options.output, None, Some(&gone), &tripped)?)
    }

    /// A guard that the clusters trip.
    pub fn check_clusters(
        &self,
        plan: &Plan,
        questions: &Questions,
        unique: &UniqueTexts,
        tables: &Tables,
    ) -> Option<Tripped> {
        if self.same.is_some() {
            return None;
        }
        // an option that was typed is no accident: only limits that were typed too hold then
        let is_asked_for = self.cause(plan).is_ok_and(|cause| cause == Reason::Threshold);
        let key = |(&row, &text): (&u32, &u32)| (row, unique.keys[text as usize]);
        let keys: HashMap<u32, TextKey> = questions.rows.iter().zip(&unique.text_of).map(key).collect();
        let (previous, limits) = (self.previous.as_ref(), plan.limits());
        let limits = if is_asked_for { limits.without_defaults() } else { limits };
        let known = questions.is_reference.iter().filter(|is| **is).count();
        guards::clusters(previous, &keys, &tables.clusters, &tables.stats, questions.texts.len() - known, &limits)
    }

    /// The ids of today's clusters.
    pub fn name(
        &self,
        groups: &[Group],
        unique: &UniqueTexts,
        known: Option<&Known>,
        progress: &Progress,
    ) -> Result<Ids> {
        let texts: Vec<Vec<u32>> = groups.iter().map(|group| group.texts.clone()).collect();
        let known_id = |group: &Group| {
            let known = known?;
            known.ids[known.cluster_with(&group.texts)? as usize]
        };
        let fixed: Vec<Option<u64>> = groups.iter().map(known_id).collect();
        let reserved = known.map(|known| known.ids.iter().copied().flatten().collect()).unwrap_or_default();
        let counts = unique.question_counts();
        let groups =
            Groups { texts: &texts, keys: &unique.keys, questions: &counts, fixed: &fixed, reserved: &reserved };
        let none = Vec::new();
        let before = self.previous.as_ref().map_or(&none, |previous| &previous.members);
        let parent = self.previous.as_ref().map_or(0, |previous| previous.version);
        let mut older = self.versions.kept();
        older.retain(|version| version.number < parent);
        let mut next = || -> Result<Option<Vec<Member>>> {
            Ok(older.pop().map(|version| members(&self.versions, &version, progress).unwrap_or_default()))
        };
        ids::assign(&groups, before, &mut next, self.now)
    }

    /// What changed since the version before, written into the clusters' rows too. The changes of earlier versions that are
    /// still kept come first.
    pub fn compare(
        &mut self,
        plan: &Plan,
        questions: &Questions,
        unique: &UniqueTexts,
        tables: &mut Tables,
        ids: &Ids,
    ) -> Result<(Changes, NightCounts)> {
        let keys: Vec<TextKey> = unique.text_of.iter().map(|&text| unique.keys[text as usize]).collect();
        let cause = self.cause(plan)?;
        let today = Today { questions, keys: &keys, clusters: &tables.clusters, ids, cause, now: self.now };
        let (changes, of_questions) = changes::compare(self.previous.as_ref().filter(|_| self.ids_fit), &today)?;
        let changed = changes.changed_clusters();
        let members = self.previous.iter().flat_map(|previous| &previous.members);
        let before: HashMap<i64, Moment> = members.map(|member| (member.cluster as i64, member.last_changed)).collect();
        for row in &mut tables.stats {
            let last =
                before.get(&row.cluster).filter(|_| !changed.contains(&row.cluster)).copied().unwrap_or(self.now);
            (row.last_changed, row.last_changed_at) = (last.version, last.time);
        }
        let events = changes.event_counts();
        let changes = match self.earlier.take() {
            Some(earlier) => changes.after(earlier.since(self.now.version, plan.options.keep_versions))?,
            None => changes,
        };
        Ok((changes, NightCounts { of_questions, events }))
    }

    /// Why a question that stayed as it was would be in another cluster.
    fn cause(&self, plan: &Plan) -> Result<Reason> {
        let Some(parent) = &self.parent else { return Ok(Reason::Scores) };
        let decision = plan.decision()?;
        let scores = plan.scores.as_ref().map(|scores| scores.fingerprint());
        let same_models = parent.fingerprint(Kind::Vectors) == Some(plan.vectors.fingerprint())
            && parent.fingerprint(Kind::Scores) == scores
            && parent.decision.get("model") == decision.get("model");
        Ok(match (same_models, plan.decides_as(&parent.decision)?) {
            (false, _) => Reason::Model,
            (true, false) => Reason::Threshold,
            (true, true) => Reason::Scores,
        })
    }

    /// Where the result files of this night are written before they are complete.
    pub fn staging(&self) -> PathBuf {
        self.versions.files_of(self.now.version).with_extension("next")
    }

    /// Gives the complete files their place among the versions.
    pub fn place(&self) -> Result<()> {
        let folder = self.versions.files_of(self.now.version);
        let failed = || format!("cannot write {}", folder.display());
        step();
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(failed)?;
        }
        step();
        std::fs::rename(self.staging(), &folder).with_context(failed)
    }

    /// Whether the results that are there are these: then nothing has to be written.
    pub fn is_written(&self) -> bool {
        self.same.as_ref().is_some_and(|same| write::is_whole(same, &self.versions.files_of(same.number)))
    }

    /// The number of the version whose changes are in the results.
    fn parent(&self) -> Option<u64> {
        self.parent.as_ref().map(|parent| parent.number)
    }

    /// The versions before this one that are kept.
    pub fn history(&self) -> Vec<Version> {
        let mut kept = self.versions.kept();
        kept.retain(|version| version.number < self.now.version);
        kept
    }

    /// The record of this version; the hashes of its files are still missing. Keeps what the next night needs.
    pub fn version(&self, store: &Store, plan: &Plan, results: &Results, run: Ran) -> Result<Version> {
        let Results { run_id, questions, unique, tables, .. } = results;
        let identities = [plan.vectors.clone(), plan.neighbours(unique)?].into_iter().chain(plan.scores.clone());
        Ok(Version {
            number: self.now.version,
            run_id: run_id.to_string(),
            started: self.time.clone(),
            content: questions.content.clone(),
            questions: questions.texts.len(),
            texts: store.write_texts(&unique.keys)?,
            identities: identities.collect(),
            parent: self.same.as_ref().map_or(self.parent(), |same| same.parent),
            rolled_back_to: self.same.as_ref().and_then(|same| same.rolled_back_to),
            seconds: run.seconds,
            members: Some(self.keep(questions, unique, run.groups, run.ids, tables)?),
            decision: plan.decision()?,
            counts: run.counts,
            files: BTreeMap::new(),
        })
    }

    /// Keeps the questions and the clustered texts for the next night, and returns the name of the latter.
    fn keep(
        &self,
        questions: &Questions,
        unique: &UniqueTexts,
        groups: &[Group],
        ids: &Ids,
        tables: &Tables,
    ) -> Result<String> {
        let path = self.versions.questions_file(&questions.content);
        if !path.exists() {
            make_folder_of(&path)?;
            corpus::write(&path, questions)?;
        }
        let is_of_input = |question: u32| questions.is_reference.get(question as usize) != Some(&true);
        let mut members = Vec::new();
        for ((group, named), stats) in groups.iter().zip(&ids.named).zip(&tables.stats) {
            let representative = unique.text_of[group.representative as usize];
            let place = |question: u32| (is_of_input(question), question);
            let is_before = |&&question: &&u32| {
                unique.text_of[question as usize] == representative && place(question) < place(group.representative)
            };
            let copy = group.questions.iter().filter(is_before).count() as u32;
            members.extend(group.texts.iter().map(|text| {
                let key = unique.keys[*text as usize];
                let before = self.previous.as_ref().and_then(|previous| previous.member(&key));
                Member {
                    key,
                    cluster: named.id,
                    joined: before.filter(|before| before.cluster == named.id).map_or(self.now.version, |b| b.joined),
                    represents: (representative == *text).then_some(copy),
                    first_seen: named.first_seen,
                    last_changed: Moment { version: stats.last_changed, time: stats.last_changed_at },
                }
            }));
        }
        members.sort_unstable_by_key(|member| member.key);
        Segments::open(&of_folder(self.versions.clusters_folder()), "")?.append(previous::columns(&members))
    }
}

/// What a run leaves besides its results.
pub struct Ran<'a> {
    pub groups: &'a [Group],
    pub ids: &'a Ids,
    pub counts: Counts,
    pub seconds: f64,
}

/// How much changed in a night.
#[derive(Debug, Clone, Default)]
pub struct NightCounts {
    pub of_questions: QuestionCounts,
    /// Events by name.
    pub events: BTreeMap<String, u64>,
}

impl NightCounts {
    /// With the figures of the results.
    pub fn with(self, tables: &Tables, backlog: usize) -> Counts {
        let Self { of_questions: QuestionCounts { new, edited, deleted }, events } = self;
        Counts {
            new: new as u64,
            edited: edited as u64,
            deleted: deleted as u64,
            pairs: tables.pairs.len() as u64,
            duplicates: tables.pairs.iter().filter(|pair| pair.is_duplicate == Some(true)).count() as u64,
            clusters: tables.stats.len() as u64,
            questions_in_clusters: tables.clusters.len() as u64,
            largest_cluster: tables.stats.iter().map(|stats| stats.size).max().unwrap_or(0).into(),
            backlog: backlog as u64,
            events,
        }
    }
}

/// The changes that the files of a version have.
pub fn earlier_changes(folder: &Path) -> Result<Changes> {
    let columns = MEMBERSHIP_CHANGES.ids(folder)?.chain(CLUSTER_EVENTS.ids(folder)?);
    let index = IdIndex::numbering(columns)?;
    let (mut membership, mut events) = (Vec::new(), Vec::new());
    for rows in MEMBERSHIP_CHANGES.read(folder, &index)? {
        membership.append(&mut rows?);
    }
    for rows in CLUSTER_EVENTS.read(folder, &index)? {
        events.append(&mut rows?);
    }
    Ok(Changes { ids: index.ids().clone(), membership, events })
}

/// The clustered texts of a version, `None` if they are damaged or were not kept.
fn members(versions: &Versions, version: &Version, progress: &Progress) -> Option<Vec<Member>> {
    let mut found = None;
    let mut segment = Segments::of_file(&of_folder(versions.clusters_folder()), "", version.members.as_ref()?);
    let receive = |columns| {
        found = Some(previous::members(columns)?);
        Ok(0)
    };
    if let Err(error) = segment.read(&|line| progress.warn(line), receive) {
        progress.warn(format!("{error:#}"));
    }
    found
}

/// The changes in the files of the version before; `None` with a warning if they are damaged.
fn load_changes(versions: &Versions, previous: &Previous, progress: &Progress) -> Option<Changes> {
    let changes = earlier_changes(&versions.files_of(previous.version));
    changes.map_err(|error| progress.warn(format!("{error:#}: changes start anew"))).ok()
}

/// What a version leaves to the next one; without it cluster ids and changes start anew, with a warning.
pub fn load(output: &Path, versions: &Versions, version: &Version, progress: &Progress) -> Option<Previous> {
    version.members.as_ref()?;
    let start_anew = |why: String| {
        progress.warn(format!("version {}: {why}: cluster ids and changes start anew", version.number));
    };
    let Some(members) = members(versions, version, progress) else {
        start_anew("its clusters are not there".into());
        return None;
    };
    match stored_questions(output, &version.content) {
        Ok(questions) => Some(Previous::new(version.number, questions, members)),
        Err(error) => {
            start_anew(format!("{error:#}"));
            None
        }
    }
}
