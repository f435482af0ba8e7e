//! Fused f32 loops of the plain CPU path, compiled for SSE2, AVX2 and AVX-512; `multiversion` chooses one at run time.
//!
//! Plain slices in, plain slices out. The loops are written so that the compiler vectorises them: fixed-size lanes of
//! accumulators, no branches inside.

mod arithmetic;
pub mod backward;
pub mod forward;
