//! What can be typed besides a run: one file a command, with its arguments and one function `run`.
//!
//! A command reads files, calls stages, metrics and calibration, and returns or writes the answer. Results go to
//! stdout through [`print_lines`] alone.

pub mod calibrate;
pub mod evaluate;
pub mod explain;
pub mod models;
pub mod report;
pub mod sample;
pub mod show;
mod show_cluster;
mod show_question;
pub mod split;
mod terminal;
pub mod train;

use anyhow::{Context, Result};
use clap::Args;

use crate::device::{DeviceChoice, Devices};
use crate::models::network::precision::Precision;
use crate::progress::Progress;

/// Where a command's models compute, and in what.
#[derive(Debug, Clone, Copy, Args)]
pub struct Computing {
    /// Where to compute: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Number format of the encoders: that of the runs that the answer is for
    #[arg(long, default_value = "f32")]
    precision: Precision,
}

impl Computing {
    fn open(self, progress: &Progress) -> Result<Devices> {
        let devices = self.device.open(progress)?;
        self.precision.check(&devices)?;
        Ok(devices)
    }
}

/// Results that were asked for go to stdout; a reader that went away is no failure.
pub fn print_lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{}", line.as_ref()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("cannot write to stdout")?,
        }
    }
    Ok(())
}
