//! A dense layer behind the pooling (sentence-transformers' `Dense`).

use anyhow::{Context, Result, bail, ensure};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, relu, sigmoid, tanh};
use serde_json::{Value, json};

use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::weights::Weights;
use crate::models::network::linear::Linear;

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Identity,
    Tanh,
    Relu,
    Gelu,
    Sigmoid,
}

/// Every activation under the name that `config.json` has for it.
const ACTIVATIONS: [(Activation, &str); 5] = [
    (Activation::Identity, "torch.nn.modules.linear.Identity"),
    (Activation::Tanh, "torch.nn.modules.activation.Tanh"),
    (Activation::Relu, "torch.nn.modules.activation.ReLU"),
    (Activation::Gelu, "torch.nn.modules.activation.GELU"),
    (Activation::Sigmoid, "torch.nn.modules.activation.Sigmoid"),
];

impl Activation {
    /// The activation of a PyTorch class; short paths (`torch.nn.Tanh`) count as the long ones.
    pub fn from_name(name: &str) -> Result<Self> {
        let class = |path: &str| path.rsplit('.').next().map(str::to_string);
        let known = ACTIVATIONS.iter().find(|(_, path)| name.starts_with("torch.") && class(path) == class(name));
        match known {
            Some(&(activation, _)) => Ok(activation),
            None => {
                let paths: Vec<&str> = ACTIVATIONS.iter().map(|(_, path)| *path).collect();
                bail!("activation {name:?} is not supported, expected one of {}", paths.join(", "))
            }
        }
    }

    /// Name of the PyTorch class.
    pub fn name(self) -> &'static str {
        ACTIVATIONS.iter().find(|(activation, _)| *activation == self).map_or("", |(_, path)| path)
    }

    fn forward(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Identity => x,
            Self::Tanh => tanh(x),
            Self::Relu => relu(x),
            Self::Gelu => gelu(x),
            Self::Sigmoid => sigmoid(x),
        }
    }
}

/// `activation(x W + b)`; with `use_residual` the input is added, through a projection if the widths differ.
#[derive(Module, Debug)]
pub struct Dense {
    linear: Linear,
    residual: Option<Linear>,
    #[module(skip)]
    uses_residual: bool,
    #[module(skip)]
    activation: Activation,
    /// Whether a Normalize module precedes it.
    #[module(skip)]
    pub normalise_input: bool,
}

impl Dense {
    /// Reads `<path>/config.json` and `<path>/model.safetensors` of a model folder for inputs of width `d_in`.
    pub fn load(folder: &ModelFolder, path: &str, d_in: usize, weights: &Weights) -> Result<Self> {
        let file = format!("{path}/config.json");
        let config: Value = folder.require_json(&file)?;
        Self::parse(&config, d_in, weights).with_context(|| folder.path(&file).display().to_string())
    }

    fn parse(config: &Value, d_in: usize, weights: &Weights) -> Result<Self> {
        let width = |key: &str| match config.get(key).and_then(Value::as_u64) {
            Some(width) if (1..1 << 20).contains(&width) => Ok(width as usize),
            _ => bail!("{key} is {}, expected a width", config.get(key).unwrap_or(&Value::Null)),
        };
        ensure!(width("in_features")? == d_in, "in_features is {}, expected {d_in}", width("in_features")?);
        for key in ["module_input_name", "module_output_name"] {
            let name = config.get(key).and_then(Value::as_str).unwrap_or("sentence_embedding");
            ensure!(name == "sentence_embedding", "{key} is {name:?}, expected \"sentence_embedding\"");
        }
        let bias = config.get("bias").and_then(Value::as_bool).unwrap_or(true);
        let activation = match config.get("activation_function") {
            None => Activation::Tanh,
            Some(name) => Activation::from_name(name.as_str().unwrap_or_default())?,
        };
        let d_out = width("out_features")?;
        let linear = Linear::load(weights, "linear", [d_in, d_out], bias)?;
        let uses_residual = config.get("use_residual").and_then(Value::as_bool).unwrap_or(false);
        let projects = uses_residual && d_in != d_out;
        let residual = projects.then(|| Linear::load(weights, "residual", [d_in, d_out], false)).transpose()?;
        Ok(Self { linear, residual, uses_residual, activation, normalise_input: false })
    }

    /// Its `config.json`.
    pub fn to_config(&self) -> Value {
        let [d_in, d_out] = self.linear.widths();
        let mut config = json!({
            "in_features": d_in,
            "out_features": d_out,
            "bias": self.linear.has_bias(),
            "activation_function": self.activation.name(),
        });
        // releases before 5.7 do not know the key
        if self.uses_residual {
            config["use_residual"] = true.into();
        }
        config
    }

    /// Lists its tensors for writing.
    pub fn tensors(&self, out: &mut NamedTensors) {
        self.linear.tensors("linear", out);
        if let Some(residual) = &self.residual {
            residual.tensors("residual", out);
        }
    }

    /// Width of its output.
    pub fn width(&self) -> usize {
        self.linear.widths()[1]
    }

    /// `[B, d_in] → [B, d_out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = if self.normalise_input { normalise(x) } else { x };
        let out = self.activation.forward(self.linear.forward(x.clone()));
        match &self.residual {
            Some(residual) => out + residual.forward(x),
            None if self.uses_residual => out + x,
            None => out,
        }
    }
}

/// `x / max(‖x‖, 1e-12)` row by row, as `torch.nn.functional.normalize`: `[B, D] → [B, D]`.
pub fn normalise(x: Tensor<2>) -> Tensor<2> {
    // clamped before the root: its gradient at zero is not finite
    let norm = x.clone().powi_scalar(2).sum_dim(1).clamp_min(1e-24).sqrt();
    x / norm
}
