//! Labelled pairs: read, split, sampled and scored.

pub mod gold;
pub mod labelled_pairs;
pub mod score_pairs;
pub mod split;
pub mod stratified_draw;
