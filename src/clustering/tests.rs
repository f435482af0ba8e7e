//! What the module promises, on random graphs and on the smallest and most lopsided ones.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use proptest::prelude::*;

use super::*;

const THRESHOLD: f32 = 0.5;

/// Share of the threshold below which a pair is ruled out.
const RULED_OUT: f32 = 0.25;

#[derive(Debug)]
struct Sample {
    edges: Vec<Edge>,
    keys: Vec<u64>,
}

impl Sample {
    fn new(nodes: usize, edges: &[(u32, u32, f32)]) -> Self {
        let edge = |&(a, b, probability): &(u32, u32, f32)| Edge { a: a.min(b), b: a.max(b), probability };
        // An odd factor keeps them distinct.
        let keys = (1..=nodes as u64).map(|node| node.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { edges: edges.iter().map(edge).collect(), keys: keys.collect() }
    }

    fn graph(&self) -> Graph<'_> {
        Graph {
            nodes: self.keys.len(),
            edges: &self.edges,
            threshold: THRESHOLD,
            ruled_out: RULED_OUT * THRESHOLD,
            keys: &self.keys,
        }
    }

    /// The same texts and pairs in other rows: node i becomes `number[i]`, edges come in reverse.
    fn renumbered(&self, number: &[u32]) -> Self {
        let mut keys = vec![0; self.keys.len()];
        for (&to, &key) in number.iter().zip(&self.keys) {
            keys[to as usize] = key;
        }
        let to = |edge: &Edge| {
            let (a, b) = (number[edge.a as usize], number[edge.b as usize]);
            Edge { a: a.min(b), b: a.max(b), probability: edge.probability }
        };
        Self { edges: self.edges.iter().rev().map(to).collect(), keys }
    }

    /// Clusters by key alone: the representative's and the members'.
    fn by_key(&self, algorithm: Algorithm) -> BTreeSet<(u64, Vec<u64>)> {
        let clustering = cluster(&self.graph(), algorithm);
        let mut members = vec![Vec::new(); clustering.representative.len()];
        for (&cluster, &key) in clustering.cluster_of.iter().zip(&self.keys) {
            members[cluster as usize].push(key);
        }
        let named = clustering.representative.iter().zip(members).map(|(&node, mut members)| {
            members.sort_unstable();
            (self.keys[node as usize], members)
        });
        named.collect()
    }

    fn probabilities(&self) -> BTreeMap<(u32, u32), f32> {
        let both = |edge: &Edge| [((edge.a, edge.b), edge.probability), ((edge.b, edge.a), edge.probability)];
        self.edges.iter().flat_map(both).collect()
    }
}

fn members(clustering: &Clustering) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); clustering.representative.len()];
    for (node, &cluster) in (0..).zip(&clustering.cluster_of) {
        members[cluster as usize].push(node);
    }
    members
}

fn sizes(sample: &Sample, algorithm: Algorithm) -> Vec<usize> {
    members(&cluster(&sample.graph(), algorithm)).iter().map(Vec::len).collect()
}

/// Dense graphs of few probability levels (so ties), made to strain the guarantees: sure duplicates that could outvote
/// any low pair, low pairs, a ruled-out one, the threshold itself, and pairs left unscored. And a renumbering of the
/// nodes. In sparse or clear-cut graphs the guarantees forbid nothing that would happen without them.
fn samples() -> impl Strategy<Value = (Sample, Vec<u32>)> {
    (1_usize..14).prop_flat_map(|nodes| {
        let numbers: Vec<u32> = (0..nodes as u32).collect();
        let level = prop::sample::select(vec![None, Some(0.05), Some(0.2), Some(0.4), Some(THRESHOLD), Some(0.7)]);
        let scores = prop::collection::vec(prop_oneof![level, Just(Some(1.0))], nodes * (nodes - 1) / 2);
        (scores, Just(numbers).prop_shuffle()).prop_map(move |(scores, numbers)| {
            let pairs = (0..nodes as u32).flat_map(|b| (0..b).map(move |a| (a, b)));
            let scored = pairs.zip(scores).filter_map(|((a, b), score)| score.map(|score| (a, b, score)));
            (Sample::new(nodes, &scored.collect::<Vec<_>>()), numbers)
        })
    })
}

proptest! {
    #[test]
    fn row_order_and_edge_order_do_not_matter((sample, number) in samples()) {
        for &algorithm in Algorithm::value_variants() {
            prop_assert_eq!(sample.by_key(algorithm), sample.renumbered(&number).by_key(algorithm), "{:?}", algorithm);
        }
    }

    #[test]
    fn clusters_are_numbered_by_their_smallest_node((sample, _) in samples()) {
        for &algorithm in Algorithm::value_variants() {
            let clustering = cluster(&sample.graph(), algorithm);
            prop_assert_eq!(clustering.cluster_of.len(), sample.keys.len());
            let mut next = 0;
            for &number in &clustering.cluster_of {
                prop_assert!(number <= next);
                next = next.max(number + 1);
            }
            prop_assert_eq!(clustering.representative.len(), next as usize);
            for (number, &node) in (0_u32..).zip(&clustering.representative) {
                prop_assert_eq!(clustering.cluster_of[node as usize], number);
            }
        }
    }

    #[test]
    fn every_member_is_a_duplicate_of_the_representative((sample, _) in samples()) {
        let probabilities = sample.probabilities();
        for algorithm in [Algorithm::Cohesive, Algorithm::Star] {
            let clustering = cluster(&sample.graph(), algorithm);
            for (node, &number) in (0_u32..).zip(&clustering.cluster_of) {
                let representative = clustering.representative[number as usize];
                let near = node == representative || probabilities.get(&(node, representative)) >= Some(&THRESHOLD);
                prop_assert!(near, "{:?}: node {} and its representative {}", algorithm, node, representative);
            }
        }
    }

    #[test]
    fn nothing_ruled_out_is_inside_a_cohesive_cluster((sample, _) in samples()) {
        let clustering = cluster(&sample.graph(), Algorithm::Cohesive);
        for edge in &sample.edges {
            let inside = clustering.cluster_of[edge.a as usize] == clustering.cluster_of[edge.b as usize];
            prop_assert!(!inside || edge.probability >= RULED_OUT * THRESHOLD, "{:?}", edge);
        }
    }

    #[test]
    fn every_member_of_a_cohesive_cluster_reaches_the_threshold_on_average((sample, _) in samples()) {
        let probabilities = sample.probabilities();
        for members in members(&cluster(&sample.graph(), Algorithm::Cohesive)).iter().filter(|members| members.len() > 1) {
            for &node in members {
                let others = members.iter().filter(|&&other| other != node);
                let scores = others.map(|&other| probabilities.get(&(node, other)).unwrap_or(&(THRESHOLD / 2.0)));
                let mean = scores.map(|&score| f64::from(score)).sum::<f64>() / (members.len() - 1) as f64;
                prop_assert!(mean >= f64::from(THRESHOLD) - 1e-6, "node {} of {:?}: {}", node, members, mean);
            }
        }
    }

    #[test]
    fn components_are_what_duplicates_reach((sample, _) in samples()) {
        let mut reached: Vec<u32> = (0..sample.keys.len() as u32).collect();
        for _ in 0..sample.keys.len() {
            for edge in sample.edges.iter().filter(|edge| edge.probability >= THRESHOLD) {
                let least = reached[edge.a as usize].min(reached[edge.b as usize]);
                (reached[edge.a as usize], reached[edge.b as usize]) = (least, least);
            }
        }
        let clustering = cluster(&sample.graph(), Algorithm::Components);
        for a in 0..reached.len() {
            for b in 0..a {
                prop_assert_eq!(reached[a] == reached[b], clustering.cluster_of[a] == clustering.cluster_of[b]);
            }
        }
    }
}

#[test]
fn without_duplicates_every_node_is_alone() {
    for &algorithm in Algorithm::value_variants() {
        for nodes in 0..3 {
            assert_eq!(sizes(&Sample::new(nodes, &[]), algorithm), vec![1; nodes]);
        }
        assert_eq!(sizes(&Sample::new(2, &[(0, 1, 0.49)]), algorithm), [1, 1]);
    }
}

#[test]
fn the_threshold_is_inclusive() {
    for &algorithm in Algorithm::value_variants() {
        assert_eq!(sizes(&Sample::new(3, &[(0, 2, THRESHOLD)]), algorithm), [2, 1]);
    }
}

#[test]
fn a_complete_graph_is_one_cluster() {
    let pairs: Vec<(u32, u32)> = (0..200).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    for probability in [THRESHOLD, 0.8, 1.0] {
        let edges: Vec<_> = pairs.iter().map(|&(a, b)| (a, b, probability)).collect();
        for &algorithm in Algorithm::value_variants() {
            assert_eq!(sizes(&Sample::new(200, &edges), algorithm), [200], "{algorithm:?} at {probability}");
        }
    }
}

#[test]
fn leaves_that_nothing_joins_but_a_hub_are_no_cohesive_cluster() {
    let edges: Vec<_> = (1..=1000).map(|leaf| (0, leaf, 0.9)).collect();
    let sample = Sample::new(1001, &edges);
    assert_eq!(sizes(&sample, Algorithm::Components), [1001]);
    assert_eq!(sizes(&sample, Algorithm::Star), [1001]);
    assert_eq!(cluster(&sample.graph(), Algorithm::Star).representative, [0]);
    // The hub, and two leaves: 0.9 + 0.25 ≥ 2 × 0.5, but 0.9 + 2 × 0.25 < 3 × 0.5.
    assert_eq!(sizes(&sample, Algorithm::Cohesive).iter().max(), Some(&3));
}

#[test]
fn a_chain_is_cut_where_a_pair_is_ruled_out() {
    let sample = Sample::new(3, &[(0, 1, 0.95), (1, 2, 0.9), (0, 2, 0.02)]);
    assert_eq!(sizes(&sample, Algorithm::Components), [3]);
    assert_eq!(sizes(&sample, Algorithm::Star), [3]);
    assert_eq!(cluster(&sample.graph(), Algorithm::Cohesive).cluster_of, [0, 0, 1]);
}

#[test]
fn a_low_pair_is_outvoted_but_not_one_that_is_ruled_out() {
    let clique = |low: f32| [(0, 1, 0.9), (0, 2, 0.9), (0, 3, 0.9), (1, 2, 0.9), (1, 3, 0.9), (2, 3, low)];
    assert_eq!(sizes(&Sample::new(4, &clique(0.4)), Algorithm::Cohesive), [4]);
    assert_eq!(sizes(&Sample::new(4, &clique(0.1)), Algorithm::Cohesive), [3, 1]);
}

#[test]
fn a_node_that_would_leave_no_representative_is_kept_out() {
    // Node 3 has the evidence to join (two duplicates against one low pair), and would make it a ring with no middle.
    let ring = [(0, 1, 1.0), (1, 2, 1.0), (0, 2, 0.4), (0, 3, 0.85), (2, 3, 0.85), (1, 3, 0.4)];
    assert_eq!(cluster(&Sample::new(4, &ring).graph(), Algorithm::Cohesive).cluster_of, [0, 0, 0, 1]);
}

#[test]
fn the_only_representative_may_not_leave() {
    // Node 0 is the middle of the ring 1 to 4, and has more evidence for the clique 5 to 10.
    let mut edges = vec![(1, 2, 1.0), (2, 3, 1.0), (3, 4, 1.0), (1, 4, 1.0), (1, 3, 0.4), (2, 4, 0.4)];
    edges.extend((1..=4).map(|ring| (0, ring, 1.0)));
    edges.extend((5..=10).map(|clique| (0, clique, 0.9)));
    edges.extend((5..=10).flat_map(|b| (5..b).map(move |a| (a, b, 0.95))));
    let clustering = cluster(&Sample::new(11, &edges).graph(), Algorithm::Cohesive);
    assert_eq!(clustering.cluster_of, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(clustering.representative[0], 0);
}

#[test]
fn the_representative_is_the_middle() {
    // Node 2 has the strongest pairs.
    let sample = Sample::new(3, &[(0, 1, 0.7), (0, 2, 0.9), (1, 2, 0.8)]);
    for &algorithm in Algorithm::value_variants() {
        assert_eq!(cluster(&sample.graph(), algorithm).representative, [2], "{algorithm:?}");
    }
}

#[test]
#[should_panic(expected = "one key a node")]
fn keys_must_match_the_nodes() {
    cluster(&Graph { nodes: 2, edges: &[], threshold: THRESHOLD, ruled_out: 0.0, keys: &[1] }, Algorithm::Star);
}
