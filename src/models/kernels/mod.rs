//! Loops of the plain CPU path: plain slices in, plain slices out.
//!
//! Those in f32 are fused, and written so that the compiler vectorises them: fixed-size lanes of accumulators, no branches
//! inside. They are compiled for SSE2, AVX2 and AVX-512; `multiversion` chooses one at run time. Products in 8 bits
//! (`int8.rs`) and in bf16 (`bf16.rs`) are written for each kind of processor. Kernels for cards are in `cube/`.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod arithmetic;
pub mod attention;
pub mod backward;
pub mod bf16;
#[cfg(feature = "cubecl")]
pub mod cube;
pub mod forward;
pub mod int8;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod rounded;
#[cfg(target_arch = "x86_64")]
mod x86;
