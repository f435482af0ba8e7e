//! What executors say of themselves: a note in the store, renewed while they live. Runs read them; the scheduler gets the same
//! with an executor's name.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::mining::units::Offer;
use crate::store::files::{Files, join, read_json, write_json};
use crate::store::root::EXECUTORS;

/// How often a note is renewed.
pub const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// A note that was not renewed for so long is of an executor that is gone.
const GONE_AFTER: Duration = Duration::from_secs(45);

#[derive(Serialize, Deserialize)]
struct Note {
    offer: Offer,
    /// Seconds since 1970.
    renewed: u64,
}

/// Writes or renews the note of an executor.
pub fn renew(files: &dyn Files, offer: &Offer) -> Result<()> {
    write_json(files, &path(offer), &Note { offer: offer.clone(), renewed: now() })
}

/// Removes the note of an executor.
pub fn leave(files: &dyn Files, offer: &Offer) -> Result<()> {
    files.remove(&path(offer))
}

/// The executors that live.
pub fn living(files: &Arc<dyn Files>) -> Result<Vec<Offer>> {
    let mut found = Vec::new();
    for name in files.list(EXECUTORS)?.into_iter().filter(|name| name.ends_with(".json")) {
        let note = read_json::<Note>(&**files, &join(EXECUTORS, &name))?;
        found.extend(note.filter(|note| note.renewed + GONE_AFTER.as_secs() >= now()).map(|note| note.offer));
    }
    Ok(found)
}

fn path(offer: &Offer) -> String {
    let name: String =
        offer.executor.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect();
    join(EXECUTORS, &format!("{name}.json"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
