//! A hash as a number: for choices that must be the same on every machine and in every version of the program.

/// The first 64 bits of BLAKE3, little-endian.
pub fn hash64(bytes: &[u8]) -> u64 {
    let digest = blake3::hash(bytes);
    u64::from_le_bytes(std::array::from_fn(|at| digest.as_bytes()[at]))
}
