//! What a person sees during work, and how they stop it. The only user of `indicatif`.
//!
//! A bar on a terminal, otherwise a line every ten seconds, nothing with `--quiet`. Warnings are always shown and kept
//! for the manifest. Everything goes to stderr: stdout is for results.

#![expect(clippy::print_stderr, reason = "what a person sees goes to stderr, and only from here")]

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::error::Interrupted;

const PLAIN_LINE_EVERY: Duration = Duration::from_secs(10);

/// A number with commas between thousands.
pub fn readable(number: usize) -> String {
    HumanCount(number as u64).to_string()
}

/// So many things a second, as a person reads it: `1,204/s`, `3.4/s`.
fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", HumanCount(per_second.round() as u64))
    }
}

/// How Ctrl-C stops the work; the signal handler shares it.
#[derive(Debug, Default)]
pub struct Cancellation {
    is_requested: AtomicBool,
    /// Whether the command keeps what is finished.
    resumes: AtomicBool,
    /// What the work finishes first, if anything.
    under_way: Mutex<Option<&'static str>>,
}

impl Cancellation {
    /// Tells the work to stop. Returns what it finishes first; `None` if it stops at once, or was told before.
    pub fn ask(&self) -> Option<&'static str> {
        if self.is_requested.swap(true, Ordering::Relaxed) { None } else { *self.under_way() }
    }

    /// The error with which the command ends.
    pub fn interrupted(&self) -> Interrupted {
        Interrupted { resumes: self.resumes.load(Ordering::Relaxed) }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, Option<&'static str>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this exists, Ctrl-C ends the process only after the work has finished a step.
pub struct Patience<'a>(&'a Cancellation);

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        *self.0.under_way() = None;
    }
}

/// Shared by all stages of a run.
#[derive(Clone)]
pub struct Progress {
    quiet: bool,
    bar: ProgressBar,
    cancellation: Arc<Cancellation>,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Progress {
    /// Every task ends with [`Interrupted`] after the signal handler has told it to stop.
    pub fn new(quiet: bool, cancellation: Arc<Cancellation>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { quiet, bar, cancellation, warnings: Arc::default() }
    }

    /// Prints a line of information, unless quiet.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    /// Prints a warning, even when quiet, and keeps it.
    pub fn warn(&self, line: impl Into<String>) {
        let line = line.into();
        self.bar.suspend(|| eprintln!("warning: {line}"));
        if let Ok(mut warnings) = self.warnings.lock() {
            warnings.push(line);
        }
    }

    /// All warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().map(|warnings| warnings.clone()).unwrap_or_default()
    }

    /// Fails if the user wants to stop.
    pub fn check(&self) -> Result<()> {
        if self.cancellation.is_requested.load(Ordering::Relaxed) {
            Err(self.cancellation.interrupted().into())
        } else {
            Ok(())
        }
    }

    /// At Ctrl-C, the user is told that the same command continues from the finished work.
    pub fn keeps_finished_work(&self) {
        self.cancellation.resumes.store(true, Ordering::Relaxed);
    }

    /// Lets the work finish `what` before the first Ctrl-C ends it, however long that takes.
    pub fn finish_before_stopping(&self, what: &'static str) -> Patience<'_> {
        *self.cancellation.under_way() = Some(what);
        Patience(&self.cancellation)
    }

    /// Starts counting `total` things called `unit`.
    pub fn task(&self, name: &'static str, unit: &'static str, total: usize) -> Task {
        let bar = if self.quiet || !std::io::stderr().is_terminal() {
            self.bar.clone()
        } else {
            // the spinner turns while a batch is under way, however long it takes
            let style = "{prefix:>10} {spinner} {wide_bar:.cyan} {human_pos}/{human_len} {msg}  {rate}  {eta} left";
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&rate(state.per_sec()));
            });
            let bar = ProgressBar::new(total as u64).with_style(style).with_prefix(name).with_message(unit);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        };
        let progress = Self { bar, ..self.clone() };
        let started = Instant::now();
        Task {
            progress,
            name,
            unit,
            total,
            done: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            started,
            last: Mutex::new(started),
            note: Mutex::default(),
        }
    }
}

/// One counted piece of work.
pub struct Task {
    progress: Progress,
    name: &'static str,
    unit: &'static str,
    total: usize,
    done: AtomicU64,
    skipped: AtomicU64,
    started: Instant,
    last: Mutex<Instant>,
    note: Mutex<String>,
}

impl Task {
    /// Counts `n` more things as done; fails if the user wants to stop.
    pub fn advance(&self, n: usize) -> Result<()> {
        let done = self.done.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        self.progress.bar.inc(n as u64);
        self.plain_line(done);
        self.progress.check()
    }

    /// Counts `n` things that an earlier run had done, and says so. They do not count in the rate.
    pub fn resume(&self, n: usize) {
        if n == 0 {
            return;
        }
        let (done, total) = (readable(n), readable(self.total));
        self.progress.say(&format!("{:<10} {done} of {total} {} are there already", self.name, self.unit));
        self.done.fetch_add(n as u64, Ordering::Relaxed);
        self.skipped.fetch_add(n as u64, Ordering::Relaxed);
        self.progress.bar.inc(n as u64);
        self.progress.bar.reset_eta();
    }

    /// Shows a note beside the progress.
    pub fn note(&self, note: &str) {
        self.progress.bar.set_message(format!("{}, {note}", self.unit));
        if let Ok(mut last) = self.note.lock() {
            *last = note.to_string();
        }
    }

    /// Fails if the user wants to stop. Says how far the work is, if that is due.
    pub fn check(&self) -> Result<()> {
        self.plain_line(self.done.load(Ordering::Relaxed));
        self.progress.check()
    }

    fn plain_line(&self, done: u64) {
        if self.progress.quiet || !self.progress.bar.is_hidden() {
            return;
        }
        let Ok(mut last) = self.last.try_lock() else { return };
        if last.elapsed() < PLAIN_LINE_EVERY {
            return;
        }
        *last = Instant::now();
        let fresh = done.saturating_sub(self.skipped.load(Ordering::Relaxed));
        let per_second = fresh as f64 / self.started.elapsed().as_secs_f64();
        let left = match fresh {
            0 => String::new(),
            _ => {
                let left = (self.total as f64 - done as f64).max(0.0) / per_second;
                format!(", {}, {} left", rate(per_second), HumanDuration(Duration::from_secs_f64(left)))
            }
        };
        let note = self.note.lock().map(|note| note.clone()).unwrap_or_default();
        eprintln!(
            "{}: {} of {} {} ({:.0} %){left}{}{note}",
            self.name,
            HumanCount(done),
            HumanCount(self.total as u64),
            self.unit,
            100.0 * done as f64 / self.total.max(1) as f64,
            if note.is_empty() { "" } else { ", " }
        );
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.progress.bar.is_hidden() {
            self.progress.bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_readable() {
        let rates = [0.04, 3.44, 9.96, 107.5167, 1204.4, 5e6].map(rate);
        assert_eq!(rates, ["0.0/s", "3.4/s", "10/s", "108/s", "1,204/s", "5,000,000/s"]);
    }

    #[test]
    fn work_is_finished_at_the_first_ctrl_c_and_cut_off_at_the_second() {
        let cancellation = Arc::new(Cancellation::default());
        let progress = Progress::new(true, cancellation.clone());
        let patience = progress.finish_before_stopping("the step");
        assert!(progress.check().is_ok());
        assert_eq!(cancellation.ask(), Some("the step"));
        assert!(progress.check().is_err_and(|e| e.is::<Interrupted>()));
        assert_eq!(cancellation.ask(), None);
        drop(patience);
        let another = Cancellation::default();
        assert_eq!(another.ask(), None, "nothing is under way");
        assert!(!cancellation.interrupted().resumes, "most commands keep nothing");
        progress.keeps_finished_work();
        assert!(cancellation.interrupted().resumes);
    }
}
