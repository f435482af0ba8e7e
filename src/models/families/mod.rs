//! What sets the encoder families apart, one file per family. No other folder of `models/` is used here.

mod bert;
mod distilbert;
pub mod family;
pub mod known;
mod mpnet;
mod roberta;
