//! The flags that say where a command's models run.

use anyhow::Result;
use clap::Args;

use crate::device::{DeviceChoice, Devices};
use crate::models::network::precision::Precision;
use crate::progress::Progress;

/// Device and number format of a command's models.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceArgs {
    /// Where models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Number format of the encoders; use the same one as in your runs
    #[arg(long, default_value = "f32")]
    pub precision: Precision,
}

impl DeviceArgs {
    /// Opens the devices; fails if they cannot compute in this precision.
    pub fn open(self, progress: &Progress) -> Result<Devices> {
        let devices = self.device.open(progress)?;
        self.precision.check(&devices)?;
        Ok(devices)
    }
}
