//! Batches of work on the devices of this machine.

pub mod batch;
pub mod replicas;
