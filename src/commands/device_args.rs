//! The flags that say where a command's models run.

use anyhow::Result;
use clap::Args;

use crate::device::{DeviceChoice, Devices};
use crate::models::network::precision::{Precision, PrecisionChoice};
use crate::progress::Progress;

/// Device and number format of a command's models.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceArgs {
    /// Where models run: auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda, tch-cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Number format of the encoders: auto, f32, bf16, f16, int8; use the same one as in your runs
    #[arg(long, default_value = "auto")]
    pub precision: PrecisionChoice,
}

impl DeviceArgs {
    /// Opens the devices, and says in which format to compute on them; fails if they cannot.
    pub fn open(self, progress: &Progress) -> Result<(Devices, Precision)> {
        let device = self.precision.0.map_or(self.device, |precision| precision.device(self.device));
        let devices = device.open(progress)?;
        let precision = self.precision.on(devices.kind);
        precision.check(&devices)?;
        Ok((devices, precision))
    }
}
