//! Labelled pairs into train, dev and test.
//!
//! Split by pairs, chance decides for each pair, and both labels keep their share. That is the usual protocol, but many
//! questions of the test part then occur in training too. Split by questions, pairs that share a question (by text or
//! id), directly or through other pairs, stay together: no question is in two parts.

use std::collections::{HashMap, HashSet};

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::clustering::union_find::UnionFind;
use crate::hash::hash64;
use crate::mining::score_pairs::QuestionPairs;
use crate::tables::labelled_pairs::LabelledPair;
use crate::text::normalise::normalise;

/// Most pairs that labels may imply: with their texts they take a few gigabytes.
const MOST_IMPLIED: usize = 10_000_000;

/// What stays together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Pairs that share a question, directly or through other pairs
    Questions,
    /// Nothing: each pair is drawn on its own, and both labels keep their share
    Pairs,
}

/// Pair numbers of each part, in the order of the input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    pub train: Vec<u32>,
    pub dev: Vec<u32>,
    pub test: Vec<u32>,
}

/// `count` pairs drawn so that both labels keep their share, in the order of the input.
pub fn subset(pairs: &[LabelledPair], count: usize, seed: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let share = count as f64 / pairs.len().max(1) as f64;
    let mut drawn = Vec::new();
    let [others, mut duplicates] = shuffled_by_label(pairs, &all(pairs), &mut random);
    duplicates.truncate((duplicates.len() as f64 * share).round() as usize);
    drawn.extend(others.into_iter().take(count.saturating_sub(duplicates.len())));
    drawn.extend(duplicates);
    drawn.sort_unstable();
    drawn
}

/// Splits `chosen` pairs by `shares` of train, dev and test, which sum to 1.
pub fn split(pairs: &[LabelledPair], chosen: &[u32], protocol: Protocol, shares: [f64; 3], seed: u64) -> Parts {
    let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_add(1));
    let groups: Vec<Vec<u32>> = match protocol {
        Protocol::Pairs => {
            let by_label = shuffled_by_label(pairs, chosen, &mut random);
            return by_label.iter().fold(Parts::default(), |parts, group| deal(parts, group, shares)).sorted();
        }
        Protocol::Questions => components(pairs, chosen),
    };
    by_components(groups, shares, &mut random).sorted()
}

/// About `share` of the pairs to measure on (dev), the rest to train on, by questions. A hash of a text decides, so
/// that labels added later move no pair to the other part, unless they connect pairs of both parts: a model that is
/// trained again is measured on pairs that it has not seen.
pub fn hold_out(pairs: &[LabelledPair], share: f64, seed: u64) -> Parts {
    let mut parts = Parts::default();
    for group in components(pairs, &all(pairs)) {
        // the first text decides for the group; a later one never replaces it
        let first = group.iter().min().map_or("", |&pair| &pairs[pair as usize].question1);
        let drawn = hash64(&[&seed.to_le_bytes(), normalise(first).as_bytes()].concat()) as f64 / u64::MAX as f64;
        if drawn < share { parts.dev.extend(group) } else { parts.train.extend(group) }
    }
    parts.sorted()
}

fn all(pairs: &[LabelledPair]) -> Vec<u32> {
    (0..pairs.len() as u32).collect()
}

fn shuffled_by_label(pairs: &[LabelledPair], chosen: &[u32], random: &mut ChaCha8Rng) -> [Vec<u32>; 2] {
    [false, true].map(|label| {
        let of_label = chosen.iter().copied().filter(|&pair| pairs[pair as usize].is_duplicate == label);
        let mut of_label: Vec<u32> = of_label.collect();
        of_label.shuffle(random);
        of_label
    })
}

fn deal(mut parts: Parts, group: &[u32], shares: [f64; 3]) -> Parts {
    let count = group.len() as f64;
    let dev = (count * shares[1]).round() as usize;
    let test = ((count * shares[2]).round() as usize).min(group.len() - dev);
    parts.dev.extend(&group[..dev]);
    parts.test.extend(&group[dev..dev + test]);
    parts.train.extend(&group[dev + test..]);
    parts
}

/// Deals components to parts, the largest first. Among the parts with room for a component, each is drawn with a chance
/// that grows with what it still lacks. So every part gets components of every size, which differ in their share of
/// duplicates, and a component larger than a small part does not land in it.
fn by_components(mut groups: Vec<Vec<u32>>, shares: [f64; 3], random: &mut ChaCha8Rng) -> Parts {
    groups.shuffle(random);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let pairs: usize = groups.iter().map(Vec::len).sum();
    let mut filled: [Vec<u32>; 3] = Default::default();
    for group in groups {
        let lacks = |part: usize| pairs as f64 * shares[part] - filled[part].len() as f64;
        let room =
            [0, 1, 2].map(|part| if lacks(part) + 0.5 >= group.len() as f64 { lacks(part).max(0.0) } else { 0.0 });
        let wanted = (0..3).filter(|&part| shares[part] > 0.0);
        let emptiest = wanted.max_by(|&x, &y| lacks(x).total_cmp(&lacks(y))).unwrap_or(0);
        let mut drawn = random.random_range(0.0..1.0) * room.iter().sum::<f64>();
        let part = (0..3).find(|&part| {
            drawn -= room[part];
            drawn < 0.0
        });
        filled[part.unwrap_or(emptiest)].extend(group);
    }
    let [train, dev, test] = filled;
    Parts { train, dev, test }
}

impl Parts {
    fn sorted(mut self) -> Self {
        for part in [&mut self.train, &mut self.dev, &mut self.test] {
            part.sort_unstable();
        }
        self
    }
}

/// Pairs grouped by shared questions; a question is known by its normalised text and by its id.
fn components(pairs: &[LabelledPair], chosen: &[u32]) -> Vec<Vec<u32>> {
    let mut known: HashMap<(bool, String), u32> = HashMap::new();
    let mut number = |is_id: bool, key: String| {
        let next = known.len() as u32;
        *known.entry((is_id, key)).or_insert(next)
    };
    let mut links = Vec::new();
    for &pair in chosen {
        let LabelledPair { question1, question2, ids, .. } = &pairs[pair as usize];
        let (a, b) = (number(false, normalise(question1).into()), number(false, normalise(question2).into()));
        links.push((a, b));
        if let Some((id1, id2)) = ids {
            links.push((a, number(true, id1.clone())));
            links.push((b, number(true, id2.clone())));
        }
    }
    let mut components = UnionFind::new(known.len());
    links.iter().for_each(|&(a, b)| components.join(a, b));
    let mut place: HashMap<u32, usize> = HashMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for &pair in chosen {
        let question = known[&(false, normalise(&pairs[pair as usize].question1).into_owned())];
        let at = *place.entry(components.find(question)).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Vec::new());
        }
        groups[at].push(pair);
    }
    groups
}

/// What labelled pairs imply.
#[derive(Debug, Default)]
pub struct Augmented {
    /// The pairs without contradictions, then the implied ones.
    pub pairs: Vec<LabelledPair>,
    pub implied_duplicates: usize,
    pub implied_others: usize,
    /// Pairs that are labelled as different, but that a chain of duplicates connects: left out.
    pub contradictions: Vec<LabelledPair>,
}

/// Adds what follows from the labels: a ~ b and b ~ c give a ~ c; a ~ b and b ≁ c give a ≁ c. Implied pairs are marked
/// as not natural. Pairs of `held_out` are never added: the model is measured on them.
pub fn augment(pairs: &[LabelledPair], held_out: &[LabelledPair]) -> Result<Augmented, String> {
    let questions = QuestionPairs::of(&[pairs, held_out].concat());
    let (numbered, held_out) = questions.pairs.split_at(pairs.len());
    let component = questions.components(pairs.iter().map(|pair| pair.is_duplicate));
    let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
    component.iter().zip(0..).for_each(|(&component, text)| members.entry(component).or_default().push(text));

    let size = |component: u32| members[&component].len();
    let crossed = pairs.iter().zip(numbered).filter(|(pair, _)| !pair.is_duplicate).map(|(_, &(a, b))| {
        let [one, other] = [a, b].map(|text| component[text as usize]);
        if one == other { 0 } else { size(one).saturating_mul(size(other)) }
    });
    let implied = members.values().map(|texts| texts.len() * (texts.len() - 1) / 2).chain(crossed);
    let implied = implied.fold(0_usize, usize::saturating_add);
    if implied > MOST_IMPLIED {
        let largest = members.values().map(Vec::len).max().unwrap_or(0);
        return Err(format!("the labels connect up to {largest} questions and imply up to {implied} pairs"));
    }

    let mut augmented = Augmented::default();
    let unordered = |a: u32, b: u32| (a.min(b), a.max(b));
    let mut seen: HashSet<(u32, u32)> = held_out.iter().map(|&(a, b)| unordered(a, b)).collect();
    let mut apart: Vec<(u32, u32)> = Vec::new();
    for (pair, &(a, b)) in pairs.iter().zip(numbered) {
        let (one, other) = (component[a as usize], component[b as usize]);
        // also a contradiction: a person said no, so the yes of the chain is not added
        seen.insert(unordered(a, b));
        if !pair.is_duplicate && one == other {
            augmented.contradictions.push(pair.clone());
            continue;
        }
        if !pair.is_duplicate {
            apart.push((one, other));
        }
        augmented.pairs.push(pair.clone());
    }
    let mut add = |a: u32, b: u32, is_duplicate: bool| -> bool {
        let fresh = a != b && seen.insert(unordered(a, b));
        if fresh {
            let [question1, question2] = [a, b].map(|text| questions.texts.get(text as usize).to_string());
            augmented.pairs.push(LabelledPair { question1, question2, is_duplicate, ids: None, natural: false });
        }
        fresh
    };
    let mut ordered: Vec<&Vec<u32>> = members.values().filter(|texts| texts.len() > 1).collect();
    ordered.sort_unstable();
    for texts in ordered {
        for (at, &a) in texts.iter().enumerate() {
            augmented.implied_duplicates += texts[at + 1..].iter().filter(|&&b| add(a, b, true)).count();
        }
    }
    for (one, other) in apart {
        for &a in &members[&one] {
            augmented.implied_others += members[&other].iter().filter(|&&b| add(a, b, false)).count();
        }
    }
    Ok(augmented)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(a: u32, b: u32, is_duplicate: bool) -> LabelledPair {
        let text = |n: u32| format!("question {n}");
        LabelledPair { question1: text(a), question2: text(b), is_duplicate, ids: None, natural: true }
    }

    #[test]
    fn labels_imply_labels_and_contradictions_are_left_out() {
        // 0 ~ 1 ~ 2, 2 ≁ 3, and 0 ≁ 2 contradicts
        let pairs = [pair(0, 1, true), pair(1, 2, true), pair(2, 3, false), pair(0, 2, false)];
        let augmented = augment(&pairs, &[]).unwrap();
        assert_eq!((augmented.implied_duplicates, augmented.implied_others), (0, 2));
        assert_eq!(augmented.contradictions, [pair(0, 2, false)]);
        let implied: Vec<(String, String, bool)> =
            augmented.pairs[3..].iter().map(|p| (p.question1.clone(), p.question2.clone(), p.is_duplicate)).collect();
        let text = |n: u32| format!("question {n}");
        assert_eq!(implied, [(text(0), text(3), false), (text(1), text(3), false)]);
        assert!(augmented.pairs[3..].iter().all(|pair| !pair.natural));
        // held-out pairs are not implied, in either order
        assert_eq!(augment(&pairs[..3], &[]).unwrap().implied_duplicates, 1);
        let augmented = augment(&pairs[..3], &[pair(3, 1, false), pair(2, 0, true)]).unwrap();
        assert_eq!((augmented.implied_duplicates, augmented.implied_others), (0, 1));
    }

    #[test]
    fn more_pairs_than_memory_holds_are_not_implied() {
        let chain: Vec<LabelledPair> = (0..5_000).map(|n| pair(n, n + 1, true)).collect();
        let refused = augment(&chain, &[]).unwrap_err();
        assert!(refused.contains("connect up to 5001 questions") && refused.contains("12502500 pairs"), "{refused}");
    }

    #[test]
    fn a_large_component_goes_where_there_is_room() {
        // a star of 15 pairs in 100
        let star = (1..16).map(|other| pair(0, other, true));
        let pairs: Vec<LabelledPair> = star.chain((0..85).map(|n| pair(100 + 2 * n, 101 + 2 * n, false))).collect();
        for seed in 0..5 {
            let parts = split(&pairs, &all(&pairs), Protocol::Questions, [0.8, 0.1, 0.1], seed);
            assert_eq!((parts.train.len(), parts.dev.len(), parts.test.len()), (80, 10, 10));
        }
    }

    #[test]
    fn an_id_ties_questions_of_other_text_together() {
        let with_ids = |a: u32, b: u32, ids: (&str, &str)| LabelledPair {
            ids: Some((ids.0.into(), ids.1.into())),
            ..pair(a, b, false)
        };
        let pairs = [with_ids(0, 1, ("x", "y")), with_ids(2, 3, ("y", "z")), with_ids(4, 5, ("v", "w"))];
        assert_eq!(components(&pairs, &all(&pairs)), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn about_a_tenth_is_held_out() {
        let pairs: Vec<LabelledPair> = (0..3000).map(|n| pair(2 * n, 2 * n + 1, n % 3 == 0)).collect();
        for seed in 0..4 {
            let held = hold_out(&pairs, 0.1, seed).dev.len();
            assert!((240..360).contains(&held), "{held} of 3,000");
        }
        // whether a group is large or small
        let chains: Vec<LabelledPair> = (0..3000).filter(|n| n % 10 < 9).map(|n| pair(n, n + 1, true)).collect();
        let held = hold_out(&chains, 0.1, 0).dev.len();
        assert!((140..420).contains(&held), "{held} of 2,700");
    }

    #[test]
    fn components_of_every_size_come_to_all_parts() {
        // 300 chains of four duplicates and 900 single pairs that are none
        let chains = (0..300).flat_map(|c| (0..3).map(move |n| pair(4 * c + n, 4 * c + n + 1, true)));
        let singles = (0..900).map(|n| pair(5000 + 2 * n, 5001 + 2 * n, false));
        let pairs: Vec<LabelledPair> = chains.chain(singles).collect();
        for seed in 0..5 {
            let parts = split(&pairs, &all(&pairs), Protocol::Questions, [0.8, 0.1, 0.1], seed);
            for part in [parts.dev, parts.test] {
                let duplicates = part.iter().filter(|&&p| pairs[p as usize].is_duplicate).count() as f64;
                assert_eq!(part.len(), 180);
                assert!((duplicates / 180.0 - 0.5).abs() < 0.15, "{duplicates} of 180");
            }
        }
    }

    proptest! {
        #[test]
        fn later_labels_move_no_pair(old in prop::collection::vec((0u32..100, 0u32..100), 1..80), known in prop::collection::vec(0u32..100, 0..80), fresh in prop::collection::vec((300u32..400, 300u32..400), 0..80)) {
            // known questions with new ones, which tie no two of the old components together, and new ones alone
            let new = [(200..).zip(known).collect(), fresh].concat();
            let of = |links: &[(u32, u32)]| -> Vec<LabelledPair> { links.iter().map(|&(a, b)| pair(a, b, true)).collect() };
            let before = hold_out(&of(&old), 0.3, 1);
            let after = hold_out(&of(&[old.clone(), new].concat()), 0.3, 1);
            let of_old = |part: &[u32]| -> Vec<u32> { part.iter().copied().filter(|&p| (p as usize) < old.len()).collect() };
            prop_assert_eq!(before, Parts { train: of_old(&after.train), dev: of_old(&after.dev), test: vec![] });
        }

        #[test]
        fn no_question_crosses(links in prop::collection::vec((0u32..200, 0u32..200, any::<bool>()), 1..150), seed in 0u64..5) {
            let pairs: Vec<LabelledPair> = links.iter().map(|&(a, b, label)| pair(a, b, label)).collect();
            let parts = split(&pairs, &all(&pairs), Protocol::Questions, [0.8, 0.1, 0.1], seed);
            let mut together = [parts.train.clone(), parts.dev.clone(), parts.test.clone()].concat();
            together.sort_unstable();
            prop_assert_eq!(together, all(&pairs));
            let questions = |part: &[u32]| -> HashSet<String> {
                part.iter().flat_map(|&p| [pairs[p as usize].question1.clone(), pairs[p as usize].question2.clone()]).collect()
            };
            prop_assert!(questions(&parts.train).is_disjoint(&questions(&parts.dev)));
            prop_assert!(questions(&parts.train).is_disjoint(&questions(&parts.test)));
            prop_assert!(questions(&parts.dev).is_disjoint(&questions(&parts.test)));
        }

        #[test]
        fn by_pairs_both_labels_keep_their_share(duplicates in 50usize..200, others in 50usize..200, seed in 0u64..3) {
            let pairs: Vec<LabelledPair> = (0..duplicates + others).map(|n| pair(2 * n as u32, 2 * n as u32 + 1, n < duplicates)).collect();
            let chosen = subset(&pairs, 80, seed);
            prop_assert_eq!(chosen.len(), 80);
            let share = duplicates as f64 / pairs.len() as f64;
            let count = |part: &[u32]| part.iter().filter(|&&p| pairs[p as usize].is_duplicate).count() as f64;
            prop_assert!((count(&chosen) - 80.0 * share).abs() <= 0.5);
            let parts = split(&pairs, &chosen, Protocol::Pairs, [0.8, 0.1, 0.1], seed);
            prop_assert_eq!(parts.train.len() + parts.dev.len() + parts.test.len(), 80);
            prop_assert!((count(&parts.dev) - 8.0 * share).abs() <= 1.0 && (parts.dev.len() as i64 - 8).abs() <= 1);
            prop_assert_eq!(&parts, &split(&pairs, &chosen, Protocol::Pairs, [0.8, 0.1, 0.1], seed));
        }
    }
}
