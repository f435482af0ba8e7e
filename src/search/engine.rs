//! Which engine finds neighbours.

use serde::{Deserialize, Serialize};

/// Up to this many texts `auto` searches exactly. Measured on two cores: see BENCHMARKS.md.
pub const AUTO_EXACT_TEXTS: usize = 1_000_000;

/// Which engine finds neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// HNSW graph: approximate, for corpora of millions.
    Hnsw,
    /// Every pair by blocked matrix products.
    Exact,
    /// Exact up to a million texts, HNSW beyond.
    Auto,
}

impl Engine {
    /// What `auto` means for a corpus of `texts`.
    pub fn resolve(self, texts: usize) -> Self {
        match self {
            Self::Auto if texts <= AUTO_EXACT_TEXTS => Self::Exact,
            Self::Auto => Self::Hnsw,
            chosen => chosen,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Hnsw => "hnsw",
            Self::Exact => "exact",
            Self::Auto => "auto",
        }
    }
}
