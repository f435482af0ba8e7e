//! The tables between files and stages. Nothing outside this folder uses `arrow` or `parquet`.
//!
//! Questions come in through [`questions`]. Result files go out and come back in through [`records`], and stored values
//! through [`segment_file`].

pub mod columns;
pub mod comparison;
pub mod corpus;
pub mod delta;
pub mod embeddings;
pub mod encoding;
pub mod format;
pub mod gold_file;
pub mod id_index;
pub mod ids;
pub mod labelled_pairs;
pub mod perturbed_file;
pub mod question_rows;
pub mod questions;
pub mod ranking_values;
mod read_csv;
mod read_json;
mod read_parquet;
pub mod records;
pub mod sample_file;
pub mod segment_file;
pub mod source;
pub mod split_files;
mod text_column;
pub mod texts;
pub mod training_metrics;
pub mod write;
