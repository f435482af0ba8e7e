//! What training minimises: one loss a file, each with its formula, shapes, requirements and source.
//!
//! A loss is a plain function of the model's outputs and never sees the model: the trainer differentiates it with
//! respect to the outputs and carries that gradient back through the model a few rows at a time. [`cached_ranking`]
//! computes the model's activations a second time instead of keeping them (GradCache), for batches larger than memory.
//!
//! Shapes: B examples of the batch, C text columns of an example (two questions, then hard negatives), D width of a
//! vector. A bi-encoder's outputs are `[C·B, D]`, column after column; a cross-encoder's `[B, 1]` logits; a siamese
//! classifier's `[B, 2]` log-probabilities.
//!
//! | loss | outputs | examples need |
//! |---|---|---|
//! | [`cosine_similarity`] | vectors | labels 0 and 1, or a teacher's probabilities |
//! | [`cosent`] | vectors | labels 0 and 1, both kinds |
//! | [`contrastive`], [`online_contrastive`] | vectors | labels 0 and 1, both kinds |
//! | [`multiple_negatives_ranking`], [`cached_ranking`] | vectors | duplicates; hard negatives help; no two of a cluster in a batch |
//! | [`margin_mse`] | vectors | hard negatives and a teacher's margins |
//! | [`cosine_distillation`] | vectors | a teacher's vectors |
//! | [`binary_cross_entropy`] | logits | labels 0 and 1 |
//! | [`score_distillation`] | logits | a teacher's logits |
//! | [`negative_log_likelihood`] | log-probabilities | labels 0 and 1 |
//!
//! [`mix`] is any weighted sum of losses over the same outputs.

pub mod binary_cross_entropy;
pub mod cached_ranking;
mod columns;
pub mod contrastive;
pub mod cosent;
pub mod cosine_distillation;
pub mod cosine_similarity;
pub mod margin_mse;
pub mod mix;
pub mod multiple_negatives_ranking;
pub mod negative_log_likelihood;
pub mod online_contrastive;
pub mod score_distillation;
mod similarity;
pub mod targets;
