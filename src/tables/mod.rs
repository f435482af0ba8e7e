//! The tables between files and stages. Nothing outside this folder uses `arrow` or `parquet`.
//!
//! Questions come in through [`questions`]. Result files go out and come back in through [`records`], and stored values
//! through [`segment_file`].

pub mod columns;
pub mod comparison;
pub mod corpus;
pub mod delta;
pub mod embeddings;
pub mod format;
pub mod gold_file;
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
