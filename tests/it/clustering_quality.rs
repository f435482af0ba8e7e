//! Clusters of real questions against the transitive closure of their known duplicates.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::Int8Type;
use dupmine::clustering::{Algorithm, Edge, Graph, cluster};
use dupmine::metrics::clusters::{ClusterScores, compare};

use crate::support::*;

/// Gold label of every question: the smallest question that the labelled duplicates connect it to.
fn gold_labels(ids: &[i64], pairs: &[(i64, i64)]) -> Vec<i64> {
    let mut parent: HashMap<i64, i64> = ids.iter().map(|&id| (id, id)).collect();
    fn root(parent: &HashMap<i64, i64>, mut id: i64) -> i64 {
        while parent[&id] != id {
            id = parent[&id];
        }
        id
    }
    for &(a, b) in pairs {
        let (a, b) = (root(&parent, a), root(&parent, b));
        parent.insert(a.max(b), a.min(b));
    }
    ids.iter().map(|&id| root(&parent, id)).collect()
}

#[test]
fn cohesive_clusters_do_not_chain_real_questions() {
    let (Some(dev), Some(questions)) = (shared("data/qqp/dev.parquet"), shared("data/qqp/questions-dev.parquet"))
    else {
        return;
    };
    let work = folder();
    let output = work.path().join("out");
    let cosine = ["--cross-encoder", "none", "--min-cosine", "0.6"];
    mine_ok(&[&["--input", text(&questions), "--output", text(&output), "--quiet"], &cosine[..]].concat());

    let batch = read(&dev);
    let labels = batch.column_by_name("is_duplicate").unwrap().as_primitive::<Int8Type>().values().to_vec();
    let pairs: Vec<(i64, i64)> = i64s(&batch, "qid1")
        .into_iter()
        .zip(i64s(&batch, "qid2"))
        .zip(labels)
        .filter(|(_, l)| *l == 1)
        .map(|(p, _)| p)
        .collect();
    let ids = i64s(&read(&questions), "id");
    let gold = gold_labels(&ids, &pairs);

    let node: HashMap<i64, u32> = ids.iter().enumerate().map(|(at, &id)| (id, at as u32)).collect();
    let pairs = read(&output.join("pairs.parquet"));
    let probability = f32s(&pairs, "probability");
    let edges: Vec<Edge> = i64s(&pairs, "id_a")
        .into_iter()
        .zip(i64s(&pairs, "id_b"))
        .zip(probability)
        .map(|((a, b), p)| Edge { a: node[&a], b: node[&b], probability: p.unwrap() })
        .collect();
    let keys: Vec<u64> = (0..ids.len() as u64).collect();
    let sweep = |algorithm: Algorithm| -> Vec<(f32, ClusterScores)> {
        let scores = (60..96).map(|percent| {
            let threshold = percent as f32 / 100.0;
            let ruled_out = 0.85 * threshold;
            let graph = Graph { nodes: ids.len(), edges: &edges, threshold, ruled_out, keys: &keys };
            (threshold, compare(&gold, &cluster(&graph, algorithm).cluster_of))
        });
        scores.collect()
    };
    let best = |algorithm: Algorithm| -> (f64, f64) {
        let scores = sweep(algorithm);
        let by = |of: fn(&ClusterScores) -> f64| {
            scores.iter().max_by(|a, b| of(&a.1).total_cmp(&of(&b.1))).map(|(at, scores)| (of(scores), *at)).unwrap()
        };
        let (pairwise, bcubed) = (by(|s| s.pairwise.f1), by(|s| s.bcubed.f1));
        println!("{algorithm:?}: pairwise F1 {pairwise:?}, B-cubed F1 {bcubed:?} (each with its threshold)");
        (pairwise.0, bcubed.0)
    };
    let (cohesive, star, components) = (best(Algorithm::Cohesive), best(Algorithm::Star), best(Algorithm::Components));
    assert!(cohesive.0 > components.0 && cohesive.0 > star.0);
    assert!(cohesive.1 >= components.1 - 0.001);

    // at one threshold, as a user meets it, chaining shows: the same pairs, other clusters
    let at = |algorithm| sweep(algorithm).into_iter().find(|(threshold, _)| (threshold - 0.7).abs() < 1e-3).unwrap().1;
    let (cohesive, components) = (at(Algorithm::Cohesive), at(Algorithm::Components));
    println!("at 0.70: cohesive {cohesive:?}\n         components {components:?}");
    assert!(cohesive.pairwise.f1 > components.pairwise.f1 + 0.10 && cohesive.bcubed.f1 > components.bcubed.f1);
}
