//! Labelled pairs: read, split, sampled and scored.

pub mod gold;
pub mod split;
pub mod stratified_draw;
