//! What executors say of themselves: a note in the store, renewed while they live. Runs read the notes; the scheduler gets the
//! same as the id of an executor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::mining::units::{Needs, Offer};
use crate::store::files::{Files, join, read_json, write_json};
use crate::store::root::EXECUTORS;

/// How often a note is renewed.
pub const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// A note that was not renewed for so long is of an executor that is gone; later it is removed.
const GONE_AFTER: Duration = Duration::from_secs(45);
const REMOVED_AFTER: Duration = Duration::from_secs(600);

#[derive(Serialize, Deserialize)]
struct Note {
    offer: Offer,
    /// Rises with every renewal.
    renewals: u64,
    /// Units under way.
    active: usize,
}

/// Writes or renews the note of an executor: how often it did so before, and how many units are under way.
pub fn renew(files: &dyn Files, offer: &Offer, (renewals, active): (u64, usize)) -> Result<()> {
    write_json(files, &path(offer), &Note { offer: offer.clone(), renewals, active })
}

/// Removes the note of an executor.
pub fn leave(files: &dyn Files, offer: &Offer) -> Result<()> {
    files.remove(&path(offer))
}

/// Removes the notes that earlier processes with the same name left.
pub fn forget_earlier(files: &dyn Files, offer: &Offer) -> Result<()> {
    for name in files.list(EXECUTORS)? {
        let path = join(EXECUTORS, &name);
        let is_earlier = |note: Note| note.offer.executor == offer.executor && note.offer.instance != offer.instance;
        if read_json::<Note>(files, &path)?.is_some_and(is_earlier) {
            files.remove(&path)?;
        }
    }
    Ok(())
}

fn path(offer: &Offer) -> String {
    join(EXECUTORS, &format!("{}.json", offer.instance))
}

/// The executors of a store, as a run sees them.
pub struct Roster {
    files: Arc<dyn Files>,
    /// Instance → its renewals when they last rose. Clocks of other machines are not compared.
    seen: Mutex<HashMap<String, (u64, Instant)>>,
}

impl Roster {
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files, seen: Mutex::default() }
    }

    /// The executors that live: those that can do what is needed, and those that cannot. One that is seen for the first time is
    /// taken to live.
    pub fn fitting(&self, needs: &Needs) -> Result<Fitting> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Fitting::default();
        for name in self.files.list(EXECUTORS)? {
            let path = join(EXECUTORS, &name);
            let Some(Note { offer, renewals, active }) = read_json(&*self.files, &path)? else { continue };
            let last = seen.entry(offer.instance.clone()).or_insert((renewals, Instant::now()));
            if last.0 != renewals {
                *last = (renewals, Instant::now());
            }
            match last.1.elapsed() {
                age if age >= REMOVED_AFTER => self.files.remove(&path)?,
                age if age >= GONE_AFTER => {}
                _ => match needs.refusal(&offer) {
                    None => {
                        found.active += active;
                        found.usable.push(offer);
                    }
                    Some(why) => found.unusable.push((offer.executor, why)),
                },
            }
        }
        Ok(found)
    }
}

/// Which executors can do something.
#[derive(Default)]
pub struct Fitting {
    pub usable: Vec<Offer>,
    /// Units that these have under way, of any run.
    pub active: usize,
    /// Name, and why it cannot.
    pub unusable: Vec<(String, String)>,
}
