//! The number format that an encoder computes in.
//!
//! Weights are cast when a model is loaded, and in training for every batch. There is no global state, so one process can hold
//! models of several precisions. Sums that need range or digits are always f32: LayerNorm, softmax, pooling, the head of a
//! cross-encoder and the sigmoid after it. BENCHMARKS.md has the cost in quality.

use anyhow::Result;
use burn::tensor::FloatDType;
use serde::{Deserialize, Serialize};

use crate::device::Devices;
use crate::error::usage;

/// What `--precision` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits of significand: Python's default, and the reference of every parity test
    F32,
    /// 8 bits, the range of f32: what recent processors and GPUs multiply fastest
    Bf16,
    /// 11 bits, up to 65,504: half the memory on GPUs without bf16
    F16,
}

impl Precision {
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// The type of the weights, and of the inputs and outputs of a product.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    /// Refuses a format that one of the devices cannot compute in.
    pub fn check(self, devices: &Devices) -> Result<()> {
        match devices.list.iter().all(|device| device.supports_dtype(self.dtype())) {
            true => Ok(()),
            false => Err(usage(format!(
                "--precision {}: {} cannot compute in it; --precision f32 works everywhere",
                self.name(),
                devices.name
            ))),
        }
    }
}
