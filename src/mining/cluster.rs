//! Scored pairs to duplicate clusters of questions.

use crate::clustering::{Algorithm, Clustering, Edge, Graph, cluster};
use crate::hash::hash64;

/// Part of the stage's fingerprint; raise it when the clusters of some pairs change.
pub const VERSION: u32 = 2;

/// A pair below this share of the threshold contradicts every merge. Best pairwise F1 on the dev questions, cosines:
/// 0.774 with 0.25, 0.774 with 0.85, 0.770 with 0.9, 0.746 with 1; cosines as probabilities lose 0.01 with 0.5 already,
/// because they spread over the whole range.
const RULED_OUT_COSINE: f32 = 0.85;
const RULED_OUT_PROBABILITY: f32 = 0.25;

/// Clusters texts by the probabilities of their pairs (or by their cosines, when nothing was `reranked`). Pairs without
/// a probability are left out, as if they were no candidates.
///
/// `texts` are the normalised texts in node order: their hashes break ties, so that row order does not matter.
pub fn run<'a>(
    texts: impl Iterator<Item = &'a str>,
    pairs: impl Iterator<Item = (u32, u32, Option<f32>)>,
    threshold: f32,
    reranked: bool,
    algorithm: Algorithm,
) -> (Vec<Edge>, Clustering) {
    let keys: Vec<u64> = texts.map(|text| hash64(text.as_bytes())).collect();
    let edges: Vec<Edge> =
        pairs.filter_map(|(a, b, probability)| Some(Edge { a, b, probability: probability? })).collect();
    let ruled_out = threshold * if reranked { RULED_OUT_PROBABILITY } else { RULED_OUT_COSINE };
    let graph = Graph { nodes: keys.len(), edges: &edges, threshold, ruled_out, keys: &keys };
    let clustering = cluster(&graph, algorithm);
    (edges, clustering)
}
