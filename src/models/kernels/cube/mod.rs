//! Kernels for cards, written in CubeCL: what lies between the products of an encoder, each in one pass over memory.
//!
//! They work on packed rows: the tokens of all texts of a batch end to end, without padding, in a number of rows that is
//! the same for every batch. No kernel here is tuned, and each adds up in a fixed order, so the same card gives the same
//! bytes. Burn calls them through its own dispatch (`burn::backend::backend_extension`), in order with its own operations.
//!
//! Shapes: R rows, H hidden, N heads, S slots, one for each text. Tables, biases and norms are f32; hidden states are in the
//! format of the model and widened to f32 inside a kernel.

mod attention;
mod gelu;
mod launch;
mod norm;
pub mod ops;
mod pool;
