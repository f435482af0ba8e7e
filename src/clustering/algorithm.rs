//! The choice of an algorithm.

use crate::clustering::canonical::Canonical;
use crate::clustering::graph::{Clustering, Graph};
use crate::clustering::{cohesive, components, star};

/// How pairs become clusters; the module documentation compares the algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Every member reaches the threshold with the representative, and no pair inside is ruled out
    Cohesive,
    /// Every member reaches the threshold with the representative
    Star,
    /// All questions that a chain of duplicates connects
    Components,
}

impl Algorithm {
    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cohesive => "cohesive",
            Self::Star => "star",
            Self::Components => "components",
        }
    }

    /// Whether a single low pair keeps two clusters apart.
    pub fn rules_pairs_out(self) -> bool {
        self == Self::Cohesive
    }

    /// Why a question with a duplicate can be in no cluster.
    pub fn why_kept_out(self) -> &'static str {
        match self {
            Self::Cohesive => {
                "each cluster that it could join has a pair that rules it out, or stronger ties elsewhere"
            }
            Self::Star => "the questions that it matches belong to other representatives",
            Self::Components => "this algorithm keeps nothing out: please report it",
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
