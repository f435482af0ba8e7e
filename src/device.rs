//! Where tensors live.

mod backend;
#[cfg(feature = "cubecl")]
mod kernel_cache;

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use crate::error::{quietly, usage};
use crate::option_file::as_text;
use crate::progress::Progress;

/// The device that `--device` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best that works on this machine.
    Auto,
    /// Pure Rust on the processor.
    Cpu,
    /// One NVIDIA card through CUDA.
    Cuda(usize),
    /// Every NVIDIA card.
    CudaAll,
    /// libtorch on the processor.
    Tch,
    /// libtorch on one NVIDIA card.
    TchCuda(usize),
    /// The kernels for cards on the processor: for the development of this program.
    CubeclCpu,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, card) = text.split_once(':').unwrap_or((text, "0"));
        match (name, card, card.parse()) {
            ("auto", ..) if text == "auto" => Ok(Self::Auto),
            ("cpu", ..) if text == "cpu" => Ok(Self::Cpu),
            ("tch", ..) if text == "tch" => Ok(Self::Tch),
            ("cubecl-cpu", ..) if text == "cubecl-cpu" => Ok(Self::CubeclCpu),
            ("cuda", "all", _) => Ok(Self::CudaAll),
            ("cuda", _, Ok(card)) => Ok(Self::Cuda(card)),
            ("tch-cuda", _, Ok(card)) => Ok(Self::TchCuda(card)),
            _ => Err(format!(
                "{text:?} is no device, expected auto, cpu, cuda, cuda:N, cuda:all, tch, tch-cuda or tch-cuda:N"
            )),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(card) => write!(f, "cuda:{card}"),
            Self::CudaAll => f.write_str("cuda:all"),
            Self::Tch => f.write_str("tch"),
            Self::TchCuda(card) => write!(f, "tch-cuda:{card}"),
            Self::CubeclCpu => f.write_str("cubecl-cpu"),
        }
    }
}

as_text!(DeviceChoice);

/// Kinds of device. `executor/tuning.rs` says which batches suit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Burn's own backend on the processor.
    Cpu,
    /// libtorch on the processor. Each worker has one libtorch thread.
    Tch,
    /// A card.
    Gpu,
}

impl DeviceChoice {
    /// The kind of the devices that [`DeviceChoice::open`] opens.
    pub fn kind(self) -> DeviceKind {
        match self {
            Self::Cpu => DeviceKind::Cpu,
            Self::Tch => DeviceKind::Tch,
            Self::Cuda(_) | Self::CudaAll | Self::TchCuda(_) | Self::CubeclCpu => DeviceKind::Gpu,
            Self::Auto => best().0.kind,
        }
    }
}

/// Opened devices of one kind; each takes a copy of the model and a share of the batches.
#[derive(Debug, Clone)]
pub struct Devices {
    /// At least one.
    pub list: Vec<Device>,
    pub kind: DeviceKind,
    /// `--batch-tokens`: most tokens of a batch, if the user gave it. The executor decides otherwise.
    pub batch_tokens: Option<usize>,
    /// For logs and the manifest.
    pub name: String,
}

impl DeviceChoice {
    /// Opens what was chosen and tries it with a small product. What is not in this build or does not work on this
    /// machine is an error that says what would make it work; `auto` tries the next best and says which it took.
    pub fn open(self, progress: &Progress) -> Result<Devices> {
        let devices = match self {
            Self::Auto => Ok(auto(progress)),
            Self::Cpu => Ok(cpu()),
            Self::Cuda(card) => cards("cuda", backend::cuda(), &[card]),
            Self::CudaAll => all_cards(),
            Self::Tch => tch(),
            Self::TchCuda(card) => cards("tch-cuda", backend::tch_cuda(), &[card]),
            Self::CubeclCpu => cubecl_cpu(),
        };
        let devices = devices.map_err(|why| usage(format!("--device {self}: {why}")))?;
        // without a choice there is nothing to say
        if self == Self::Auto && backend::gpus().iter().any(|(_, gpu)| gpu.is_ok()) {
            progress.say(&format!("device {}", devices.name));
        }
        Ok(devices)
    }
}

impl Devices {
    /// Devices of one kind.
    pub fn new(list: Vec<Device>, kind: DeviceKind, name: impl Into<String>) -> Self {
        Self { list, kind, batch_tokens: None, name: name.into() }
    }

    /// The device that compares vectors: a GPU, else the plain processor.
    pub fn for_search(&self) -> Device {
        match self.kind {
            DeviceKind::Gpu => self.list[0].clone(),
            DeviceKind::Cpu | DeviceKind::Tch => plain_cpu(),
        }
    }
}

/// The processor through Burn's own backend: always there.
fn cpu() -> Devices {
    Devices::new(vec![plain_cpu()], DeviceKind::Cpu, "cpu")
}

/// The processor without autodiff, where the fused loops of this program run.
pub fn plain_cpu() -> Device {
    Device::flex()
}

/// Whether `device` is the processor without autodiff, where tensors are plain f32 buffers that loops may work on.
pub fn is_plain_cpu(device: &Device) -> bool {
    !device.is_autodiff() && *device == Device::flex()
}

/// Whether `device` is libtorch on the processor, without autodiff: its own fused attention and layer norm sum in f32
/// whatever the format of their input, and cost half of what separate steps do.
pub fn is_plain_tch(device: &Device) -> bool {
    !device.is_autodiff() && backend::is_tch(device)
}

/// Whether `device` is one that CubeCL drives, without autodiff: there an encoder packs its rows.
pub fn is_plain_cube(device: &Device) -> bool {
    !device.is_autodiff() && backend::is_cube(device)
}

/// Whether kernels are tuned for each shape on `device`, with autodiff or without: there shapes should be few.
pub fn tunes_shapes(device: &Device) -> bool {
    backend::is_cube(&device.clone().inner())
}

/// What its maker calls a card.
pub fn card_name(device: &Device) -> Option<String> {
    backend::card_name(device)
}

/// How many choices of kernels for cards are kept.
pub fn kernel_choices() -> u64 {
    backend::kernel_choices()
}

/// Where kernels of cards are kept, in a build that has any.
pub fn kernel_folder() -> Option<PathBuf> {
    backend::kernel_folder()
}

/// A backend of this build, and how one of its devices is made; `Err` names the Cargo feature that is missing.
type Backend = Result<fn(usize) -> Device, &'static str>;

/// The first card that works, else the processor. Warns if this build could use a card and does not, because the run will
/// take hours instead of minutes.
fn auto(progress: &Progress) -> Devices {
    let (devices, reasons) = best();
    if !reasons.is_empty() {
        progress.warn(format!("no GPU is used ({}); --device cpu asks for none", reasons.join("; ")));
    }
    devices
}

/// The first card that works, else the processor, and why cards that this build could use do not work.
fn best() -> (Devices, Vec<String>) {
    let mut reasons = Vec::new();
    for (name, gpu) in backend::gpus() {
        let counted = if name == "cuda" { count_cards().map(drop) } else { Ok(()) };
        match counted.and_then(|()| cards(name, gpu, &[0])) {
            Ok(devices) => return (devices, Vec::new()),
            Err(why) if gpu.is_ok() => reasons.push(format!("{name}: {why}")),
            Err(_) => {}
        }
    }
    (cpu(), reasons)
}

fn tch() -> Result<Devices, String> {
    let open = backend::tch().map_err(not_built)?;
    let device = tried(open, 0)?;
    Ok(Devices::new(vec![device], DeviceKind::Tch, "tch"))
}

fn cubecl_cpu() -> Result<Devices, String> {
    let device = tried(backend::cubecl_cpu().map_err(not_built)?, 0)?;
    Ok(Devices::new(vec![device], DeviceKind::Gpu, "cubecl-cpu"))
}

fn cards(name: &str, backend: Backend, numbers: &[usize]) -> Result<Devices, String> {
    let open = backend.map_err(not_built)?;
    let try_one = |&card: &usize| {
        tried(open, card).map_err(|why| {
            format!(
                "card {card} does not answer ({why}). It needs an NVIDIA driver (nvidia-smi must list the card) and what \
                 docs/devices.md names: for cuda a CUDA toolkit with nvvm/libdevice in CUDA_PATH or /usr/local/cuda, for \
                 tch-cuda libtorch on LD_LIBRARY_PATH"
            )
        })
    };
    let list = numbers.iter().map(try_one).collect::<Result<_, _>>()?;
    let names: Vec<String> = numbers.iter().map(|card| format!("{name}:{card}")).collect();
    Ok(Devices::new(list, DeviceKind::Gpu, names.join(" ")))
}

fn all_cards() -> Result<Devices, String> {
    cards("cuda", backend::cuda(), &(0..count_cards()?).collect::<Vec<_>>())
}

fn count_cards() -> Result<usize, String> {
    match backend::cuda().map_err(not_built).and_then(|_| quietly(backend::cuda_cards))? {
        0 => Err("no NVIDIA card on this machine, or no driver (nvidia-smi must list it)".into()),
        count => Ok(count),
    }
}

fn not_built(feature: &str) -> String {
    format!("`mine` was built without {feature}; build it with: cargo install --path . --features {feature}")
}

/// Opens a device and computes on it, so that a missing library shows here and not in the middle of a run: on a card, exp is
/// compiled with a library of the CUDA toolkit. It is not tuned, as a product would be.
fn tried(open: fn(usize) -> Device, card: usize) -> Result<Device, String> {
    let sum = quietly(move || {
        let device = open(card);
        let zeros = Tensor::<1>::zeros([1], &device);
        (zeros.exp().into_data().iter::<f32>().sum::<f32>(), device)
    });
    match sum? {
        (1.0, device) => Ok(device),
        (other, _) => Err(format!("exp(0) is {other}, expected 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_are_read_and_written() {
        for name in ["auto", "cpu", "cuda:0", "cuda:12", "cuda:all", "tch", "tch-cuda:1", "cubecl-cpu"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert_eq!("tch-cuda".parse(), Ok(DeviceChoice::TchCuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cpu:0", "tch:1", "tch-cuda:all", "auto:all"] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_panic_becomes_its_message() {
        let unwrapped = "called `Result::unwrap()` on an `Err` value: Torch(\"no driver\\nframe #0: mine";
        assert_eq!(quietly(|| panic!("{unwrapped}")), Err::<(), _>("Torch(\"no driver".to_string()));
        assert_eq!(quietly(|| panic!("no\ndriver")), Err::<(), _>("no".to_string()));
        assert_eq!(tried(|_| Device::flex(), 0), Ok(Device::flex()));
    }
}
