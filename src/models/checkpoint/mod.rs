//! The files of a model: what a folder holds, read and written.

pub mod built_in;
pub mod calibration;
pub mod compress;
pub mod config;
pub mod file_names;
pub mod folder;
pub mod folder_writer;
pub mod kind;
pub mod model_files;
pub mod named_tensors;
pub mod pooling_config;
pub mod quantised;
pub mod sentence_config;
pub mod tensor_file;
pub mod weights;
