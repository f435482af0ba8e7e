//! What a stored value depends on besides the key of its text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Vectors,
    Neighbours,
    Scores,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Vectors, Self::Neighbours, Self::Scores];

    /// Name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vectors => "vectors",
            Self::Neighbours => "neighbours",
            Self::Scores => "scores",
        }
    }
}

/// Named parts, so that a plan can say which of them changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub kind: Kind,
    parts: BTreeMap<String, String>,
}

impl Identity {
    /// `version` is that of the code that computes the values: raise it when a value changes for the same parts.
    pub fn new(kind: Kind, version: u32, parts: impl IntoIterator<Item = (String, String)>) -> Self {
        let parts = parts.into_iter().chain([("version".to_string(), version.to_string())]).collect();
        Self { kind, parts }
    }

    /// The same with one more part.
    pub fn with(&self, part: &str, value: &str) -> Self {
        let mut parts = self.parts.clone();
        parts.insert(part.into(), value.into());
        Self { kind: self.kind, parts }
    }

    /// 128-bit hash of kind and parts, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.kind.name(), &self.parts)
    }

    /// Whether only `part` differs from another identity.
    pub fn differs_only_in(&self, other: &Self, part: &str) -> bool {
        let without = |identity: &Self| {
            let mut parts = identity.parts.clone();
            parts.remove(part);
            parts
        };
        self != other && self.kind == other.kind && without(self) == without(other)
    }

    /// Names of the parts that differ from another identity's.
    pub fn changed_since(&self, other: &Self) -> Vec<&str> {
        let changed = self.parts.iter().filter(|(name, value)| other.parts.get(*name) != Some(value));
        changed.map(|(name, _)| name.as_str()).collect()
    }
}

/// 128-bit hash of a name and of named parts, in hexadecimal.
pub fn fingerprint(name: &str, parts: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in std::iter::once(name).chain(parts.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()])) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_string()
}
