//! The mining pipeline: from questions to files. Read [`run`] first.

pub mod artifact;
pub mod candidates;
pub mod cluster;
pub mod collapse;
pub mod embed;
pub mod embedding;
pub mod input;
pub mod log;
pub mod options;
pub mod plan;
pub mod reporting;
pub mod rerank;
pub mod reranking;
pub mod run;
pub mod searching;
pub mod summary;
pub mod write;
