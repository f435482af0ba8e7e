//! The encoder for cards in a build without them: there is none.

use anyhow::Result;
use burn::tensor::{Int, Tensor};

use crate::models::network::encoder::Encoder;
use crate::models::network::packed_rows::PackedRows;

impl Encoder {
    /// The same encoder.
    pub(in crate::models::network) fn packed_on_a_card(self) -> Self {
        self
    }
}

/// Never made.
#[derive(Debug, Clone)]
pub enum PackedEncoder {}

impl PackedEncoder {
    pub fn forward(&self, _: &PackedRows) -> Tensor<2> {
        match *self {}
    }

    pub fn first_tokens(&self, _: &PackedRows) -> Tensor<2> {
        match *self {}
    }

    pub fn ints(&self, _: Vec<i32>) -> Tensor<1, Int> {
        match *self {}
    }

    pub fn weighted_sum(&self, _: Tensor<2>, _: Vec<f32>, _: Vec<i32>) -> Tensor<2> {
        match *self {}
    }

    pub fn maximum(&self, _: Tensor<2>, _: Vec<i32>) -> Tensor<2> {
        match *self {}
    }

    pub fn products(&self) -> Vec<[usize; 2]> {
        match *self {}
    }

    pub fn warm(&self, _: usize, _: impl FnMut() -> Result<()>) -> Result<()> {
        match *self {}
    }
}
