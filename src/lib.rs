//! `dupmine`: finds duplicate questions in a corpus. The binary is `mine`.
//!
//! Data flows one way:
//!
//! ```text
//! questions ──normalise, collapse──► unique texts ──embed──► vectors ──search──► candidates (a, b, cosine)
//!           ──rerank──► (a, b, logits, probability) ──cluster──► clusters ──► Parquet
//! ```
//!
//! Start reading at [`mining::run::mine`]. `ARCHITECTURE.md` names every file, and says what is stored and what must stay
//! true.
//!
//! - [`mining`] runs the stages, one file each; [`store`] keeps vectors, neighbour lists and scores for later runs.
//! - [`run`] is a run as a typed thing: options, decision, files, manifest, and the reader of finished runs. [`view`]
//!   describes a finished run, [`report`] draws it as one page.
//! - [`models`] has the Burn modules and their files, [`executor`] feeds a copy of a model on each [`device`].
//! - [`search`], [`clustering`], [`metrics`] and [`calibration`] are functions over slices.
//! - [`tables`] is the only user of Arrow and Parquet, [`text`] of the tokenizer. [`labels`] has labelled pairs.
//! - [`cluster`] has units of a run done on other machines.
//! - [`training`] makes models from labelled pairs by the [`losses`].
//! - [`cli`] says what can be typed, [`commands`] has one file per subcommand.
//! - [`mistyped`] answers slips on the command line.
//! - [`option_file`] reads options, [`progress`] shows, [`error`] says how a run failed, [`atomic_file`] writes files that are
//!   complete or absent, [`hash`] chooses by content, [`machine`] says how this machine is called.

pub mod atomic_file;
pub mod calibration;
pub mod cli;
pub mod cluster;
pub mod clustering;
pub mod commands;
pub mod device;
pub mod error;
pub mod executor;
pub mod hash;
pub mod labels;
pub mod losses;
pub mod machine;
pub mod metrics;
pub mod mining;
pub mod mistyped;
pub mod models;
pub mod nightly;
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
