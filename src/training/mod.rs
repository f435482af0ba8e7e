//! Turning labelled pairs into better models.
//!
//! ```text
//! pairs ──dataset──► examples ──batches──► items, targets ──step──► gradients ──optimizer──► weights
//! ```
//!
//! [`session`] is one training from its options to the model's folder, [`trainer`] its loop: start there. [`step`] is one update, [`network`] what is updated.

pub mod batches;
pub mod checked;
pub mod checkpoint;
pub mod cosine_pairs;
pub mod curves;
pub mod data;
pub mod dataset;
pub mod evaluation;
pub mod gradients;
pub mod hard_negatives;
pub mod history;
pub mod incumbent;
pub mod interpolation;
pub mod loss_checks;
pub mod network;
pub mod optimizer;
pub mod options;
pub mod pass;
pub mod perturbed_pairs;
pub mod run_folder;
pub mod schedule;
pub mod session;
pub mod step;
pub mod teacher;
pub mod trainer;
