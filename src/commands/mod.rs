//! One file a command: its arguments and what it does with them.

pub mod split;
pub mod train;
