//! What sets the encoder families apart, a file a family.

mod bert;
mod distilbert;
pub mod family;
pub mod mpnet;
mod roberta;
