//! `mine evaluate`: how good models, thresholds and finished runs are, against labels.
//!
//! | flags | answers | files |
//! |---|---|---|
//! | `--pairs` | how well scores separate duplicates from other pairs | `pairs_command.rs`, `pairs_answer.rs` |
//! | `RUN --gold` | which known duplicates a run found, and where it lost the others | `run_command.rs`, `run_answer.rs` |
//! | `--sample` | precision and recall of a run, from a labelled sample of its pairs | `sample_command.rs`, `labelled_sample.rs` |
//! | `--compare` | several models on the same pairs, with thresholds chosen on other pairs | `compare_command.rs` |
//!
//! `labelled_questions.rs` reads labelled pairs, `pair_scores.rs` scores them, `missing_cosines.rs` scores pairs that a
//! run did not keep.

pub mod args;
pub mod command;
mod compare_command;
pub(super) mod labelled_questions;
mod labelled_sample;
mod missing_cosines;
mod pair_scores;
mod pairs_answer;
mod pairs_command;
mod run_answer;
mod run_command;
mod sample_command;
