//! MPNet's relative attention bias (Song et al. 2020, arXiv:2004.09297), shared by all layers.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Int, Tensor, TensorData};

use crate::models::checkpoint::named_tensors::NamedTensors;
use crate::models::checkpoint::weights::Weights;

/// Buckets of distance: half for keys before the query, half for keys after it.
const BUCKETS: usize = 32;
/// Distances from here on share a bucket.
const MAX_DISTANCE: f32 = 128.0;
const TABLE: &str = "encoder.relative_attention_bias";

/// What every layer adds to the score of a query and a key, learnt for each bucket of their distance and each head.
#[derive(Module, Debug)]
pub struct RelativeBias {
    table: Embedding,
}

impl RelativeBias {
    /// Reads the table, `[buckets, heads]`.
    pub fn load(buckets: usize, heads: usize, weights: &Weights) -> Result<Self> {
        ensure!(
            buckets >= BUCKETS,
            "config.json: relative_attention_num_buckets is {buckets}, expected {BUCKETS} or more"
        );
        Ok(Self { table: weights.embedding(TABLE, buckets, heads)? })
    }

    /// Lists the table for writing.
    pub fn tensors(&self, out: &mut NamedTensors) {
        out.embedding(TABLE, &self.table);
    }

    /// Bias of every head and distance, `[N, 2T − 1]`; column `d + T − 1` is for a key `d` tokens after its query.
    pub fn forward(&self, tokens: usize) -> Tensor<2> {
        let furthest = tokens as i64 - 1;
        let buckets: Vec<i64> = (-furthest..=furthest).map(|distance| bucket(distance) as i64).collect();
        let device = self.table.weight.device();
        let buckets: Tensor<1, Int> = Tensor::from_data(TensorData::from(buckets.as_slice()), &device);
        self.table.weight.val().select(0, buckets).transpose()
    }
}

/// Bucket of a distance (key minus query): exact up to 7 tokens, then logarithmic (T5, arXiv:1910.10683). In f32 as
/// PyTorch computes it, since a rounding decides at the edges.
fn bucket(distance: i64) -> usize {
    let half = BUCKETS / 2;
    let exact = half / 2;
    let away = distance.unsigned_abs() as usize;
    let within = if away < exact {
        away
    } else {
        let ratio = (away as f32 / exact as f32).ln() / (MAX_DISTANCE / exact as f32).ln();
        (exact + (ratio * (half - exact) as f32) as usize).min(half - 1)
    };
    if distance > 0 { half + within } else { within }
}
