//! One run at a time: a file that the operating system locks, and unlocks when the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::error::in_use;
use crate::progress::Progress;

/// Name of the locked file.
pub const FILE: &str = "lock";
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Held while it lives.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `folder`, which must exist. `holder` says to others who holds it. If another run holds it, waits for its end
    /// if `wait`, and fails otherwise.
    pub fn acquire(folder: &Path, holder: &str, wait: bool, progress: &Progress) -> Result<Self> {
        let path = folder.join(FILE);
        let failed = || format!("cannot lock {}", path.display());
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).with_context(failed)?;
        let mut waiting = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
                Err(TryLockError::WouldBlock) => {}
            }
            let by = std::fs::read_to_string(&path).unwrap_or_default();
            let by = if by.trim().is_empty() { "another run of mine" } else { by.trim() };
            if !wait {
                return Err(in_use(
                    format!("{} is in use by {by}", folder.display()),
                    "add --wait to start when it ends, or choose another --output or --store",
                ));
            }
            if !waiting {
                progress.say(&format!("waiting for {by}"));
                waiting = true;
            }
            progress.check()?;
            std::thread::sleep(LOOK_AGAIN);
        }
        file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).with_context(failed)?;
        Ok(Self { _file: file })
    }
}
