//! One binary for all integration tests, a module a topic.

mod architecture;
mod clustering_quality;
mod degenerate;
mod errors;
mod export;
mod families;
mod faults;
mod fixture;
mod hostile;
mod inputs;
mod models;
mod options;
mod parity;
mod rerank;
mod search;
mod support;
mod trainable;
