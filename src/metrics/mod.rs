//! How good the answers are: figures that compare scores and clusters with gold labels.
//!
//! Every function is pure, works in f64 and is free of models and tables: slices in, figures out. A figure that the
//! data leave undefined (no positive pair, one class only) is `None`, never a made-up 0; figures that count
//! mistakes are perfect where there is nothing to get wrong. The definitions are those of scikit-learn wherever it has
//! one, and `fixtures/reference/metrics.json` holds its answers.
//!
//! - [`clusters`]: a clustering against the gold one: pairwise and B-cubed precision, recall, F1; adjusted Rand.
//! - [`pairs`]: scored pairs against labels: best F1, best accuracy, average precision, ROC AUC.

pub mod clusters;
pub mod pairs;
