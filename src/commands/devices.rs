//! `mine devices`: what this build can compute on; `mine devices warm` prepares kernels.

use anyhow::Result;
use burn::tensor::Device;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::commands::device_args::DeviceArgs;
use crate::commands::output::{print_json, print_lines};
use crate::commands::terminal::table;
use crate::device::{DeviceChoice, DeviceKind, Devices, card_name, is_plain_cube, kernel_folder};
use crate::models::bi_encoder;
use crate::models::checkpoint::built_in;
use crate::models::cross_encoder;
use crate::models::hub;
use crate::models::network::precision::Precision;
use crate::progress::Progress;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mine devices
  mine devices warm --device cuda --precision bf16")]
#[command(args_conflicts_with_subcommands = true)]
pub struct DevicesArgs {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// Compile and tune a model's kernels for a GPU now, so that the next run starts at once
    Warm(WarmArgs),
}

#[derive(Debug, Args)]
pub struct WarmArgs {
    /// A bi-encoder: a folder, a hub name or `built-in`
    #[arg(long, value_name = "DIR|NAME", default_value = "built-in")]
    bi_encoder: String,
    /// A cross-encoder: a folder, a hub name, `built-in` or `none`
    #[arg(long, value_name = "DIR|NAME", default_value = "built-in")]
    cross_encoder: String,
    #[command(flatten)]
    devices: DeviceArgs,
    /// Show no progress; still show warnings and errors
    #[arg(long)]
    quiet: bool,
}

impl DevicesArgs {
    /// Whether progress is hidden.
    pub fn is_quiet(&self) -> bool {
        matches!(&self.command, Some(DevicesCommand::Warm(args)) if args.quiet)
    }
}

/// One device, or a kind of device that does not work here.
#[derive(Debug, Serialize)]
struct Row {
    /// What `--device` takes.
    device: String,
    name: String,
    precisions: Vec<&'static str>,
    /// Why it does not work; `None` if it does.
    error: Option<String>,
}

/// Lists devices, or prepares the kernels of one.
pub fn run(args: &DevicesArgs, progress: &Progress) -> Result<()> {
    if let Some(DevicesCommand::Warm(args)) = &args.command {
        return warm(args, progress);
    }
    let rows: Vec<Row> = [DeviceChoice::Cpu, DeviceChoice::CudaAll, DeviceChoice::Tch, DeviceChoice::TchCuda(0)]
        .into_iter()
        .flat_map(|choice| match choice.open(progress) {
            Ok(devices) => working(&devices),
            Err(error) => vec![absent(choice, &error.to_string())],
        })
        .collect();
    if args.json {
        let kernels = kernel_folder();
        return print_json(&serde_json::json!({ "devices": rows, "kernels": kernels }));
    }
    let cells = |row: Row| match row.error {
        None => vec![row.device, row.name, row.precisions.join(", ")],
        Some(why) => vec![row.device, why, String::new()],
    };
    print_lines(table(&["--device", "what it is", "--precision"], &[], rows.into_iter().map(cells).collect()))?;
    match kernel_folder() {
        Some(folder) => print_lines([String::new(), format!("kernels for GPUs are kept in {}", folder.display())]),
        None => Ok(()),
    }
}

fn working(devices: &Devices) -> Vec<Row> {
    let names = devices.name.split(' ');
    names.zip(&devices.list).map(|(name, device)| row(name, device, devices)).collect()
}

fn row(name: &str, device: &Device, devices: &Devices) -> Row {
    let precisions = [Precision::F32, Precision::Bf16, Precision::F16, Precision::Int8];
    let one = Devices::new(vec![device.clone()], devices.kind, name);
    let threads = || format!("processor, {} threads", rayon::current_num_threads());
    Row {
        device: name.into(),
        name: match devices.kind {
            DeviceKind::Gpu => card_name(device).unwrap_or_else(|| "card".into()),
            DeviceKind::Cpu => threads(),
            DeviceKind::Tch => format!("{} of libtorch", threads()),
        },
        precisions: precisions.iter().filter(|p| p.check(&one).is_ok()).map(|p| p.name()).collect(),
        error: None,
    }
}

fn absent(choice: DeviceChoice, why: &str) -> Row {
    let device = choice.to_string().split(':').next().unwrap_or_default().to_string();
    let why = why.strip_prefix(&format!("--device {choice}: ")).unwrap_or(why).to_string();
    Row { device, name: String::new(), precisions: Vec::new(), error: Some(why) }
}

fn warm(args: &WarmArgs, progress: &Progress) -> Result<()> {
    let (devices, precision) = args.devices.open(progress)?;
    if !devices.list.iter().all(is_plain_cube) {
        return print_lines([format!("{} needs no kernels", devices.name)]);
    }
    let folder = hub::open_or(&args.bi_encoder, built_in::BI_ENCODER, progress)?;
    bi_encoder::replicas(&folder, &devices, precision, progress)?;
    if args.cross_encoder != "none" {
        let folder = hub::open_or(&args.cross_encoder, built_in::CROSS_ENCODER, progress)?;
        cross_encoder::replicas(&folder, &devices, precision, progress)?;
    }
    print_lines([format!("{} is ready for {}", devices.name, precision.name())])
}
