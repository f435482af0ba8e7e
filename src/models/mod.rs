//! Burn modules and the folders they are read from. Models see token ids and tensors, never Arrow.
//!
//! Each layer uses only those before it: `families` (names and tables), `checkpoint` (files), `tokenizer_files`, `kernels`
//! (loops of the processor, kernels of cards), `network` (Burn modules), `hub` (models by name), and last the three kinds of
//! model with `warm`, `save`, `export` and `sensitivity`.

pub mod bi_encoder;
pub mod checkpoint;
pub mod cross_encoder;
pub mod export;
pub mod families;
pub mod hub;
pub mod kernels;
pub mod network;
mod save;
pub mod sensitivity;
pub mod siamese;
pub mod tokenizer_files;
mod warm;
