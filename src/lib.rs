//! `dupmine`: finds duplicate questions in a corpus. The binary is `mine`.
//!
//! Data flows one way:
//!
//! ```text
//! questions ──normalise, collapse──► unique texts ──embed──► vectors ──search──► candidates (a, b, cosine)
//!           ──rerank──► (a, b, logits, probability) ──cluster──► clusters ──► Parquet
//! ```
//!
//! - [`mining`] is the loop and its stages: start reading at [`mining::run::mine`]. [`store`] keeps what runs compute.
//! - [`run`] is a run as a typed thing: its options, its manifest, its files, and how it decides.
//! - [`tables`] is the only user of Arrow and Parquet, [`text`] of the tokenizer, [`models`] of the Burn modules,
//!   [`search`] of the HNSW crate; [`clustering`] and [`metrics`] are plain functions over slices.
//! - [`commands`] holds the subcommands, one file a command; [`view`] says what they show of a run, [`report`] is the
//!   HTML page of a run.
//! - [`labels`] reads, splits and scores labelled pairs; [`calibration`] turns scores into probabilities and finds
//!   thresholds; [`training`] trains models with the [`losses`].
//! - [`executor`] feeds batches to the devices that [`device`] opens.
//! - [`cli`] and [`option_file`] parse, [`progress`] shows the work, [`error`] says how a run failed, [`hash`] hashes.

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
