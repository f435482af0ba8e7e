//! Labelled pairs: split and sampled.

pub mod split;
pub mod stratified_draw;
