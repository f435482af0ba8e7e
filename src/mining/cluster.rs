//! Scored pairs to duplicate clusters of questions.

use crate::clustering::{Clustering, Edge, Graph, cluster};
use crate::hash::hash64;
use crate::mining::plan::Plan;
use crate::mining::rows::DecidedPair;
use crate::tables::texts::Texts;

/// A pair below this share of the threshold contradicts every merge. Best pairwise F1 on the dev questions, cosines:
/// 0.774 with 0.25, 0.774 with 0.85, 0.770 with 0.9, 0.746 with 1; cosines as probabilities lose 0.01 with 0.5 already,
/// because they spread over the whole range.
const RULED_OUT_COSINE: f32 = 0.85;
const RULED_OUT_PROBABILITY: f32 = 0.25;

/// Clusters texts by the probabilities of their pairs, or by their cosines if nothing was reranked. Pairs without a
/// probability are left out, as if they were no candidates. The hashes of the texts break ties.
pub fn run(texts: &Texts, decided: &[DecidedPair], plan: &Plan) -> (Vec<Edge>, Clustering) {
    let keys: Vec<u64> = texts.iter().map(|text| hash64(text.as_bytes())).collect();
    let edge = |pair: &DecidedPair| {
        Some(Edge { a: pair.candidate.a, b: pair.candidate.b, probability: pair.verdict.probability? })
    };
    let edges: Vec<Edge> = decided.iter().filter_map(edge).collect();
    let threshold = plan.rule.threshold;
    let is_reranked = plan.rule.calibrated.is_some();
    let ruled_out = threshold * if is_reranked { RULED_OUT_PROBABILITY } else { RULED_OUT_COSINE };
    let graph = Graph { nodes: keys.len(), edges: &edges, threshold, ruled_out, keys: &keys };
    let clustering = cluster(&graph, plan.options.clustering);
    (edges, clustering)
}
