//! Burn modules and the folders they are read from. Models see token ids and tensors, never Arrow.

pub mod bert;
pub mod bi_encoder;
pub mod built_in;
pub mod calibration;
pub mod compress;
pub mod cross_encoder;
pub mod folder;
pub mod hub;
pub mod hub_cache;
mod hub_client;
mod kernels;
mod ops;
pub mod pooling;
pub mod precision;
pub mod quantised;
pub mod replicas;
pub mod weights;
