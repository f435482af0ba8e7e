//! Connected components: all nodes that a path of duplicates joins are one cluster (single linkage cut at the
//! threshold).
//!
//! One wrong pair merges two groups, and a larger corpus is more likely to hold one. Components suit scores that are
//! almost never wrong, and are the baseline that the other algorithms must beat. The representative is the node with
//! the highest summed probability of its duplicates, ties by key: the middle of the group, not its edge.

use super::canonical::Canonical;
use super::union_find::UnionFind;

/// The representative of each node.
pub(super) fn representatives(graph: &Canonical) -> Vec<u32> {
    let mut sets = UnionFind::new(graph.nodes);
    let mut summed = vec![0.0; graph.nodes];
    for edge in graph.duplicates() {
        sets.join(edge.a, edge.b);
        summed[edge.a as usize] += f64::from(edge.probability);
        summed[edge.b as usize] += f64::from(edge.probability);
    }
    let mut best: Vec<Option<u32>> = vec![None; graph.nodes];
    for node in 0..graph.nodes as u32 {
        let best = &mut best[sets.find(node) as usize];
        if best.is_none_or(|best| summed[node as usize] > summed[best as usize]) {
            *best = Some(node);
        }
    }
    (0..graph.nodes as u32).map(|node| best[sets.find(node) as usize].unwrap_or(node)).collect()
}
