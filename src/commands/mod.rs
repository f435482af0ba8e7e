//! The subcommands: one file a command, with its arguments and one function `run`.
//!
//! A command reads files, calls the other modules, and returns or writes the answer. Results go to stdout through
//! [`output::print_lines`] only.

pub mod calibrate;
mod corpus_profile;
mod device_args;
pub mod devices;
pub mod evaluate;
pub mod explain;
mod fitted_lines;
pub mod history;
pub mod models;
pub mod options;
pub mod output;
pub mod perturb;
pub mod report;
pub mod result;
pub mod rollback;
mod run_models;
pub mod sample;
pub mod show;
pub mod split;
mod terminal;
pub mod train;
pub mod verify;
