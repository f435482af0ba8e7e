//! Mining: from questions to clusters. Read [`run`] first.
//!
//! A stage is one file: the function that computes a partition of it, which sees columns and no files, and below it the
//! shell that looks up what is stored and computes what is missing.

pub mod candidates;
pub mod cluster;
pub mod collapse;
pub mod embed;
mod log;
pub mod logits;
pub mod neighbour_lists;
pub mod night;
pub mod plan;
pub mod reference;
mod representatives;
pub mod rerank;
mod rerank_floor;
mod rerank_share;
pub mod rollback;
mod rows;
pub mod run;
pub mod score_pairs;
mod scorer;
pub mod stale;
pub mod stored_scores;
mod summary;
pub mod thresholds;
pub mod units;
pub mod verify;
pub mod worker;
pub mod workers;
mod write;
