//! The tables between files and stages. Nothing outside this folder uses `arrow` or `parquet`.
//!
//! Questions come in through `read_parquet` and `read_lines`, results go out through [`results`] and back in
//! through [`read_results`], and finished pieces of long stages are kept by [`segment_file`].

pub mod columns;
pub mod comparison;
pub mod embeddings;
pub mod format;
pub mod id_index;
pub mod ids;
pub mod labelled_pairs;
pub mod question_rows;
pub mod questions;
mod read_lines;
mod read_parquet;
pub mod records;
pub mod sample_file;
pub mod segment_file;
pub mod split_files;
pub mod texts;
pub mod training_metrics;

pub mod write;
