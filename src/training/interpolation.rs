//! The weights between a model and its fine-tuned successor.
//!
//! `w = s · start + (1 − s) · trained`, for every parameter. A share of the start keeps much of what it knew of other texts,
//! and costs little of what training added (WiSE-FT, Wortsman et al. 2022, arXiv:2109.01903).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// `trained` with `share` of the weights of `start`, a module of the same shape.
pub fn interpolate<M: Module>(start: &M, trained: M, share: f64) -> M {
    let mut weights = Weights(Vec::new());
    start.visit(&mut weights);
    trained.map(&mut Mixer { start: weights.0.into_iter(), share })
}

/// Every parameter in the order of the module, flat.
struct Weights(Vec<Tensor<1>>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let count = tensor.shape().num_elements();
        self.0.push(tensor.reshape([count]));
    }
}

struct Mixer {
    start: std::vec::IntoIter<Tensor<1>>,
    share: f64,
}

impl ModuleMapper for Mixer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(start) = self.start.next() else { return param };
        let share = self.share;
        param.map(|trained| {
            let start = start.reshape(trained.dims());
            // equal weights stay equal in every bit: models from one start share a frozen token table
            trained.clone() + (start - trained) * share
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn weights_lie_between_start_and_trained() {
        let device = Device::flex();
        let layer = |value: f64| -> Linear {
            let layer = LinearConfig::new(2, 3).init(&device);
            let filled = |tensor: Tensor<2>| tensor * 0.0 + value;
            Linear {
                weight: layer.weight.map(filled),
                bias: layer.bias.map(|bias| bias.map(|b| b * 0.0 + 2.0 * value)),
            }
        };
        let values = |layer: &Linear| -> (Vec<f32>, Vec<f32>) {
            let bias = layer.bias.as_ref().unwrap().val();
            (layer.weight.val().into_data().try_into_vec().unwrap(), bias.into_data().try_into_vec().unwrap())
        };
        let (start, trained) = (layer(1.0), layer(5.0));
        assert_eq!(values(&interpolate(&start, trained.clone(), 0.25)), (vec![4.0; 6], vec![8.0; 3]));
        assert_eq!(values(&interpolate(&start, trained, 0.0)), (vec![5.0; 6], vec![10.0; 3]));
        let odd = layer(0.1);
        assert_eq!(values(&interpolate(&odd, odd.clone(), 0.3)), values(&odd));
    }
}
