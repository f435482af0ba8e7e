//! Random nights: the changes applied to the clusters before give those of today.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::nightly::changes::{Changes, Today, compare};
use crate::nightly::ids::{Groups, assign};
use crate::nightly::previous::{Member, Moment, Previous, find};
use crate::run::change_schema::{Event, Reason};
use crate::run::schema::ClusterRow;
use crate::tables::ids::Ids;
use crate::tables::questions::{Questions, of_texts};
use crate::text::key::TextKey;

/// A corpus: id → (number of its text, its group, its votes). Questions of one text are in one group, and the one with most
/// votes represents it.
type Corpus = BTreeMap<i64, (u8, u8, u8)>;

fn corpus() -> impl Strategy<Value = Corpus> {
    let group_of_text = prop::collection::vec(0u8..6, 24);
    let text_and_votes = prop::collection::btree_map(0i64..30, (0u8..24, 0u8..4), 0..30);
    (group_of_text, text_and_votes).prop_map(|(groups, ids)| {
        ids.into_iter().map(|(id, (text, votes))| (id, (text, groups[text as usize], votes))).collect()
    })
}

/// What a version leaves, and its changes.
struct Night {
    previous: Previous,
    changes: Changes,
    clusters: BTreeMap<i64, (i64, bool)>,
}

fn night(corpus: &Corpus, history: &[Night]) -> Night {
    let now = Moment { version: history.len() as u64 + 1, time: history.len() as i64 };
    let questions = Questions {
        ids: Ids::of_numbers(corpus.keys().copied()),
        ..of_texts(corpus.values().map(|(text, ..)| format!("text {text}")))
    };
    let keys: Vec<TextKey> = questions.texts.iter().map(TextKey::of).collect();
    let mut unique = keys.clone();
    unique.sort_unstable();
    unique.dedup();
    let text_of = |key: &TextKey| unique.binary_search(key).unwrap() as u32;
    let mut by_group: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    for (row, (_, group, _)) in (0..).zip(corpus.values()) {
        by_group.entry(*group).or_default().push(row);
    }
    let members_of: Vec<Vec<u32>> = by_group.into_values().filter(|rows| rows.len() > 1).collect();
    let texts: Vec<Vec<u32>> = members_of
        .iter()
        .map(|rows| {
            let texts: BTreeSet<u32> = rows.iter().map(|&row| text_of(&keys[row as usize])).collect();
            texts.into_iter().collect()
        })
        .collect();
    let mut weights = vec![0; unique.len()];
    keys.iter().for_each(|key| weights[text_of(key) as usize] += 1);
    let groups = Groups {
        texts: &texts,
        keys: &unique,
        questions: &weights,
        fixed: &vec![None; texts.len()],
        reserved: &BTreeSet::new(),
    };
    let before = history.last().map(|night| &night.previous);
    let mut older = history.iter().rev().skip(1).map(|night| night.previous.members.clone());
    let ids = assign(&groups, before.map_or(&[], |before| &before.members), &mut || Ok(older.next()), now).unwrap();

    let votes: Vec<u8> = corpus.values().map(|(.., votes)| *votes).collect();
    let (mut rows, mut members) = (Vec::new(), Vec::new());
    for ((named, questions), texts) in ids.named.iter().zip(&members_of).zip(&texts) {
        let chosen = questions.iter().copied().max_by_key(|&question| votes[question as usize]).unwrap();
        let first = keys[chosen as usize];
        let copy = questions.iter().filter(|&&other| other < chosen && keys[other as usize] == first).count() as u32;
        rows.extend(questions.iter().map(|&question| ClusterRow {
            question,
            cluster: named.id as i64,
            is_representative: question == chosen,
            size: questions.len() as u32,
            ..ClusterRow::default()
        }));
        members.extend(texts.iter().map(|&text| {
            let key = unique[text as usize];
            let stays = before.and_then(|before| before.member(&key)).filter(|member| member.cluster == named.id);
            Member {
                key,
                cluster: named.id,
                joined: stays.map_or(now.version, |member| member.joined),
                represents: (key == first).then_some(copy),
                first_seen: named.first_seen,
                last_changed: now,
            }
        }));
    }
    members.sort_by_key(|member| member.key);
    let today = Today { questions: &questions, keys: &keys, clusters: &rows, ids: &ids, cause: Reason::Scores, now };
    let (changes, counts) = compare(before, &today).unwrap();
    let id_of: Vec<i64> = corpus.keys().copied().collect();
    let clusters = rows.iter().map(|row| (id_of[row.question as usize], (row.cluster, row.is_representative)));
    let clusters = clusters.collect();
    if let Some(before) = before {
        let old: BTreeSet<String> = (0..before.keys.len()).map(|row| before.questions.ids.display(row)).collect();
        let new: BTreeSet<String> = id_of.iter().map(i64::to_string).collect();
        assert_eq!((counts.new, counts.deleted), (new.difference(&old).count(), old.difference(&new).count()));
    }
    assert!(members.iter().all(|member| find(&members, &member.key) == Some(member)));
    Night { previous: Previous::new(now.version, questions, members), changes, clusters }
}

proptest! {
    #[test]
    fn the_changes_of_all_nights_add_up_to_the_clusters_of_the_last(corpora in prop::collection::vec(corpus(), 1..6)) {
        let (mut history, mut folded): (Vec<Night>, BTreeMap<i64, i64>) = (Vec::new(), BTreeMap::new());
        let (mut representatives, mut sizes) = (BTreeMap::new(), BTreeMap::new());
        let mut ever = BTreeSet::new();
        for corpus in &corpora {
            let next = night(corpus, &history);
            let id = |number: u32| next.changes.ids.display(number as usize).parse::<i64>().unwrap();
            for row in &next.changes.membership {
                prop_assert_eq!(folded.get(&id(row.question)).copied(), row.from);
                match row.to {
                    Some(to) => folded.insert(id(row.question), to),
                    None => folded.remove(&id(row.question)),
                };
            }
            for event in &next.changes.events {
                prop_assert_eq!(sizes.get(&event.cluster).copied().unwrap_or(0), event.size_before);
                if matches!(event.event, Event::Created | Event::Split) {
                    prop_assert!(ever.insert(event.cluster), "an id was given twice");
                }
                match event.representative {
                    Some(question) => representatives.insert(event.cluster, id(question)),
                    None => representatives.remove(&event.cluster),
                };
            }
            // the sizes change after all events of the version are seen
            for event in &next.changes.events {
                match event.size_after {
                    0 => sizes.remove(&event.cluster),
                    size => sizes.insert(event.cluster, size),
                };
            }
            let today: BTreeMap<i64, i64> = next.clusters.iter().map(|(&id, &(cluster, _))| (id, cluster)).collect();
            prop_assert_eq!(&folded, &today);
            let shown: BTreeMap<i64, i64> =
                next.clusters.iter().filter(|(_, (_, is))| *is).map(|(&id, &(cluster, _))| (cluster, id)).collect();
            prop_assert_eq!(&representatives, &shown);
            history.push(next);
        }
    }

    #[test]
    fn the_same_questions_again_change_nothing(corpus in corpus()) {
        let first = night(&corpus, &[]);
        let second = night(&corpus, &[first]);
        prop_assert!(second.changes.membership.is_empty() && second.changes.events.is_empty());
    }
}
