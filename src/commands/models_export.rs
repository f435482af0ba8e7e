//! `mine models export --input MODEL --output DIR`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::device::DeviceChoice;
use crate::models::built_in;
use crate::models::export::export;
use crate::models::folder::ModelFolder;

/// What can be typed.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Model folder, or `built-in`
    #[arg(long, value_name = "DIR")]
    input: PathBuf,
    /// Folder to write; must not exist
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Writes the model as a sentence-transformers folder with f32 weights.
pub fn run(arguments: &ExportArgs) -> Result<()> {
    let folder = match arguments.input.to_str() {
        Some("built-in") => built_in::BI_ENCODER,
        _ => ModelFolder::open(&arguments.input)?,
    };
    let (device, _) = DeviceChoice::Cpu.open();
    export(&folder, &arguments.output, &device)
}
