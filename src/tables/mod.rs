//! The tables between files and stages. Nothing outside this folder uses `arrow` or `parquet`.
//!
//! Questions come in through `read_parquet` and `read_lines`, results go out through [`results`], and finished
//! pieces of long stages are kept by [`shards`].

pub mod columns;
pub mod ids;
pub mod pairs;
pub mod questions;
mod read_lines;
mod read_parquet;
pub mod results;
pub mod shards;
pub mod splits;
pub mod training_metrics;

pub mod write;
