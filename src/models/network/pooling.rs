//! From hidden states of tokens to one vector per text (sentence-transformers' `Pooling`).

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::models::checkpoint::pooling_config::{PoolingConfig, PoolingMode};
use crate::models::network::token_batch::TokenBatch;

/// `[R, H]` hidden states to `[B, modes · H]`. The first `prompt_tokens` of every row are those of the prompt.
pub fn pool(config: &PoolingConfig, hidden: Tensor<2>, batch: &TokenBatch, prompt_tokens: usize) -> Tensor<2> {
    let first = if config.include_prompt { 0 } else { prompt_tokens };
    let rows = Rows { batch, first, device: hidden.device() };
    let mut pooled: Vec<Tensor<2>> = config.modes.iter().map(|&mode| rows.pool(mode, hidden.clone())).collect();
    match (pooled.pop(), pooled.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Tensor::cat(pooled.into_iter().chain(last).collect(), 1),
    }
}

/// The tokens of a batch that count: of every row those from `first` to its length.
struct Rows<'a> {
    batch: &'a TokenBatch,
    first: usize,
    device: Device,
}

impl Rows<'_> {
    fn pool(&self, mode: PoolingMode, hidden: Tensor<2>) -> Tensor<2> {
        match mode {
            // a row that holds only the prompt gives its first token, as in Python
            PoolingMode::Cls => self.token(hidden, |length| if self.first < length { self.first } else { 0 }),
            PoolingMode::LastToken => self.token(hidden, |length| length.saturating_sub(1)),
            PoolingMode::Max => self.max(hidden),
            PoolingMode::Mean => self.weighted(hidden, |_, count| 1.0 / count),
            PoolingMode::MeanSqrtLen => self.weighted(hidden, |_, count| 1.0 / count.sqrt()),
            PoolingMode::WeightedMean => {
                let (first, last) = (self.first as f32, |count: f32| self.first as f32 + count);
                // the sum of first + 1 ..= last
                self.weighted(hidden, move |token, count| {
                    (token + 1) as f32 / ((first + 1.0 + last(count)) * count / 2.0)
                })
            }
        }
    }

    /// One token of every row, by the row's length.
    fn token(&self, hidden: Tensor<2>, of: impl Fn(usize) -> usize) -> Tensor<2> {
        let [rows, tokens] = self.batch.dims();
        let at = self.batch.lengths().iter().enumerate().map(|(row, &length)| (row * tokens + of(length)) as i32);
        let at: Tensor<1, Int> = Tensor::from_data(TensorData::new(at.collect::<Vec<_>>(), [rows]), &self.device);
        hidden.select(0, at)
    }

    /// Sum of every row's tokens with the weight of each, from its position and the number that count.
    fn weighted(&self, hidden: Tensor<2>, weight: impl Fn(usize, f32) -> f32) -> Tensor<2> {
        let ([rows, tokens], [_, width]) = (self.batch.dims(), hidden.dims());
        let mut weights = vec![0.0f32; rows * tokens];
        for (row, &length) in weights.chunks_exact_mut(tokens.max(1)).zip(self.batch.lengths()) {
            let count = length.saturating_sub(self.first) as f32;
            for (token, value) in row.iter_mut().enumerate().take(length).skip(self.first) {
                *value = weight(token, count);
            }
        }
        let weights: Tensor<3> = Tensor::from_data(TensorData::new(weights, [rows, 1, tokens]), &self.device);
        weights.matmul(hidden.reshape([rows, tokens, width])).reshape([rows, width])
    }

    /// Largest value of every component over the tokens that count; there is one, the separator at the end.
    fn max(&self, hidden: Tensor<2>) -> Tensor<2> {
        let ([rows, tokens], [_, width]) = (self.batch.dims(), hidden.dims());
        let hidden: Tensor<3> = hidden.reshape([rows, tokens, width]);
        let counts = |length: usize, token: usize| (self.first..length).contains(&token);
        let left_out: Vec<bool> = (self.batch.lengths().iter())
            .flat_map(|&length| (0..tokens).map(move |token| !counts(length, token)))
            .collect();
        let left_out: Tensor<3, Bool> = Tensor::from_data(TensorData::new(left_out, [rows, tokens, 1]), &self.device);
        hidden.mask_fill(left_out.expand([rows, tokens, width]), f32::MIN).max_dim(1).reshape([rows, width])
    }
}
