//! The graph with its nodes renumbered by key and its edges in one fixed order.
//!
//! This makes every algorithm independent of row order. They run on canonical numbers, so that ties by number are ties
//! by key, and read the edges by falling probability, in an order that only keys and probabilities decide. Sums of
//! probabilities then have the same bits too.

use super::graph::{Clustering, Edge, Graph};
use super::union_find::UnionFind;
use rayon::slice::ParallelSliceMut;

pub(super) struct Canonical {
    pub(super) nodes: usize,
    pub(super) threshold: f32,
    pub(super) ruled_out: f32,
    /// By falling probability, ties by (a, b); canonical numbers, a < b. Only pairs of nodes that a chain of duplicates connects:
    /// no algorithm puts others together, so that what they say is never asked for.
    pub(super) edges: Vec<Edge>,
    /// Canonical number → node of the caller.
    node: Vec<u32>,
}

/// The neighbours of every node: compressed sparse rows.
pub(super) struct Neighbours {
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl Canonical {
    pub(super) fn new(graph: &Graph) -> Self {
        assert_eq!(graph.keys.len(), graph.nodes, "a clustering graph needs one key a node");
        let mut node: Vec<u32> = (0..graph.nodes as u32).collect();
        node.sort_unstable_by_key(|&node| graph.keys[node as usize]);
        let mut number = vec![0; graph.nodes];
        for (canonical, &node) in (0..).zip(&node) {
            number[node as usize] = canonical;
        }
        let renumbered = graph.edges.iter().map(|edge| {
            let (a, b) = (number[edge.a as usize], number[edge.b as usize]);
            Edge { a: a.min(b), b: a.max(b), probability: edge.probability }
        });
        let mut chains = UnionFind::new(graph.nodes);
        for edge in graph.edges.iter().filter(|edge| edge.probability >= graph.threshold) {
            chains.join(number[edge.a as usize], number[edge.b as usize]);
        }
        let mut edges: Vec<Edge> = renumbered.filter(|edge| chains.find(edge.a) == chains.find(edge.b)).collect();
        edges.par_sort_unstable_by(|x, y| y.probability.total_cmp(&x.probability).then((x.a, x.b).cmp(&(y.a, y.b))));
        Self { nodes: graph.nodes, threshold: graph.threshold, ruled_out: graph.ruled_out, edges, node }
    }

    /// The edges at or above the threshold.
    pub(super) fn duplicates(&self) -> &[Edge] {
        &self.edges[..self.edges.partition_point(|edge| edge.probability >= self.threshold)]
    }

    /// Back to the caller's numbers, from the representative of each node.
    pub(super) fn clustering(&self, representative_of: &[u32]) -> Clustering {
        let mut number = vec![0; self.nodes];
        for (canonical, &node) in (0_u32..).zip(&self.node) {
            number[node as usize] = canonical;
        }
        let mut cluster_at = vec![u32::MAX; self.nodes];
        let mut cluster_of = Vec::with_capacity(self.nodes);
        let mut representative = Vec::new();
        for canonical in number {
            let stands_for_it = representative_of[canonical as usize] as usize;
            if cluster_at[stands_for_it] == u32::MAX {
                cluster_at[stands_for_it] = representative.len() as u32;
                representative.push(self.node[stands_for_it]);
            }
            cluster_of.push(cluster_at[stands_for_it]);
        }
        Clustering { cluster_of, representative }
    }
}

impl Neighbours {
    /// Each node's neighbours keep the order of `edges`.
    pub(super) fn new(nodes: usize, edges: &[Edge]) -> Self {
        let mut starts = vec![0; nodes + 1];
        for edge in edges {
            starts[edge.a as usize + 1] += 1;
            starts[edge.b as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut entries = vec![(0, 0.0); 2 * edges.len()];
        for edge in edges {
            for (from, to) in [(edge.a, edge.b), (edge.b, edge.a)] {
                entries[next[from as usize]] = (to, edge.probability);
                next[from as usize] += 1;
            }
        }
        Self { starts, entries }
    }

    /// (neighbour, probability) pairs.
    pub(super) fn of(&self, node: u32) -> &[(u32, f32)] {
        &self.entries[self.starts[node as usize]..self.starts[node as usize + 1]]
    }
}
