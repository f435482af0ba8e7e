//! Clusters of questions from scored pairs.
//!
//! Duplicate pairs do not make duplicate groups by themselves: if A matches B and B matches C, A need not match C.
//! Following every match ([`Algorithm::Components`]) chains unrelated questions into one cluster, and more of them in a
//! larger corpus. The algorithms here differ in how they prevent that.
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

mod algorithm;
mod canonical;
mod cohesive;
mod components;
mod graph;
mod star;
pub mod stats;
pub mod union_find;

pub use algorithm::{Algorithm, cluster};
pub use graph::{Clustering, Edge, Graph};

#[cfg(test)]
mod tests;
