//! `dupmine`: finds duplicate questions in a corpus. The binary is `mine`.
//!
//! Data flows one way:
//!
//! ```text
//! questions ──normalise, collapse──► unique texts ──embed──► vectors ──search──► candidates (a, b, cosine)
//!           ──rerank──► (a, b, logits, probability) ──cluster──► clusters ──► Parquet
//! ```
//!
//! - [`pipeline`] is the loop and the only part that knows files: start reading at [`pipeline::mine`].
//! - [`stages`] holds one typed function a stage, from tables to tables.
//! - [`tables`] is the only user of Arrow and Parquet, [`text`] of the tokenizer, [`models`] of the Burn modules,
//!   [`search`] of the HNSW crate; [`clustering`] and [`metrics`] are plain functions over slices.
//! - [`commands`] holds what can be typed besides a run, one file a command; [`calibration`] turns scores into
//!   probabilities and wishes into thresholds.
//! - [`report`] is the page that a person looks at.
//! - [`training`] makes models from labelled pairs by the [`losses`].
//! - [`cli`] and [`option_file`] parse, [`progress`] shows, [`device`] picks the backend, [`error`] says how it failed,
//!   [`hash`] chooses by content.

pub mod calibration;
pub mod cli;
pub mod clustering;
pub mod commands;
pub mod device;
pub mod error;
pub mod executor;
pub mod hash;
pub mod labels;
pub mod losses;
pub mod metrics;
pub mod mining;
pub mod models;
pub mod option_file;
pub mod progress;
pub mod report;
pub mod run;
pub mod search;
pub mod store;
pub mod tables;
pub mod text;
pub mod training;
pub mod view;
