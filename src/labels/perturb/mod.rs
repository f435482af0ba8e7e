//! Pairs made by rules: a question and an edit of it whose label is known.
//!
//! A cosine hardly notices swapped arguments, another number or a negation, and labelled pairs contain few of them. These
//! pairs teach a cross-encoder to read, and test whether it does: [`rules`] is the table, half of it edits that keep the
//! meaning, so that a small difference says nothing by itself. Rules marked as held out never train a model; `mine perturb
//! --held-out` makes the test from them. The rules are for English.
//!
//! Behavioural tests: Ribeiro et al. 2020 (CheckList, arXiv:2005.04118). Contrast sets: Gardner et al. 2020
//! (arXiv:2004.02709). Swapped words: Zhang et al. 2019 (PAWS, arXiv:1904.01130).

pub mod draw;
mod edit;
pub mod rules;
mod words;
