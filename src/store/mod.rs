//! What runs keep for later runs: vectors, neighbour lists and scores, looked up by the key of a text.
//!
//! ```text
//! <output>/.mine/            or --store DIR, which several outputs share
//!     lock                   held by a run, with a line that says which
//!     store.json             the format of this folder, and how many runs used it
//!     vectors/<identity>/    segments: TextKey → vector
//!     neighbours/<identity>/ segments: TextKey → (TextKey, cosine)…, and whether top-k cut the list
//!     scores/<identity>/     segments: (TextKey, TextKey) → logit
//!     texts/                 the keys that each version holds
//! <output>/.mine/
//!     CURRENT                the number of the version that the results are of
//!     versions/000007.json   what a version is made of
//! ```
//!
//! An identity is the hash of everything that a value depends on besides its key: the model's files, the precision. A
//! segment is an immutable file named by the hash of its bytes: one that was cut short or damaged does not match its name,
//! is removed and computed again. A killed run leaves segments that are whole; the next run finds them.

pub mod identity;
pub mod lock;
pub mod root;
pub mod segments;
pub mod versions;
