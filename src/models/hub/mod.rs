//! Models by name: `organisation/model[@revision]` on the Hugging Face hub, kept in the cache that Python shares.
//!
//! What a user writes is a folder when a folder of that name exists; otherwise, when it has the form of a hub name, a
//! model of the hub. A model that is complete in the cache is used as it is, without asking the network: the same
//! command then gives the same model every night. `mine models pull` asks the hub for what the name means today.
//!
//! Environment, as in Python: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` (or the file `token` in `HF_HOME`),
//! `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`.

pub mod cache;
mod client;
pub mod name;
mod open;
pub mod settings;

pub use open::{cached, open, open_or, open_path_or, pull};
