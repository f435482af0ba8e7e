//! Burn modules: token ids to vectors and logits.

mod buffers;
pub mod dense;
pub mod dropout;
pub mod encoder;
pub mod head;
pub mod int8_layer;
pub mod layer;
pub mod linear;
pub mod ops;
pub mod pooling;
pub mod precision;
pub mod relative_bias;
pub mod token_batch;
