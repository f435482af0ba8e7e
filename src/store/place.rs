//! Where a store is: what `--store` names.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::store::files::{Files, of_folder};
use crate::store::object_storage;

/// The files at a place as `--store` names it: a folder, `file://…` or `s3://…`.
pub fn open(place: &Path) -> Result<Arc<dyn Files>> {
    let text = place.to_string_lossy();
    match text.strip_prefix("file://") {
        Some(path) => Ok(of_folder(path)),
        None if is_url(place) => object_storage::open(&text),
        None => Ok(of_folder(place)),
    }
}

/// Whether a place is named by an address, which means the same in every folder.
pub fn is_url(place: &Path) -> bool {
    place.to_string_lossy().contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_two_names() {
        let root = tempfile::tempdir().unwrap();
        let by_url = open(Path::new(&format!("file://{}", root.path().display()))).unwrap();
        by_url.write("a", b"1").unwrap();
        assert_eq!(open(root.path()).unwrap().read("a").unwrap().unwrap(), b"1");
        assert!(is_url(Path::new("s3://bucket/prefix")) && !is_url(root.path()));
        assert!(open(Path::new("gs://bucket")).is_err());
    }
}
