//! Burn modules: token ids to vectors and logits.

mod buffers;
pub mod dense;
pub mod dropout;
pub mod encoder;
mod f32_matrix;
pub mod head;
pub mod layer;
pub mod linear;
pub mod ops;
#[cfg_attr(not(feature = "cubecl"), path = "packed_absent.rs")]
pub mod packed_encoder;
pub mod packed_rows;
pub mod pooling;
pub mod precision;
pub mod relative_bias;
pub mod rounded_layer;
pub mod token_batch;
