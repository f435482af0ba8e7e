//! Where tensors live. The only file that knows which backends this binary was built with.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// The device that `--device` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// The best that works on this machine
    Auto,
    /// Pure Rust on the processor
    Cpu,
}

impl DeviceChoice {
    /// The Burn device, and its name for logs and the manifest.
    pub fn open(self) -> (Device, &'static str) {
        match self {
            Self::Auto | Self::Cpu => (Device::flex(), "cpu"),
        }
    }
}

/// Whether `device` is the processor without autodiff, where tensors are plain f32 buffers that loops may work on.
pub fn is_plain_cpu(device: &Device) -> bool {
    !device.is_autodiff() && *device == Device::flex()
}
