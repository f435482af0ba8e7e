//! Commands beside the run itself, one file each: its arguments and what it does.

pub mod report;
