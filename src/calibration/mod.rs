//! From scores to probabilities that mean what they say.
//!
//! A cross-encoder ranks pairs well, but of the pairs to which its sigmoid gives 0.9 perhaps only 7 in 10 are
//! duplicates. A [`Calibrator`], fitted on labelled pairs, corrects that without changing the ranking:
//!
//! | method | map of a score z | parameters | suits |
//! |---|---|---|---|
//! | [`temperature`] | σ(z / T) | 1 | log-odds that are too sure, or not sure enough |
//! | [`platt`] | σ(a z + b) | 2 | any scores; little data |
//! | [`isotonic`] | straight lines between points, never falling | as many as the data need | any scores; much data |
//!
//! [`choose`] fits every method that applies and takes the simplest of those that do best on pairs they were not fitted
//! on. [`target`] finds the threshold for a requested precision or recall, [`expected_f1`] the one with the
//! best expected F1. [`decision`] adds a cosine to a cross-encoder's score; [`by_cosine`] stands for scores that are not there.
//! [`profile`] tells whether a calibration fits a corpus. Nothing here knows models or files.

pub mod by_cosine;
mod calibrator;
pub mod choose;
pub mod decision;
pub mod expected_f1;
pub mod fitted;
pub mod gain;
pub mod isotonic;
mod piecewise;
pub mod platt;
pub mod profile;
pub mod target;
pub mod temperature;

pub use calibrator::{Calibrator, sigmoid};
