//! One binary for all integration tests, a module a topic.

mod architecture;
mod clustering_quality;
mod degenerate;
mod devices;
mod errors;
mod evaluate;
mod export;
mod families;
mod faults;
mod fixture;
mod hostile;
mod hub;
mod inputs;
mod losses;
mod metrics;
mod models;
mod options;
mod parity;
mod report;
mod rerank;
mod search;
mod show;
mod support;
mod tokenizers;
mod trainable;
mod training;
