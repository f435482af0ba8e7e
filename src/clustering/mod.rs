//! Clusters of questions from scored pairs.
//!
//! Duplicate pairs do not make duplicate groups by themselves: where A matches B and B matches C but not C, following
//! every match ([`Algorithm::Components`]) chains unrelated questions into one cluster, the more so the larger the
//! corpus. The algorithms here differ in what they do about that.
//!
//! | algorithm | every member reaches the threshold with | known low pairs | use |
//! |---|---|---|---|
//! | [`Cohesive`](Algorithm::Cohesive) | the representative | kept out, or outweighed for both ends | the default |
//! | [`Star`](Algorithm::Star) | the representative | ignored | when two steps are near enough |
//! | [`Components`](Algorithm::Components) | some other member | ignored | scores that are almost never wrong; the baseline |
//!
//! What holds for all of them:
//!
//! - The result depends on the set of (key, key, probability) alone: neither the numbering of the nodes nor the order
//!   of the edges can change the partition or a representative. Nothing is random.
//! - Time is near-linear in the edges and memory linear; nothing is ever n × n.
//! - Every cluster of two or more is connected by pairs at or above the threshold.
//!
//! Not here: reading tables, scoring pairs that were never scored, cluster ids that last from night to night.

mod canonical;
mod cohesive;
mod components;
mod star;
pub mod stats;
pub mod union_find;

use canonical::Canonical;

/// A scored pair of nodes, `a < b`, each unordered pair at most once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    pub a: u32,
    pub b: u32,
    /// That the two are duplicates, 0..=1; any finite score that grows with it will do. Never NaN.
    pub probability: f32,
}

/// What every algorithm sees.
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

/// How pairs become clusters; the module's page compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Every member above the threshold to the representative, no pair inside that was ruled out
    Cohesive,
    /// Every member above the threshold to the representative
    Star,
    /// Whatever a chain of duplicates connects
    Components,
}

impl Algorithm {
    /// As it is written in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cohesive => "cohesive",
            Self::Star => "star",
            Self::Components => "components",
        }
    }
}

/// A partition of the nodes with a representative for each cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clustering {
    /// Node → cluster number. Clusters, singletons included, are numbered 0, 1, 2 … by their smallest node.
    pub cluster_of: Vec<u32>,
    /// Cluster number → the node that stands for it.
    pub representative: Vec<u32>,
}

/// Clusters the graph.
///
/// # Panics
///
/// When there is not one key a node, or an edge names a node that is not there.
pub fn cluster(graph: &Graph, algorithm: Algorithm) -> Clustering {
    let canonical = Canonical::new(graph);
    let representative_of = match algorithm {
        Algorithm::Cohesive => cohesive::representatives(&canonical),
        Algorithm::Star => star::representatives(&canonical),
        Algorithm::Components => components::representatives(&canonical),
    };
    canonical.clustering(&representative_of)
}

#[cfg(test)]
mod tests;
