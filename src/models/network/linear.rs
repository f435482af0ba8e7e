//! The linear layer: the one place that decides in which number format a product is computed.
//!
//! Every product with a weight goes through [`Linear`]: those of the encoder's layers, of heads and of dense layers. Only
//! inference on a processor in int8 or bf16 leaves it: its layers (`rounded_layer.rs`) are made from these.
//!
//! Shapes: R rows, d_in and d_out the widths of input and output.

use anyhow::Result;
use burn::module::{Module, Param};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::weights::Weights;
use crate::models::kernels::backward;
use crate::models::kernels::rounded::RoundedMatrix;
use crate::models::network::buffers::{rows_like, values};
use crate::models::network::precision::Precision;

/// `y = x W + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_in, d_out]`, the transpose of PyTorch's.
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Reads `<name>.weight`, and `<name>.bias` if the layer has one.
    pub fn load(weights: &Weights, name: &str, widths: [usize; 2], has_bias: bool) -> Result<Self> {
        let weight = weights.matrix(&format!("{name}.weight"), widths)?;
        let bias = has_bias.then(|| weights.vector(&format!("{name}.bias"), widths[1])).transpose()?;
        Ok(Self { weight, bias })
    }

    /// Seeded weight initialisation: weights uniform within `bound`, biases within `bias_bound`. The same seed gives the
    /// same layer on every device.
    pub fn seeded(
        [d_in, d_out]: [usize; 2],
        bound: f32,
        bias_bound: f32,
        random: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let mut draw = |count: usize, bound: f32| -> Vec<f32> {
            (0..count).map(|_| (2.0 * random.random::<f32>() - 1.0) * bound).collect()
        };
        let (weight, bias) = (draw(d_in * d_out, bound), draw(d_out, bias_bound));
        Self {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, [d_in, d_out]), device)),
            bias: Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias, [d_out]), device))),
        }
    }

    /// Lists its tensors for writing.
    pub fn tensors(&self, name: &str, out: &mut NamedTensors) {
        out.matrix(&format!("{name}.weight"), self.weight.val());
        if let Some(bias) = &self.bias {
            out.tensor(&format!("{name}.bias"), bias.val());
        }
    }

    /// d_in and d_out.
    pub fn widths(&self) -> [usize; 2] {
        self.weight.dims()
    }

    pub fn weight(&self) -> Tensor<2> {
        self.weight.val()
    }

    pub fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }

    pub fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// The same layer with its product in another number format. Weights are read as f32.
    pub fn in_precision(self, precision: Precision) -> Self {
        match precision {
            // layers in 8 bits are of another type
            Precision::F32 | Precision::Int8 => self,
            Precision::Bf16 | Precision::F16 => {
                let dtype = precision.dtype();
                let bias = self.bias.map(|bias| bias.map(|bias| bias.cast(dtype)));
                Self { weight: self.weight.map(|weight| weight.cast(dtype)), bias }
            }
        }
    }

    /// The weights in a format that this processor has kernels for. Only on the plain CPU path.
    pub fn rounded<M: RoundedMatrix>(&self) -> M {
        M::new(&values(self.weight.val().cast(FloatDType::F32)), self.widths())
    }

    /// The number format of its input and its output.
    pub fn dtype(&self) -> FloatDType {
        self.weight.val().dtype().into()
    }

    /// `x W + b`: `[R, d_in] → [R, d_out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        burn::tensor::module::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }

    /// `x W` without the bias, for a kernel that adds it in the same pass as what follows: `[R, d_in] → [R, d_out]`.
    pub fn product(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.val())
    }

    /// Adds the bias to a product.
    pub fn add_bias(&self, product: Tensor<2>) -> Tensor<2> {
        match &self.bias {
            Some(bias) => product + bias.val().unsqueeze(),
            None => product,
        }
    }

    /// The bias in memory, zeros without one. Only on the plain CPU path.
    pub fn bias_values(&self) -> Vec<f32> {
        match &self.bias {
            Some(bias) => values(bias.val().cast(FloatDType::F32)),
            None => vec![0.0; self.widths()[1]],
        }
    }

    /// From the gradient of the output, `[R, d_out]`: that of the input `x` `[R, d_in]`, and those of W and b. Only on the
    /// plain CPU path, and for a layer with a bias.
    pub fn backward(&self, x: Tensor<2>, g: Vec<f32>) -> (Tensor<2>, Vec<Vec<f32>>) {
        let weight = self.weight.val();
        let width = weight.dims()[1];
        let mut bias = vec![0.0; width];
        backward::bias(&g, &mut bias);
        let g = rows_like(g, width, &x);
        let of_weight = values(x.transpose().matmul(g.clone()));
        (g.matmul(weight.transpose()), vec![of_weight, bias])
    }
}
