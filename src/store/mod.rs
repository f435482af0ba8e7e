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
//!     work/, executors/      units of work for other machines, and what these say of themselves
//! <output>/.mine/
//!     CURRENT                the number of the version that the results are of
//!     versions/000007.json   what a version is made of
//! ```
//!
//! An identity is the hash of everything that a value depends on besides its key: the model's files, the precision. A
//! segment is an immutable file named by the hash of its bytes: one that was cut short or damaged does not match its name,
//! is removed and computed again. A killed run leaves segments that are whole; the next run finds them.
//!
//! [`files`] says where the files lie: in a folder, or on object storage, which cannot be locked. There [`mirror`] keeps the
//! versions too, and of two runs that end at the same time the second fails.

pub mod files;
pub mod identity;
pub mod lock;
pub mod mirror;
#[cfg(feature = "cluster")]
pub mod object_storage;
#[cfg(not(feature = "cluster"))]
#[path = "no_object_storage.rs"]
pub mod object_storage;
pub mod place;
pub mod root;
pub mod segments;
pub mod versions;
