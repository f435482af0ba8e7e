//! Guards: what a run does not replace the results of the version before with, unless it is told to.

use std::collections::{BTreeMap, HashMap};

use crate::nightly::previous::Previous;
use crate::progress::readable;
use crate::run::flags::Share;
use crate::run::schema::{ClusterRow, ClusterStatsRow};
use crate::text::key::TextKey;

const MAX_DELETED: f64 = 0.05;
const MAX_NEW_DUPLICATES: f64 = 0.2;
/// Without `--max-cluster-size` a cluster may have this many questions, or so many times those of the largest before.
const LARGE_CLUSTER: u32 = 1000;
const GROWTH: u32 = 10;
/// A default limit lets this many questions pass: a share of few questions says nothing.
const FEW: usize = 20;

/// What the user set; the defaults stand for the others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub max_deleted: Option<Share>,
    pub max_cluster_size: Option<usize>,
    pub max_new_duplicates: Option<Share>,
}

impl Limits {
    /// What the user set, and nothing else.
    pub fn without_defaults(self) -> Self {
        Self {
            max_deleted: self.max_deleted,
            max_cluster_size: self.max_cluster_size.or(Some(usize::MAX)),
            max_new_duplicates: self.max_new_duplicates.or(Some(Share(1.0))),
        }
    }
}

/// A guard that a run tripped.
#[derive(Debug, Clone, PartialEq)]
pub struct Tripped {
    pub flag: &'static str,
    pub found: String,
    /// The value of the flag that accepts what was found.
    pub accept: String,
}

/// Questions of the version before whose text is gone: deleted, or edited. An id that moved to another text counts as
/// nothing. `today` are the keys of today's questions, without those of a reference. Also returns which questions they are.
pub fn deleted(previous: &Previous, today: &[TextKey], limits: &Limits) -> Option<(Tripped, Vec<usize>)> {
    let mut left: HashMap<TextKey, usize> = HashMap::with_capacity(today.len());
    today.iter().for_each(|key| *left.entry(*key).or_default() += 1);
    let mut gone = Vec::new();
    let is_reference = |at: usize| previous.questions.is_reference.get(at) == Some(&true);
    let before = (0..previous.keys.len()).filter(|&at| !is_reference(at)).count();
    for (at, key) in previous.keys.iter().enumerate().filter(|(at, _)| !is_reference(*at)) {
        match left.get_mut(key).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => gone.push(at),
        }
    }
    let share = gone.len() as f64 / before.max(1) as f64;
    let all_gone = today.is_empty() && before > 0;
    let passes = limits.max_deleted.is_none() && gone.len() <= FEW && !all_gone;
    let limit = limits.max_deleted.map_or(MAX_DELETED, |share| share.0);
    if share <= limit || passes {
        return None;
    }
    let found = format!(
        "{} of the {} questions of version {} are gone or edited ({}), more than {} may be",
        readable(gone.len()),
        readable(before),
        previous.version,
        percent(share),
        percent(limit)
    );
    Some((Tripped { flag: "--max-deleted", found, accept: accepted(share) }, gone))
}

/// A cluster that is too large, or too many questions that were in no cluster before and are in one now.
pub fn clusters(
    previous: Option<&Previous>,
    keys: &HashMap<u32, TextKey>,
    clusters: &[ClusterRow],
    stats: &[ClusterStatsRow],
    questions: usize,
    limits: &Limits,
) -> Option<Tripped> {
    let default = previous.map(|previous| (largest(previous) * GROWTH).max(LARGE_CLUSTER) as usize);
    let biggest = stats.iter().max_by_key(|stats| stats.size);
    if let (Some(limit), Some(biggest)) = (limits.max_cluster_size.or(default), biggest)
        && biggest.size as usize > limit
    {
        let size = biggest.size as usize;
        let found = format!(
            "cluster {} has {} questions, more than {} may be in one",
            biggest.cluster,
            readable(size),
            readable(limit)
        );
        return Some(Tripped { flag: "--max-cluster-size", found, accept: size.to_string() });
    }
    let previous = previous?;
    let is_new = |row: &&ClusterRow| {
        !row.is_reference && keys.get(&row.question).is_some_and(|key| previous.member(key).is_none())
    };
    let new = clusters.iter().filter(is_new).count();
    let share = new as f64 / questions.max(1) as f64;
    let limit = limits.max_new_duplicates.map_or(MAX_NEW_DUPLICATES, |share| share.0);
    let passes = limits.max_new_duplicates.is_none() && new <= FEW;
    if share <= limit || passes {
        return None;
    }
    let found = format!(
        "{} of {} questions are in a cluster and were in none in version {} ({}), more than {} may be",
        readable(new),
        readable(questions),
        previous.version,
        percent(share),
        percent(limit)
    );
    Some(Tripped { flag: "--max-new-duplicates", found, accept: accepted(share) })
}

/// Questions of the largest cluster of the version before.
fn largest(previous: &Previous) -> u32 {
    let mut sizes: BTreeMap<u64, u32> = BTreeMap::new();
    for member in previous.keys.iter().filter_map(|key| previous.member(key)) {
        *sizes.entry(member.cluster).or_default() += 1;
    }
    sizes.into_values().max().unwrap_or(0)
}

fn percent(share: f64) -> String {
    let text = format!("{:.1}", 100.0 * share);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// The share, rounded up to a tenth of a percent, as the flag takes it.
fn accepted(share: f64) -> String {
    let tenths = (share * 1000.0 - 1e-9).ceil() / 10.0;
    format!("{tenths}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::question_rows::SkipReason;

    fn previous(texts: usize) -> Previous {
        let questions = crate::tables::questions::of_texts((0..texts).map(|at| format!("question {at}")));
        assert!(questions.skipped.iter().all(|skipped| skipped.reason == SkipReason::Null));
        Previous::new(3, questions, Vec::new())
    }

    #[test]
    fn half_an_export_trips_and_a_few_questions_do_not() {
        let before = previous(400);
        let tripped = |left: usize, limits: &Limits| {
            deleted(&before, &before.keys[..left], limits).map(|(tripped, gone)| (tripped, gone.len()))
        };
        let (found, gone) = tripped(200, &Limits::default()).unwrap();
        assert_eq!((found.flag, found.accept.as_str(), gone), ("--max-deleted", "50%", 200));
        assert_eq!(
            found.found,
            "200 of the 400 questions of version 3 are gone or edited (50 %), more than 5 % may be"
        );
        assert_eq!(tripped(380, &Limits::default()), None);
        assert!(tripped(379, &Limits::default()).is_some());
        let limits = |share| Limits { max_deleted: Some(Share(share)), ..Limits::default() };
        assert!(tripped(399, &limits(0.0)).is_some() && tripped(160, &limits(0.6)).is_none());
        // ids that move and copies that stay are no deletions
        let mut turned = before.keys.clone();
        turned.rotate_left(7);
        assert_eq!(deleted(&before, &turned, &limits(0.0)), None);
        let few = previous(3);
        assert!(deleted(&few, &[], &Limits::default()).is_some(), "no question is left");
        assert!(deleted(&few, &few.keys[..1], &Limits::default()).is_none());
    }

    #[test]
    fn large_clusters_and_many_new_duplicates_trip() {
        let before = previous(400);
        let stats = |size| [ClusterStatsRow { cluster: 9, size, ..ClusterStatsRow::default() }];
        let of = |size: u32, limits: &Limits| {
            let rows: Vec<ClusterRow> =
                (0..size).map(|question| ClusterRow { question, cluster: 9, ..ClusterRow::default() }).collect();
            let keys = (0..).zip(before.keys.iter().copied()).collect();
            clusters(Some(&before), &keys, &rows, &stats(size), 400, limits).map(|tripped| tripped.flag)
        };
        let none = Limits::default();
        assert_eq!(of(80, &none), None);
        assert_eq!(of(81, &none), Some("--max-new-duplicates"));
        let loose = Limits { max_new_duplicates: Some(Share(1.0)), ..none };
        assert_eq!(of(400, &loose), None);
        assert_eq!(of(400, &Limits { max_cluster_size: Some(399), ..loose }), Some("--max-cluster-size"));
    }
}
