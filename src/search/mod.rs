//! Nearest neighbours of every vector among all others: exactly, or through an HNSW index.
//!
//! All engines return the same thing and score it with the same [`dot::dot`], so a cosine does not depend on the
//! engine, on tile shapes or on threads. Vectors are unit rows of one row-major matrix.

pub mod audit;
pub mod cells;
pub mod dot;
pub mod engine;
pub mod exact;
pub mod gpu;
pub mod hnsw;
mod lists;
pub mod tiles;
mod top_k;
pub mod update;
mod vectors;

pub use vectors::{Neighbour, Query, Vectors};
