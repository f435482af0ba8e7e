//! One file a command: its arguments and what it runs.

pub mod models_export;
