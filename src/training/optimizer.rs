//! AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) as torch computes it, in one pass over memory.
//!
//! With gradient g: `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `p ← p (1 − η λ) − η / (1 − β₁ᵗ) · m /
//! (√v / √(1 − β₂ᵗ) + ε)`. The decay λ is for matrices alone: biases and norms, which are vectors, have none.
//!
//! Burn's own AdamW makes a pass and a buffer for each operation of the formula: on the 22 million parameters of
//! MiniLM that is a third of a training step. A table of which a batch uses few rows comes with the gradient of those
//! rows; the others' moments and weights go on as with a gradient of zero, so that nothing differs from torch.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::training::gradients::Gradient;

/// Constants of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// First and second moment of one parameter; empty until it has had a gradient.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Moments {
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

/// The optimiser's state: moments in the order in which the module visits its parameters, and finished updates.
pub struct AdamW {
    pub config: AdamWConfig,
    pub moments: Vec<Moments>,
    pub updates: u64,
}

impl AdamW {
    pub fn new(config: AdamWConfig) -> Self {
        Self { config, moments: Vec::new(), updates: 0 }
    }

    /// The module after one update at learning rate `rate`. Parameters without a gradient stay as they are.
    pub fn update<M: Module>(&mut self, module: M, gradients: &[Gradient], rate: f64) -> M {
        self.updates += 1;
        self.moments.resize(gradients.len(), Moments::default());
        let step = Step::new(&self.config, self.updates, rate);
        module.map(&mut Update {
            step,
            decay: self.config.weight_decay,
            rate,
            moments: &mut self.moments,
            gradients,
            next: 0,
        })
    }
}

/// What one update does to every number.
#[derive(Clone, Copy)]
struct Step {
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
    /// `η / (1 − β₁ᵗ)`
    size: f32,
    /// `1 / √(1 − β₂ᵗ)`
    second_scale: f32,
}

impl Step {
    fn new(config: &AdamWConfig, updates: u64, rate: f64) -> Self {
        let updates = updates as i32;
        Self {
            // 1 − β rounded once, as torch has it: 1 − 0.999 in f32 alone is off in the fifth digit
            one_minus_beta1: (1.0 - config.beta1) as f32,
            beta2: config.beta2 as f32,
            one_minus_beta2: (1.0 - config.beta2) as f32,
            epsilon: config.epsilon as f32,
            size: (rate / (1.0 - config.beta1.powi(updates))) as f32,
            second_scale: (1.0 / (1.0 - config.beta2.powi(updates)).sqrt()) as f32,
        }
    }

    /// `gradient` empty stands for zeros.
    fn apply(self, weights: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32], keep: f32) {
        let one = |p: &mut f32, m: &mut f32, v: &mut f32, g: f32| {
            *m += (g - *m) * self.one_minus_beta1;
            *v = *v * self.beta2 + g * g * self.one_minus_beta2;
            *p = *p * keep - self.size * *m / (v.sqrt() * self.second_scale + self.epsilon);
        };
        let moments = first.iter_mut().zip(second);
        if gradient.is_empty() {
            weights.iter_mut().zip(moments).for_each(|(p, (m, v))| one(p, m, v, 0.0));
        } else {
            weights.iter_mut().zip(moments).zip(gradient).for_each(|((p, (m, v)), &g)| one(p, m, v, g));
        }
    }
}

struct Update<'a> {
    step: Step,
    decay: f64,
    rate: f64,
    moments: &'a mut [Moments],
    gradients: &'a [Gradient],
    next: usize,
}

/// Numbers a task works on: enough to be worth a task, few enough to share a parameter among all cores.
const CHUNK: usize = 1 << 16;

impl ModuleMapper for Update<'_> {
    #[expect(clippy::expect_used, reason = "weights are trained in f32")]
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (moments, gradient) = (&mut self.moments[self.next], &self.gradients[self.next]);
        self.next += 1;
        if matches!(gradient, Gradient::None) {
            return param;
        }
        let keep = if D > 1 { (1.0 - self.rate * self.decay) as f32 } else { 1.0 };
        let step = self.step;
        param.map(|tensor| {
            let (device, shape) = (tensor.device(), tensor.dims());
            let mut weights: Vec<f32> = tensor.into_data().try_into_vec().expect("weights are trained in f32");
            moments.first.resize(weights.len(), 0.0);
            moments.second.resize(weights.len(), 0.0);
            let width = shape[D - 1].max(1);
            let chunk = if matches!(gradient, Gradient::Rows { .. }) { width } else { CHUNK };
            let of_chunk = |at: usize| match gradient {
                Gradient::None => [].as_slice(),
                Gradient::Dense(values) => &values[at * chunk..values.len().min((at + 1) * chunk)],
                Gradient::Rows { rows, values } => match rows.binary_search(&(at as u32)) {
                    Ok(found) => &values[found * width..(found + 1) * width],
                    Err(_) => &[],
                },
            };
            weights
                .par_chunks_mut(chunk)
                .zip(moments.first.par_chunks_mut(chunk).zip(moments.second.par_chunks_mut(chunk)))
                .with_min_len(CHUNK.div_ceil(chunk))
                .enumerate()
                .for_each(|(at, (weights, (first, second)))| step.apply(weights, first, second, of_chunk(at), keep));
            Tensor::from_data(TensorData::new(weights, shape), &device)
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    fn linear() -> Linear {
        let device = Device::flex();
        let mut linear = LinearConfig::new(2, 3).init(&device);
        linear.weight = Param::from_tensor(Tensor::from_data([[0.5f32, -0.25, 1.0], [0.1, 2.0, -1.0]], &device));
        linear.bias = Some(Param::from_tensor(Tensor::from_data([0.0f32, 0.5, -0.5], &device)));
        linear
    }

    fn values(linear: &Linear) -> Vec<f32> {
        let bias = linear.bias.as_ref().unwrap().val();
        linear.weight.val().into_data().iter::<f32>().chain(bias.into_data().iter::<f32>()).collect()
    }

    /// torch 2.15, AdamW(lr=0.1, weight_decay=0.1, eps=1e-8), bias without decay, three steps of these gradients.
    #[test]
    fn equals_torch() {
        let mut adam = AdamW::new(AdamWConfig { weight_decay: 0.1, ..Default::default() });
        let mut model = linear();
        for step in 1..=3 {
            let g = |values: &[f32]| Gradient::Dense(values.iter().map(|v| v * step as f32 - 0.3).collect());
            let gradients = [g(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), g(&[0.1, 0.0, 0.2])];
            model = adam.update(model, &gradients, 0.1);
        }
        let torch = [0.747503f32, -0.2092997, 0.8137723, -0.1746083, 1.6628587, -1.2510742, 0.2652757, 0.8, -0.4647876];
        for (ours, theirs) in values(&model).iter().zip(torch) {
            assert!((ours - theirs).abs() < 1e-6, "{:?} is not {torch:?}", values(&model));
        }
    }

    #[test]
    fn rows_equal_the_dense_gradient_they_stand_for() {
        let none = || Gradient::None;
        let (mut dense, mut rows) = (linear(), linear());
        let (mut with_dense, mut with_rows) = (AdamW::new(AdamWConfig::default()), AdamW::new(AdamWConfig::default()));
        for step in 0..4 {
            let row = (step % 2) as usize;
            let mut all = vec![0.0; 6];
            all[3 * row..3 * row + 3].copy_from_slice(&[0.3, -0.2, 0.1]);
            dense = with_dense.update(dense, &[Gradient::Dense(all), none()], 0.01);
            let some = Gradient::Rows { rows: vec![row as u32], values: vec![0.3, -0.2, 0.1] };
            rows = with_rows.update(rows, &[some, none()], 0.01);
        }
        assert_eq!(values(&dense), values(&rows));
        assert_eq!(values(&dense)[6..], values(&linear())[6..], "a parameter without a gradient stays");
    }
}
