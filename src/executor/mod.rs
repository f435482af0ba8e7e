//! Batches of work on the devices of this machine. Models are built on it; it knows none of them.

pub mod batch;
pub mod replicas;
pub mod tuning;
