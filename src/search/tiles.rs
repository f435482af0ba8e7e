//! Where exact search computes its tiles of cosines, and how large they are.

use burn::tensor::Device;

use crate::device::{Devices, plain_cpu};

/// A device, and the rows of the tiles that suit it.
#[derive(Debug, Clone)]
pub struct Tiles {
    /// A GPU or the plain processor.
    pub device: Device,
    /// At least 1; on a GPU a multiple of 64.
    pub rows: usize,
}

/// From this many pairs of texts on a card searches. With fewer the processor has ended before a card has its kernels.
const LEAST_ON_CARD: usize = 16_384 * 16_384;

/// Rows of a tile that suit the processor.
const ON_PROCESSOR: usize = 1024;

impl Tiles {
    /// Tiles of `rows` rows where these devices compare the vectors of so many texts with those of so many others.
    pub fn on(devices: &Devices, rows: usize, [left, right]: [usize; 2]) -> Self {
        match left.saturating_mul(right) < LEAST_ON_CARD {
            true => Self { device: plain_cpu(), rows: rows.min(ON_PROCESSOR) },
            false => Self { device: devices.for_search(), rows },
        }
    }
}
