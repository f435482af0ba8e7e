//! One binary for all integration tests, a module a topic.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a panic is how a test fails")]

mod apart;
mod architecture;
mod calibrate;
#[cfg(feature = "cubecl-cpu")]
mod card_kernels;
mod cards;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "cluster")]
mod cluster_faults;
#[cfg(feature = "cluster")]
mod cluster_store;
#[cfg(feature = "cluster")]
mod cluster_support;
mod clustering_quality;
mod corpus_fit;
mod degenerate;
mod devices;
mod errors;
mod evaluate;
mod export;
mod families;
mod faults;
mod first_hour;
mod fixture;
mod hostile;
mod hub;
mod input_formats;
mod inputs;
mod keep;
mod law;
mod losses;
mod metrics;
mod mistakes;
mod models;
mod nightly;
mod nightly_faults;
mod nightly_inputs;
mod options;
mod options_json;
mod parity;
mod perturb;
mod readme;
mod recipes;
mod report;
mod report_labels;
mod rerank;
mod rerank_floor;
mod results;
mod samples;
mod search;
mod sensitivity;
mod show;
mod split;
mod store;
mod support;
mod text_columns;
mod together;
mod tokenizers;
mod trainable;
mod training;
mod training_negatives;
mod training_refused;
mod training_steps;
mod versions;
