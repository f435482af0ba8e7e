//! A finished run as a typed thing.

pub mod manifest;
pub mod reader;
pub mod rescoring;
