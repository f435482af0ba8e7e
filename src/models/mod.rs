//! Burn modules and the folders they are read from. Models see token ids and tensors, never Arrow.

pub mod bi_encoder;
pub mod checkpoint;
pub mod cross_encoder;
pub mod export;
pub mod families;
pub mod hub;
mod kernels;
pub mod network;
mod save;
pub mod siamese;
pub mod tokenizer_files;
