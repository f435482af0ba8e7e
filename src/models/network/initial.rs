//! Layers that are not read but begun, from a seeded generator: the same seed, the same layer on every device.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// A linear layer with weights uniform within `bound` and biases within `bias_bound`.
pub fn linear(
    [d_in, d_out]: [usize; 2],
    bound: f32,
    bias_bound: f32,
    random: &mut ChaCha8Rng,
    device: &Device,
) -> Linear {
    let mut draw = |count: usize, bound: f32| -> Vec<f32> {
        (0..count).map(|_| (2.0 * random.random::<f32>() - 1.0) * bound).collect()
    };
    let (weight, bias) = (draw(d_in * d_out, bound), draw(d_out, bias_bound));
    Linear {
        weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, [d_in, d_out]), device)),
        bias: Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias, [d_out]), device))),
    }
}
