//! One stage a file, each a typed function from tables to tables. Stages see no paths, no TOML, no clock and no
//! environment; `pipeline/` gives them what they need and keeps what they return.

pub mod candidates;
pub mod cluster;
pub mod collapse;
pub mod embed;
pub mod rerank;
pub mod sample;
pub mod score_pairs;
pub mod split;
