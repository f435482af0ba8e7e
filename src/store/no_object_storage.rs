//! Object storage, in a build without the feature `cluster`: there is none.

use std::sync::Arc;

use anyhow::Result;

use crate::error::usage_with_hint;
use crate::store::files::Files;

/// Fails: says how to build a program that can.
pub fn open(url: &str) -> Result<Arc<dyn Files>> {
    Err(usage_with_hint(
        format!("--store {url}: this build stores in folders only"),
        "build one for object storage: cargo install --path . --features cluster",
    ))
}
