//! Loops of the plain CPU path: plain slices in, plain slices out.
//!
//! Those in f32 are fused, and written so that the compiler vectorises them: fixed-size lanes of accumulators, no branches
//! inside. They are compiled for SSE2, AVX2 and AVX-512; `multiversion` chooses one at run time. Products in 8 bits
//! (`int8.rs`) are written for each kind of processor. Kernels for cards are in `cube/`.

mod arithmetic;
pub mod attention;
pub mod backward;
#[cfg(feature = "cubecl")]
pub mod cube;
pub mod forward;
pub mod int8;
