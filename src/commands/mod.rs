//! Commands beside the run itself, one file each: its arguments and what it does.

pub mod explain;
pub mod report;
pub mod show;
mod show_cluster;
mod show_question;
mod terminal;
