//! From hidden states of tokens to one vector per text (sentence-transformers' `Pooling`).

use burn::tensor::{Bool, FloatDType, Int, Tensor, TensorData};

use crate::models::checkpoint::pooling_config::{PoolingConfig, PoolingMode};
use crate::models::network::packed_encoder::PackedEncoder;
use crate::models::network::packed_rows::PackedRows;
use crate::models::network::token_batch::TokenBatch;

/// Hidden states of the tokens of texts, and the ways to make one vector, `[B, H]`, of those that count: from token `first` to
/// the end of a text.
pub trait TokenStates {
    /// One token of every text, by the number of its tokens.
    fn token(&self, of: &dyn Fn(usize) -> usize) -> Tensor<2>;

    /// Sum of every text's tokens with the weight of each, from its place and the number of tokens that count.
    fn weighted(&self, first: usize, weight: &dyn Fn(usize, f32) -> f32) -> Tensor<2>;

    /// Largest value of every component over the tokens that count; there is one, the separator at the end.
    fn max(&self, first: usize) -> Tensor<2>;
}

/// Hidden states to `[B, modes · H]`. The first `prompt_tokens` of every text are those of the prompt.
pub fn pool(config: &PoolingConfig, states: &impl TokenStates, prompt_tokens: usize) -> Tensor<2> {
    let first = if config.include_prompt { 0 } else { prompt_tokens };
    let mut pooled: Vec<Tensor<2>> = config.modes.iter().map(|&mode| pool_by(mode, states, first)).collect();
    match (pooled.pop(), pooled.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Tensor::cat(pooled.into_iter().chain(last).collect(), 1),
    }
}

fn pool_by(mode: PoolingMode, states: &impl TokenStates, first: usize) -> Tensor<2> {
    match mode {
        // a row that holds only the prompt gives its first token, as in Python
        PoolingMode::Cls => states.token(&|length| if first < length { first } else { 0 }),
        PoolingMode::LastToken => states.token(&|length| length.saturating_sub(1)),
        PoolingMode::Max => states.max(first),
        PoolingMode::Mean => states.weighted(first, &|_, count| 1.0 / count),
        PoolingMode::MeanSqrtLen => states.weighted(first, &|_, count| 1.0 / count.sqrt()),
        PoolingMode::WeightedMean => {
            let (before, last) = (first as f32, |count: f32| first as f32 + count);
            // the sum of first + 1 ..= last
            states.weighted(first, &|token, count| (token + 1) as f32 / ((before + 1.0 + last(count)) * count / 2.0))
        }
    }
}

/// Hidden states in f32 of a padded batch, `[R, H]`.
pub struct PaddedStates<'a> {
    pub hidden: Tensor<2>,
    pub batch: &'a TokenBatch,
}

impl TokenStates for PaddedStates<'_> {
    fn token(&self, of: &dyn Fn(usize) -> usize) -> Tensor<2> {
        let [rows, tokens] = self.batch.dims();
        let at = self.batch.lengths().iter().enumerate().map(|(row, &length)| (row * tokens + of(length)) as i32);
        let at = TensorData::new(at.collect::<Vec<_>>(), [rows]);
        let at: Tensor<1, Int> = Tensor::from_data(at, &self.hidden.device());
        self.hidden.clone().select(0, at)
    }

    fn weighted(&self, first: usize, weight: &dyn Fn(usize, f32) -> f32) -> Tensor<2> {
        let ([rows, tokens], [_, width]) = (self.batch.dims(), self.hidden.dims());
        let mut weights = vec![0.0f32; rows * tokens];
        for (row, &length) in weights.chunks_exact_mut(tokens.max(1)).zip(self.batch.lengths()) {
            let count = length.saturating_sub(first) as f32;
            for (token, value) in row.iter_mut().enumerate().take(length).skip(first) {
                *value = weight(token, count);
            }
        }
        let weights = TensorData::new(weights, [rows, 1, tokens]);
        let weights: Tensor<3> = Tensor::from_data(weights, &self.hidden.device());
        weights.matmul(self.hidden.clone().reshape([rows, tokens, width])).reshape([rows, width])
    }

    fn max(&self, first: usize) -> Tensor<2> {
        let ([rows, tokens], [_, width]) = (self.batch.dims(), self.hidden.dims());
        let hidden: Tensor<3> = self.hidden.clone().reshape([rows, tokens, width]);
        let counts = |length: usize, token: usize| (first..length).contains(&token);
        let left_out: Vec<bool> = (self.batch.lengths().iter())
            .flat_map(|&length| (0..tokens).map(move |token| !counts(length, token)))
            .collect();
        let left_out = TensorData::new(left_out, [rows, tokens, 1]);
        let left_out: Tensor<3, Bool> = Tensor::from_data(left_out, &self.hidden.device());
        hidden.mask_fill(left_out.expand([rows, tokens, width]), f32::MIN).max_dim(1).reshape([rows, width])
    }
}

/// Hidden states of packed rows, `[R, H]`, in the format of the encoder. B is the number of slots.
pub struct PackedStates<'a> {
    pub hidden: Tensor<2>,
    pub rows: &'a PackedRows,
    pub encoder: &'a PackedEncoder,
}

impl TokenStates for PackedStates<'_> {
    fn token(&self, of: &dyn Fn(usize) -> usize) -> Tensor<2> {
        let at = self.encoder.ints(self.rows.token_of_slots(of));
        self.hidden.clone().select(0, at).cast(FloatDType::F32)
    }

    fn weighted(&self, first: usize, weight: &dyn Fn(usize, f32) -> f32) -> Tensor<2> {
        let weights = self.rows.weights(first, weight);
        self.encoder.weighted_sum(self.hidden.clone(), weights, self.rows.spans(first))
    }

    fn max(&self, first: usize) -> Tensor<2> {
        self.encoder.maximum(self.hidden.clone(), self.rows.spans(first))
    }
}
