//! A text's identity: what it says, never where it stands.

use std::fmt;

use crate::text::normalise;

/// The first 128 bits of BLAKE3 over the normaliser's version and the normalised text. Keys sort as their bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextKey([u8; Self::BYTES]);

impl TextKey {
    pub const BYTES: usize = 16;

    /// The key of a text that [`normalise::normalise`] returned.
    pub fn of(normalised: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&normalise::VERSION.to_le_bytes());
        hasher.update(normalised.as_bytes());
        let digest = hasher.finalize();
        Self(std::array::from_fn(|at| digest.as_bytes()[at]))
    }

    /// The inverse of [`TextKey::bytes`].
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_the_text_alone_and_sorts_as_its_bytes() {
        let (a, b) = (TextKey::of("how are you"), TextKey::of("how are you?"));
        assert_eq!(a, TextKey::of("how are you"));
        assert_ne!(a, b);
        assert_eq!(a < b, a.bytes() < b.bytes());
        assert_eq!(TextKey::from_bytes(*a.bytes()), a);
        assert_eq!(a.to_string().len(), 32);
    }
}
