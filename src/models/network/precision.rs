//! The number format that an encoder computes in.
//!
//! Weights are cast when a model is loaded, in training for every batch; no global state, so one process can hold models of
//! several precisions. Whatever the format, sums that need range or digits are taken in f32: LayerNorm, softmax, pooling, the
//! head of a cross-encoder and the sigmoid behind it. What a format costs in quality is in BENCHMARKS.md.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use anyhow::Result;

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

    fn dtype(self) -> FloatDType {
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

    /// The module with its weights in this format, but for those of LayerNorm.
    pub fn cast<M: Module>(self, module: M) -> M {
        match self {
            Self::F32 => module,
            Self::Bf16 | Self::F16 => module.map(&mut Cast { to: self.dtype().into(), containers: Vec::new() }),
        }
    }
}

struct Cast {
    to: DType,
    /// Types of the modules around a parameter, the innermost last.
    containers: Vec<String>,
}

impl ModuleMapper for Cast {
    fn enter_module(&mut self, _name: &str, container: &str) {
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.containers.last().is_some_and(|container| container == "Struct:LayerNorm") {
            return parameter;
        }
        let to = FloatDType::from(self.to);
        parameter.map(|weights| weights.cast(to))
    }
}
