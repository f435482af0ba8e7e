//! Dropout whose masks depend only on a given seed.
//!
//! Burn draws from one generator for the whole process, so the masks of two concurrent micro-batches depend on which runs
//! first. Here each thread draws from a generator that [`seeded`] sets for one forward pass. A run is then reproducible with
//! any number of threads, resumes with the same masks, and a repeated pass (GradCache) drops the same numbers.

use std::cell::RefCell;

use burn::module::Module;
use burn::tensor::{FloatDType, Tensor, TensorData};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

thread_local! {
    static GENERATOR: RefCell<Option<ChaCha8Rng>> = const { RefCell::new(None) };
}

/// Runs `work` with dropout on this thread drawing from `seed`.
pub fn seeded<T>(seed: u64, work: impl FnOnce() -> T) -> T {
    GENERATOR.with_borrow_mut(|generator| *generator = Some(ChaCha8Rng::seed_from_u64(seed)));
    let result = work();
    GENERATOR.with_borrow_mut(|generator| *generator = None);
    result
}

/// Zeroes a share of the numbers and scales the rest up. Does nothing outside [`seeded`]: inference never drops.
#[derive(Module, Debug)]
pub struct Dropout {
    /// Share of numbers that become zero.
    #[module(skip)]
    pub prob: f64,
}

impl Dropout {
    pub fn new(prob: f64) -> Self {
        Self { prob }
    }

    /// `x · mask`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let shape = x.dims();
        match self.draw(shape.iter().product()) {
            Some(mask) => {
                let mask: Tensor<D> = Tensor::from_data(TensorData::new(mask, shape), &x.device());
                let mask = mask.cast(FloatDType::from(x.dtype()));
                x * mask
            }
            None => x,
        }
    }

    /// The next mask: `1 / (1 − p)` for a number that is kept, else 0. `None` if nothing is dropped.
    pub fn draw(&self, numbers: usize) -> Option<Vec<f32>> {
        if self.prob <= 0.0 {
            return None;
        }
        GENERATOR.with_borrow_mut(|generator| generator.as_mut().map(|generator| mask(generator, numbers, self.prob)))
    }
}

/// 16 random bits a number.
fn mask(generator: &mut ChaCha8Rng, numbers: usize, p: f64) -> Vec<f32> {
    let (dropped_below, scale) = ((p * 65_536.0) as u16, (1.0 / (1.0 - p)) as f32);
    let mut bits = vec![0u8; 2 * numbers];
    generator.fill_bytes(&mut bits);
    let kept = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]) >= dropped_below;
    bits.chunks_exact(2).map(|pair| if kept(pair) { scale } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn dropped(seed: u64) -> Vec<f32> {
        let x = Tensor::<2>::ones([100, 100], &Device::flex());
        seeded(seed, || Dropout::new(0.3).forward(x)).into_data().try_into_vec().unwrap()
    }

    #[test]
    fn the_seed_decides_and_the_mean_stays() {
        let values = dropped(1);
        assert_eq!(values, dropped(1));
        assert_ne!(values, dropped(2));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        let outside: Vec<f32> =
            Dropout::new(0.3).forward(Tensor::<1>::ones([9], &Device::flex())).into_data().try_into_vec().unwrap();
        assert_eq!(outside, [1.0; 9]);
    }
}
