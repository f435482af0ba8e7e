//! Where exact search computes its tiles of cosines, and how large they are.

use burn::tensor::Device;

use crate::device::Devices;

/// A device, and the rows of the tiles that suit it.
#[derive(Debug, Clone)]
pub struct Tiles {
    /// A GPU or the plain processor.
    pub device: Device,
    /// At least 1; on a GPU a multiple of 64.
    pub rows: usize,
}

impl Tiles {
    /// Tiles of `rows` rows where these devices compare vectors.
    pub fn on(devices: &Devices, rows: usize) -> Self {
        Self { device: devices.for_search(), rows }
    }
}
