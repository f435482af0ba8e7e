//! One binary for all integration tests, a module a topic.

mod architecture;
mod clustering_quality;
mod degenerate;
mod errors;
mod faults;
mod fixture;
mod inputs;
mod losses;
mod models;
mod options;
mod parity;
mod rerank;
mod search;
mod support;
mod trainable;
mod training;
