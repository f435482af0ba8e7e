//! Labelled pairs: split, sampled, and made by rules.

pub mod perturb;
pub mod split;
pub mod stratified_draw;
