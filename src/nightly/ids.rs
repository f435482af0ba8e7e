//! Cluster ids that last: a new cluster takes over the id of an old one by the texts that they share.
//!
//! 1. Each old cluster offers its id to the new cluster that holds most of its questions (tie: the part with the oldest
//!    member).
//! 2. A new cluster takes the oldest id that it is offered. The others are merged into it.
//! 3. A part that gets no id was split off. If it holds most of a cluster that was merged within the kept versions, it takes
//!    that id back.
//! 4. What is left gets a new id, minted from the smallest key of its texts and the number of the version, so that the same
//!    first run gives the same ids anywhere, and no id is given twice.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::nightly::previous::{Member, Moment, find};
use crate::text::key::TextKey;

/// The new clusters. Texts are numbered in the order of their keys.
pub struct Groups<'a> {
    /// The texts of each cluster.
    pub texts: &'a [Vec<u32>],
    /// Text → its key.
    pub keys: &'a [TextKey],
    /// Text → how many questions have it.
    pub questions: &'a [u32],
    /// Cluster → an id that it has already: that of a reference.
    pub fixed: &'a [Option<u64>],
    /// Ids that only the clusters of a reference can have, whether they are among these or not.
    pub reserved: &'a BTreeSet<u64>,
}

/// Where a cluster comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is an old cluster.
    Carried,
    Created,
    /// It was part of this cluster.
    Split(u64),
    /// It was part of this cluster, and was a cluster of its own before that.
    Revived(u64),
    /// It is back with an earlier version.
    Restored,
}

/// A new cluster's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    pub id: u64,
    pub origin: Origin,
    pub first_seen: Moment,
}

/// The ids of all new clusters, and what old clusters were merged into.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ids {
    pub named: Vec<Named>,
    pub merged: BTreeMap<u64, u64>,
}

/// How much of an old cluster is in one new cluster.
#[derive(Debug, Clone, Copy)]
struct Part {
    id: u64,
    group: usize,
    questions: u64,
    oldest: (u64, TextKey),
    first_seen: Moment,
}

/// Names the new clusters. `before` are the members of the version before; `older` returns those of the versions before
/// that, the newest first, and is asked only if a cluster was split. All are in the order of their keys.
pub fn assign(
    groups: &Groups,
    before: &[Member],
    older: &mut dyn FnMut() -> Result<Option<Vec<Member>>>,
    now: Moment,
) -> Result<Ids> {
    let parts = groups.parts_of(before, &|_| true);
    let seen: BTreeMap<u64, Moment> = before.iter().map(|member| (member.cluster, member.first_seen)).collect();
    let fixed = |id: u64| Named { id, origin: Origin::Carried, first_seen: seen.get(&id).copied().unwrap_or(now) };
    let mut named: Vec<Option<Named>> = groups.fixed.iter().map(|id| id.map(fixed)).collect();
    let mut used: BTreeSet<u64> = seen.keys().copied().collect();
    used.extend(groups.reserved);
    let is_allowed = |offer: &Part| !groups.reserved.contains(&offer.id) || groups.fixed[offer.group] == Some(offer.id);
    let mut offers = offers(&parts);
    offers.retain(is_allowed);
    for offer in oldest_of_each(&offers) {
        let named = &mut named[offer.group];
        if named.is_none() {
            *named = Some(Named { id: offer.id, origin: Origin::Carried, first_seen: offer.first_seen });
        }
    }
    let came_from: BTreeMap<usize, u64> = main_part_of_each(&parts);
    let is_split = |named: &[Option<Named>], group: usize| named[group].is_none() && came_from.contains_key(&group);
    while (0..named.len()).any(|group| is_split(&named, group)) {
        let Some(members) = older()? else { break };
        let parts = groups.parts_of(&members, &|member| !used.contains(&member.cluster));
        let back: Vec<Part> = self::offers(&parts).into_iter().filter(|offer| is_split(&named, offer.group)).collect();
        for offer in oldest_of_each(&back) {
            let origin = Origin::Revived(came_from[&offer.group]);
            named[offer.group] = Some(Named { id: offer.id, origin, first_seen: offer.first_seen });
            used.insert(offer.id);
        }
    }
    let named: Vec<Named> = named
        .into_iter()
        .enumerate()
        .map(|(group, named)| {
            named.unwrap_or_else(|| {
                let origin = came_from.get(&group).map_or(Origin::Created, |&from| Origin::Split(from));
                let smallest = groups.texts[group].iter().min().map(|&text| groups.keys[text as usize]);
                let id = mint(smallest, now.version, &used);
                used.insert(id);
                Named { id, origin, first_seen: now }
            })
        })
        .collect();
    let merged = offers.iter().filter(|offer| named[offer.group].id != offer.id);
    let merged: BTreeMap<u64, u64> = merged.map(|offer| (offer.id, named[offer.group].id)).collect();
    // an id that another cluster has was not merged: its reference keeps it elsewhere
    let alive: BTreeSet<u64> = named.iter().map(|named| named.id).collect();
    Ok(Ids { merged: merged.into_iter().filter(|(id, _)| !alive.contains(id)).collect(), named })
}

impl Groups<'_> {
    /// What each old cluster has in each new one, of the members that `counts`; in the order of (id, group).
    fn parts_of(&self, members: &[Member], counts: &dyn Fn(&Member) -> bool) -> Vec<Part> {
        let mut parts: BTreeMap<(u64, usize), Part> = BTreeMap::new();
        for (group, texts) in self.texts.iter().enumerate() {
            for &text in texts {
                let Some(member) = find(members, &self.keys[text as usize]).filter(|member| counts(member)) else {
                    continue;
                };
                let oldest = (member.joined, member.key);
                let part = parts.entry((member.cluster, group)).or_insert(Part {
                    id: member.cluster,
                    group,
                    questions: 0,
                    oldest,
                    first_seen: member.first_seen,
                });
                part.questions += u64::from(self.questions[text as usize]);
                part.oldest = part.oldest.min(oldest);
            }
        }
        parts.into_values().collect()
    }
}

/// The part of each old cluster that its id is offered to.
fn offers(parts: &[Part]) -> Vec<Part> {
    let by_id = parts.chunk_by(|x, y| x.id == y.id);
    by_id
        .filter_map(|parts| parts.iter().copied().max_by_key(|part| (part.questions, std::cmp::Reverse(part.oldest))))
        .collect()
}

/// Of the offers to each new cluster the oldest id; between ids of one version that of the larger part, then the smaller.
fn oldest_of_each(offers: &[Part]) -> Vec<Part> {
    let mut best: BTreeMap<usize, Part> = BTreeMap::new();
    let rank = |part: &Part| (part.first_seen, std::cmp::Reverse(part.questions), part.id);
    for offer in offers {
        let kept = best.entry(offer.group).or_insert(*offer);
        if rank(offer) < rank(kept) {
            *kept = *offer;
        }
    }
    best.into_values().collect()
}

/// The old cluster that most of each new cluster comes from.
fn main_part_of_each(parts: &[Part]) -> BTreeMap<usize, u64> {
    let mut main: BTreeMap<usize, Part> = BTreeMap::new();
    for part in parts {
        let kept = main.entry(part.group).or_insert(*part);
        if (part.questions, std::cmp::Reverse(part.id)) > (kept.questions, std::cmp::Reverse(kept.id)) {
            *kept = *part;
        }
    }
    main.into_iter().map(|(group, part)| (group, part.id)).collect()
}

/// A positive number that is not in use, below 2⁵³: JavaScript and columns with nulls in pandas hold it exactly.
fn mint(smallest: Option<TextKey>, version: u64, used: &BTreeSet<u64>) -> u64 {
    let mut attempt = 0u64;
    loop {
        let mut hasher = blake3::Hasher::new();
        smallest.iter().for_each(|key| {
            hasher.update(key.bytes());
        });
        hasher.update(&version.to_le_bytes());
        hasher.update(&attempt.to_le_bytes());
        let digest = hasher.finalize();
        let bytes: [u8; 8] = std::array::from_fn(|at| digest.as_bytes()[at]);
        let id = u64::from_le_bytes(bytes) >> 11;
        if id > 0 && !used.contains(&id) {
            return id;
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts "0" to "99" in the order of their keys, one question each.
    fn keys() -> Vec<TextKey> {
        let mut keys: Vec<TextKey> = (0..100).map(|number| TextKey::of(&number.to_string())).collect();
        keys.sort_unstable();
        keys
    }

    fn moment(version: u64) -> Moment {
        Moment { version, time: version as i64 * 1_000_000 }
    }

    /// A night: names the clusters and returns the members that the next night sees.
    fn night(version: u64, texts: &[Vec<u32>], history: &[Vec<Member>]) -> (Ids, Vec<Member>) {
        let keys = keys();
        let groups = Groups {
            texts,
            keys: &keys,
            questions: &[1; 100],
            fixed: &vec![None; texts.len()],
            reserved: &BTreeSet::new(),
        };
        let none = Vec::new();
        let before = history.last().unwrap_or(&none);
        let mut older = history.iter().rev().skip(1);
        let ids = assign(&groups, before, &mut || Ok(older.next().cloned()), moment(version)).unwrap();
        let mut members = Vec::new();
        for (named, texts) in ids.named.iter().zip(texts) {
            members.extend(texts.iter().map(|&text| {
                let key = keys[text as usize];
                let stays = find(before, &key).filter(|member| member.cluster == named.id);
                Member {
                    key,
                    cluster: named.id,
                    joined: stays.map_or(version, |member| member.joined),
                    represents: None,
                    first_seen: named.first_seen,
                    last_changed: moment(version),
                }
            }));
        }
        members.sort_by_key(|member| member.key);
        (ids, members)
    }

    fn ids_of(ids: &Ids) -> Vec<u64> {
        ids.named.iter().map(|named| named.id).collect()
    }

    #[test]
    fn the_same_first_run_mints_the_same_ids_in_any_order() {
        let (one, _) = night(1, &[vec![0, 1], vec![5, 6, 7]], &[]);
        let (other, _) = night(1, &[vec![7, 5, 6], vec![1, 0]], &[]);
        assert_eq!(ids_of(&one), ids_of(&other).into_iter().rev().collect::<Vec<_>>());
        assert!(ids_of(&one).iter().all(|&id| id > 0 && id < 1 << 53));
        assert!(one.named.iter().all(|named| named.origin == Origin::Created));
    }

    #[test]
    fn a_merge_keeps_the_oldest_id_and_a_split_that_undoes_it_takes_the_other_back() {
        let (first, old) = night(1, &[vec![0, 1, 2]], &[]);
        let a = first.named[0].id;
        let (second, both) = night(2, &[vec![0, 1, 2], vec![5, 6, 7, 8]], std::slice::from_ref(&old));
        let b = second.named[1].id;
        let (merged, one) = night(3, &[vec![0, 1, 2, 5, 6, 7, 8]], &[old.clone(), both.clone()]);
        assert_eq!((ids_of(&merged), merged.merged.get(&b)), (vec![a], Some(&a)));
        // a keeps the part with most of its questions, which is that of b; the other part was a before the merge
        let (split, _) = night(4, &[vec![0, 1, 2], vec![5, 6, 7, 8, 9]], &[old, both, one]);
        assert_eq!(split.named[1].id, a);
        assert!(matches!(split.named[0].origin, Origin::Split(from) if from == a));
        assert_ne!(split.named[0].id, b);
    }

    #[test]
    fn a_split_takes_back_the_id_of_the_cluster_that_was_merged() {
        let (_, both) = night(1, &[vec![0, 1, 2], vec![5, 6]], &[]);
        let id_of = |members: &[Member], text: usize| find(members, &keys()[text]).unwrap().cluster;
        let (a, b) = (id_of(&both, 0), id_of(&both, 5));
        let (merged, one) = night(2, &[vec![0, 1, 2, 5, 6]], std::slice::from_ref(&both));
        // of two ids of one version, the larger part's
        assert_eq!((ids_of(&merged), merged.merged.get(&b)), (vec![a], Some(&a)));
        let (split, _) = night(3, &[vec![0, 1, 2], vec![5, 6]], &[both.clone(), one.clone()]);
        assert_eq!(ids_of(&split), [a, b]);
        assert_eq!(split.named[1].origin, Origin::Revived(a));
        // without the older version it is a new cluster
        let (split, _) = night(3, &[vec![0, 1, 2], vec![5, 6]], &[one]);
        assert_eq!(split.named[1].origin, Origin::Split(a));
        assert!(split.named[1].id != b && split.named[0].id == a);
    }

    #[test]
    fn an_even_split_leaves_the_id_with_the_oldest_member() {
        let (first, old) = night(1, &[vec![3, 4]], &[]);
        let (_, grown) = night(2, &[vec![1, 2, 3, 4]], std::slice::from_ref(&old));
        let (split, _) = night(3, &[vec![1, 2], vec![3, 4]], &[old, grown]);
        assert_eq!(split.named[1].id, first.named[0].id);
        assert_eq!(split.named[0].origin, Origin::Split(first.named[0].id));
    }

    #[test]
    fn ids_are_not_used_again_and_a_reference_keeps_its_own() {
        let (first, old) = night(1, &[vec![0, 1]], &[]);
        let (_, none) = night(2, &[], std::slice::from_ref(&old));
        let (again, _) = night(3, &[vec![0, 1]], &[old.clone(), none]);
        assert_ne!(ids_of(&again), ids_of(&first));
        let keys = keys();
        let texts = [vec![0, 1], vec![2, 3]];
        let reserved = BTreeSet::from([77]);
        let groups =
            Groups { texts: &texts, keys: &keys, questions: &[1; 100], fixed: &[Some(77), None], reserved: &reserved };
        let ids = assign(&groups, &old, &mut || Ok(None), moment(2)).unwrap();
        assert_eq!((ids.named[0].id, ids.merged.get(&first.named[0].id)), (77, Some(&77)));
        // what was with the reference and is not any more cannot keep its id
        let of_reference: Vec<Member> = old.iter().map(|member| Member { cluster: 77, ..*member }).collect();
        let groups = Groups { fixed: &[None, None], ..groups };
        let ids = assign(&groups, &of_reference, &mut || Ok(None), moment(2)).unwrap();
        assert_eq!(ids.named[0].origin, Origin::Split(77));
        assert!(ids.named[0].id != 77 && ids.merged.is_empty());
    }
}
