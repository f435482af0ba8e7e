//! One night after another: which clusters are those of the version before, what changed, and what is too much to accept.
//!
//! | file | what it says |
//! |---|---|
//! | `previous` | the version before: its questions, and the clusters of its texts |
//! | `ids` | the id of every cluster, carried from version to version |
//! | `changes` | which questions joined and left which clusters, and why; events of clusters |
//! | `guards` | what a run refuses to replace results with |
//!
//! Pure functions: nothing here reads or writes files.

pub mod changes;
pub mod guards;
pub mod ids;
pub mod previous;

#[cfg(test)]
mod tests;
