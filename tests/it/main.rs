//! One binary for all integration tests, a module a topic.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a panic is how a test fails")]

mod apart;
mod architecture;
mod calibrate;
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
mod law;
mod losses;
mod metrics;
mod models;
mod nightly;
mod nightly_faults;
mod nightly_inputs;
mod options;
mod parity;
mod readme;
mod recipes;
mod report;
mod report_labels;
mod rerank;
mod results;
mod samples;
mod search;
mod show;
mod split;
mod store;
mod support;
mod together;
mod tokenizers;
mod trainable;
mod training;
mod training_negatives;
mod training_refused;
mod training_steps;
mod versions;
