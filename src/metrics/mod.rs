//! How good the answers are: figures that compare scores and clusters with gold labels.
//!
//! Every function is pure, works in f64 and is free of models and tables: slices in, figures out. A figure that the
//! data leave undefined (no positive pair, one class only) is `None`, never 0; figures that count mistakes are perfect
//! if there is nothing to get wrong. The definitions are those of scikit-learn if it has one, or else those of
//! sentence-transformers' evaluators; `fixtures/reference/` holds their answers.
//!
//! - [`ranking`]: scored pairs against labels, with the [`pair_figures`] best F1, best accuracy, average precision, ROC AUC.
//! - [`precision_recall`]: the curve of weighted pairs.
//! - [`confusion`]: decisions at one threshold against labels.
//! - [`gold`]: the known duplicates of a corpus, closed transitively, and where mining lost them.
//! - [`retrieval`]: ranked candidates: nDCG, MRR, MAP, recall, precision at k.
//! - [`clusters`]: a clustering against the gold one: pairwise and B-cubed precision, recall, F1; adjusted Rand.
//! - [`calibration`]: probabilities against labels: expected calibration error, Brier score.
//! - [`bootstrap`]: intervals for all of them, over clusters of questions.
//! - [`stratified`]: precision and recall of a run from a labelled sample of its pairs.

pub mod bootstrap;
pub mod calibration;
pub mod clusters;
pub mod confusion;
pub mod gold;
pub mod pair_figures;
pub mod precision_recall;
pub mod ranking;
pub mod retrieval;
pub mod stratified;
