//! What changed since the version before: questions that joined and left clusters, and what happened to clusters.
//!
//! The changes applied to the clusters of the version before give those of today, representatives included.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::nightly::ids::{Ids as ClusterIds, Origin};
use crate::nightly::previous::{Moment, Previous};
use crate::run::change_schema::{ClusterEventRow, Event, MembershipChangeRow, Reason};
use crate::run::schema::ClusterRow;
use crate::tables::id_index::IdIndex;
use crate::tables::ids::Ids;
use crate::tables::questions::Questions;
use crate::text::key::TextKey;

/// The clusters of today.
pub struct Today<'a> {
    pub questions: &'a Questions,
    /// Question → key of its text.
    pub keys: &'a [TextKey],
    pub clusters: &'a [ClusterRow],
    pub ids: &'a ClusterIds,
    /// Why a question moved that stayed as it was.
    pub cause: Reason,
    pub now: Moment,
}

/// Changes, of one version or of several.
pub struct Changes {
    /// The ids that rows refer to by number.
    pub ids: Ids,
    pub membership: Vec<MembershipChangeRow>,
    pub events: Vec<ClusterEventRow>,
}

/// How the questions changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuestionCounts {
    pub new: usize,
    pub edited: usize,
    pub deleted: usize,
}

impl Changes {
    /// Those of versions that are kept when version `now` comes.
    pub fn since(mut self, now: u64, kept: usize) -> Self {
        let oldest = (now + 1).saturating_sub(kept as u64);
        self.membership.retain(|row| row.version >= oldest);
        self.events.retain(|row| row.version >= oldest);
        self
    }

    /// These changes after earlier ones. Earlier ones whose ids do not fit the type of these are left out.
    pub fn after(mut self, earlier: Self) -> Result<Self> {
        let Ok(earlier_ids) = earlier.ids.with_type_of(&self.ids) else { return Ok(self) };
        let first = self.ids.len() as u32;
        let moved = |number: u32| first + number;
        let membership = earlier.membership.into_iter();
        let mut all: Vec<MembershipChangeRow> =
            membership.map(|row| MembershipChangeRow { question: moved(row.question), ..row }).collect();
        all.append(&mut self.membership);
        let events = earlier.events.into_iter();
        let mut all_events: Vec<ClusterEventRow> =
            events.map(|row| ClusterEventRow { representative: row.representative.map(moved), ..row }).collect();
        all_events.append(&mut self.events);
        Ok(Self { ids: self.ids.join(&earlier_ids)?, membership: all, events: all_events })
    }

    /// Clusters that a question joined or left.
    pub fn changed_clusters(&self) -> BTreeSet<i64> {
        self.membership.iter().flat_map(|row| [row.from, row.to]).flatten().collect()
    }

    /// Events by name.
    pub fn event_counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for row in &self.events {
            *counts.entry(row.event.name().to_string()).or_insert(0) += 1;
        }
        counts
    }
}

/// One cluster before and now.
#[derive(Default)]
struct Sides {
    before: u32,
    after: u32,
    joined: u32,
    left: u32,
    /// Rows of the questions that represent it, of the input before and of today's.
    represented_before: Option<u32>,
    represented: Option<u32>,
}

/// What changed from the version before, whose ids have the type of today's, to today. Without one everything is new.
pub fn compare(previous: Option<&Previous>, today: &Today) -> Result<(Changes, QuestionCounts)> {
    let questions = today.questions;
    let mut cluster_of: Vec<Option<i64>> = vec![None; questions.ids.len()];
    let mut sides: BTreeMap<i64, Sides> = BTreeMap::new();
    for row in today.clusters {
        cluster_of[row.question as usize] = Some(row.cluster);
        let side = sides.entry(row.cluster).or_default();
        side.after += 1;
        side.represented = if row.is_representative { Some(row.question) } else { side.represented };
    }
    let before = Before::new(previous, &mut sides);
    // row of today → question before
    let old_rows = match previous {
        Some(previous) => IdIndex::new(previous.questions.ids.clone())?.find_all(&questions.ids)?,
        None => vec![None; questions.ids.len()],
    };
    let old_of = |row: u32| before.at_row.get(old_rows[row as usize]? as usize).copied().flatten();
    let mut counts = QuestionCounts::default();
    let mut membership = Vec::new();
    let mut stays = vec![false; before.keys.len()];
    let change = |question, from, to, reason| MembershipChangeRow {
        version: today.now.version,
        time: today.now.time,
        question,
        from,
        to,
        reason,
    };
    for (&row, key) in questions.rows.iter().zip(today.keys) {
        let old = old_of(row);
        old.into_iter().for_each(|old| stays[old] = true);
        let reason = match old {
            None => Reason::New,
            Some(old) if before.keys[old] != *key => Reason::Edited,
            Some(_) => today.cause,
        };
        counts.new += usize::from(reason == Reason::New);
        counts.edited += usize::from(reason == Reason::Edited);
        let (from, to) = (old.and_then(|old| before.cluster_of[old]), cluster_of[row as usize]);
        if from != to {
            membership.push(change(row, from, to, reason));
        }
    }
    let mut gone = Vec::new();
    for (old, _) in stays.iter().enumerate().filter(|(_, stays)| !**stays) {
        counts.deleted += 1;
        if let Some(from) = before.cluster_of[old] {
            let number = (questions.ids.len() + gone.len()) as u32;
            gone.push(before.rows[old]);
            membership.push(change(number, Some(from), None, Reason::Deleted));
        }
    }
    for row in &membership {
        row.to.into_iter().for_each(|to| sides.entry(to).or_default().joined += 1);
        row.from.into_iter().for_each(|from| sides.entry(from).or_default().left += 1);
    }
    let origins: BTreeMap<i64, Origin> = today.ids.named.iter().map(|named| (named.id as i64, named.origin)).collect();
    let mut events = Vec::new();
    for (&cluster, side) in &sides {
        let merged = today.ids.merged.get(&(cluster as u64)).map(|&into| into as i64);
        let is_same = side.represented.and_then(|row| old_rows[row as usize]) == side.represented_before;
        for (event, other, questions) in happened(side, origins.get(&cluster).copied(), merged, is_same) {
            events.push(ClusterEventRow {
                version: today.now.version,
                time: today.now.time,
                event,
                cluster,
                other,
                size_before: side.before,
                size_after: side.after,
                questions,
                representative: side.represented,
            });
        }
    }
    let ids = match previous {
        Some(previous) if !gone.is_empty() => questions.ids.join(&previous.questions.ids.pick(&gone)?)?,
        _ => questions.ids.clone(),
    };
    Ok((Changes { ids, membership, events }, counts))
}

/// The events of one cluster, each with the other cluster and the questions that joined or left.
fn happened(
    side: &Sides,
    origin: Option<Origin>,
    merged: Option<i64>,
    same_representative: bool,
) -> Vec<(Event, Option<i64>, u32)> {
    match (side.before, side.after) {
        (0, 0) => Vec::new(),
        (0, _) => vec![match origin {
            Some(Origin::Split(from)) => (Event::Split, Some(from as i64), side.after),
            Some(Origin::Revived(from)) => (Event::Revived, Some(from as i64), side.after),
            Some(Origin::Restored) => (Event::Revived, None, side.after),
            Some(Origin::Created | Origin::Carried) | None => (Event::Created, None, side.after),
        }],
        (_, 0) => vec![match merged {
            Some(into) => (Event::Merged, Some(into), side.before),
            None => (Event::Dissolved, None, side.before),
        }],
        _ => {
            let mut events = Vec::new();
            events.extend((side.joined > 0).then_some((Event::Grown, None, side.joined)));
            events.extend((side.left > 0).then_some((Event::Shrunk, None, side.left)));
            events.extend((!same_representative).then_some((Event::Represented, None, 0)));
            events
        }
    }
}

/// The questions of the version before.
struct Before<'a> {
    keys: &'a [TextKey],
    rows: &'a [u32],
    cluster_of: Vec<Option<i64>>,
    /// Row → question.
    at_row: Vec<Option<usize>>,
}

impl<'a> Before<'a> {
    /// Counts the questions of each cluster, and finds those that represent them.
    fn new(previous: Option<&'a Previous>, sides: &mut BTreeMap<i64, Sides>) -> Self {
        let Some(previous) = previous else {
            return Self { keys: &[], rows: &[], cluster_of: Vec::new(), at_row: Vec::new() };
        };
        let questions = &previous.questions;
        let mut at_row = vec![None; questions.ids.len()];
        let mut cluster_of = Vec::with_capacity(previous.keys.len());
        // cluster → the questions with the text that represents it: whether each is of the input, and its row
        let mut copies: BTreeMap<i64, (u32, Vec<(bool, u32)>)> = BTreeMap::new();
        for (at, (key, &row)) in previous.keys.iter().zip(&questions.rows).enumerate() {
            at_row[row as usize] = Some(at);
            let member = previous.member(key);
            cluster_of.push(member.map(|member| member.cluster as i64));
            if let Some(member) = member {
                let cluster = member.cluster as i64;
                let side = sides.entry(cluster).or_default();
                side.before += 1;
                if let Some(copy) = member.represents {
                    let is_of_input = questions.is_reference.get(at) != Some(&true);
                    copies.entry(cluster).or_insert((copy, Vec::new())).1.push((is_of_input, row));
                }
            }
        }
        for (cluster, (copy, mut questions)) in copies {
            questions.sort_unstable();
            sides.entry(cluster).or_default().represented_before = questions.get(copy as usize).map(|(_, row)| *row);
        }
        Self { keys: &previous.keys, rows: &questions.rows, cluster_of, at_row }
    }
}
