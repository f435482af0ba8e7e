//! The choice of an algorithm.

use crate::clustering::canonical::Canonical;
use crate::clustering::graph::{Clustering, Graph};
use crate::clustering::{cohesive, components, star};

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
