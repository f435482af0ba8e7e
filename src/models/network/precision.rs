//! The number format that an encoder computes in.
//!
//! Weights are cast when a model is loaded, and in training for every batch. There is no global state, so one process can hold
//! models of several precisions. Sums that need range or digits are always f32: LayerNorm, softmax, pooling, the head of a
//! cross-encoder and the sigmoid after it. BENCHMARKS.md has the cost in quality.

use anyhow::Result;
use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use crate::device::{DeviceChoice, DeviceKind, Devices, is_plain_cpu};
use crate::error::usage;
use crate::models::kernels::int8;
use crate::option_file::as_text;

/// A number format, or the choice between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits of significand: Python's default, and the reference of every parity test
    F32,
    /// 8 bits, the range of f32: what recent processors and GPUs multiply fastest
    Bf16,
    /// 11 bits, up to 65,504: half the memory on GPUs without bf16
    F16,
    /// integers of 8 bits, on the processor alone: what it multiplies fastest
    Int8,
}

impl Precision {
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// The type of the inputs and outputs of a product.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 | Self::Int8 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
            Self::F16 => FloatDType::F16,
        }
    }

    /// The device for what was computed in this format before: 8 bits are for the processor alone.
    pub fn device(self, choice: DeviceChoice) -> DeviceChoice {
        match (self, choice) {
            (Self::Int8, DeviceChoice::Auto) => DeviceChoice::Cpu,
            _ => choice,
        }
    }

    /// Refuses a format that one of the devices cannot compute in.
    pub fn check(self, devices: &Devices) -> Result<()> {
        let computes = |device: &Device| match self {
            Self::Int8 => is_plain_cpu(device),
            Self::F32 | Self::Bf16 | Self::F16 => device.supports_dtype(self.dtype()),
        };
        match devices.list.iter().all(computes) {
            true => Ok(()),
            false => Err(usage(format!(
                "--precision {}: {} cannot compute in it; --precision f32 works everywhere, int8 on --device cpu",
                self.name(),
                devices.name
            ))),
        }
    }
}

/// What `--precision` names: a format, or `auto`, which is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrecisionChoice(pub Option<Precision>);

impl PrecisionChoice {
    /// The format to compute in on devices of this kind: on a processor with instructions for it int8, otherwise f32, unless
    /// one was named. BENCHMARKS.md has what int8 gains and costs.
    pub fn on(self, kind: DeviceKind) -> Precision {
        self.0.unwrap_or(match kind {
            DeviceKind::Cpu if int8::is_fast() => Precision::Int8,
            DeviceKind::Cpu | DeviceKind::Tch | DeviceKind::Gpu => Precision::F32,
        })
    }

    /// The same, when the devices are not open yet.
    pub fn settle(self, device: DeviceChoice) -> Precision {
        self.0.unwrap_or_else(|| self.on(device.kind()))
    }
}

impl std::str::FromStr for PrecisionChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let named = <Precision as clap::ValueEnum>::from_str(text, false);
        named
            .map(|precision| Self(Some(precision)))
            .map_err(|_| format!("{text:?} is no number format, expected {NAMES}"))
    }
}

/// What can be typed.
const NAMES: &str = "auto, f32, bf16, f16 or int8";

impl std::fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.0.map_or("auto", Precision::name))
    }
}

as_text!(PrecisionChoice);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read_as_it_is_written() {
        for name in ["auto", "f32", "bf16", "f16", "int8"] {
            assert_eq!(name.parse::<PrecisionChoice>().unwrap().to_string(), name);
            assert!(NAMES.contains(name));
        }
        assert!("f8".parse::<PrecisionChoice>().unwrap_err().contains(NAMES));
    }

    #[test]
    fn auto_is_int8_on_the_processor_alone() {
        let auto = PrecisionChoice(None);
        assert_eq!(auto.on(DeviceKind::Gpu), Precision::F32);
        assert_eq!(auto.on(DeviceKind::Cpu) == Precision::Int8, int8::is_fast());
        assert_eq!(PrecisionChoice(Some(Precision::F16)).on(DeviceKind::Cpu), Precision::F16);
    }
}
