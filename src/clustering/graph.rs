//! What goes into a clustering, and what comes out.

/// A scored pair of nodes, `a < b`, each unordered pair at most once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    pub a: u32,
    pub b: u32,
    /// Probability that the two are duplicates, 0..=1; any finite score that grows with it works. Never NaN.
    pub probability: f32,
}

/// The input of every algorithm.
#[derive(Debug, Clone, Copy)]
pub struct Graph<'a> {
    /// Nodes are the numbers below this.
    pub nodes: usize,
    /// ALL scored pairs: those below the threshold are the known low pairs.
    pub edges: &'a [Edge],
    /// A pair is called a duplicate at or above this probability.
    pub threshold: f32,
    /// A pair known to be below it contradicts every merge: a cohesive cluster never holds one. At most the threshold.
    pub ruled_out: f32,
    /// A distinct key for each node that depends on its text alone. Ties break by key, the smaller first, never by
    /// node number, so that the order of rows cannot matter.
    pub keys: &'a [u64],
}

/// A partition of the nodes with a representative for each cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clustering {
    /// Node → cluster number. Clusters, singletons included, are numbered 0, 1, 2 … by their smallest node.
    pub cluster_of: Vec<u32>,
    /// Cluster number → its representative.
    pub representative: Vec<u32>,
}
