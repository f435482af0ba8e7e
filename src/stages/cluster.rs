//! Scored pairs to duplicate clusters of questions.

use crate::clustering::{Algorithm, Clustering, Edge, Graph, cluster};

/// Part of the stage's fingerprint; raise it when the clusters of some pairs change.
pub const VERSION: u32 = 1;

/// Clusters texts by the probabilities of their pairs. Pairs that nobody scored (`None`) say nothing either way.
///
/// `texts` are the normalised texts in node order: their hashes break ties, so that row order does not matter.
pub fn run<'a>(
    texts: impl Iterator<Item = &'a str>,
    pairs: impl Iterator<Item = (u32, u32, Option<f32>)>,
    threshold: f32,
    algorithm: Algorithm,
) -> (Vec<Edge>, Clustering) {
    let keys: Vec<u64> = texts
        .map(|text| u64::from_le_bytes(blake3::hash(text.as_bytes()).as_bytes()[..8].try_into().unwrap_or_default()))
        .collect();
    let edges: Vec<Edge> =
        pairs.filter_map(|(a, b, probability)| Some(Edge { a, b, probability: probability? })).collect();
    let graph = Graph { nodes: keys.len(), edges: &edges, threshold, keys: &keys };
    let clustering = cluster(&graph, algorithm);
    (edges, clustering)
}
