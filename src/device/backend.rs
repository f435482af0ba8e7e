//! What this build has. The only file that knows which backends it was built with.

use crate::device::Backend;
#[cfg(feature = "cubecl")]
use crate::device::kernel_cache;

/// Backends for cards, the best first.
pub fn gpus() -> [(&'static str, Backend); 2] {
    [("cuda", cuda()), ("tch-cuda", tch_cuda())]
}

#[cfg(feature = "cuda")]
pub fn cuda() -> Backend {
    Ok(|card| {
        kernel_cache::choose();
        let device = burn::tensor::Device::cuda(card);
        kernel_cache::name(card_name(&device).as_deref());
        device
    })
}

#[cfg(feature = "cuda")]
pub fn cuda_cards() -> usize {
    kernel_cache::choose();
    burn::tensor::Device::enumerate(burn::tensor::DeviceType::Cuda).len()
}

#[cfg(not(feature = "cuda"))]
pub fn cuda() -> Backend {
    Err("cuda")
}

#[cfg(not(feature = "cuda"))]
pub fn cuda_cards() -> usize {
    0
}

#[cfg(feature = "cubecl")]
pub fn is_cube(device: &burn::tensor::Device) -> bool {
    matches!(device.as_dispatch(), burn::backend::DispatchDevice::Cube(_))
}

#[cfg(feature = "cubecl")]
pub fn card_name(device: &burn::tensor::Device) -> Option<String> {
    device.identity().map(|identity| identity.name)
}

#[cfg(feature = "cubecl")]
pub fn kernel_folder() -> Option<std::path::PathBuf> {
    Some(kernel_cache::root())
}

#[cfg(feature = "cubecl")]
pub fn kernel_choices() -> u64 {
    kernel_cache::choices()
}

#[cfg(not(feature = "cubecl"))]
pub fn kernel_choices() -> u64 {
    0
}

#[cfg(not(feature = "cubecl"))]
pub fn is_cube(_: &burn::tensor::Device) -> bool {
    false
}

#[cfg(not(feature = "cubecl"))]
pub fn card_name(_: &burn::tensor::Device) -> Option<String> {
    None
}

#[cfg(not(feature = "cubecl"))]
pub fn kernel_folder() -> Option<std::path::PathBuf> {
    None
}

#[cfg(feature = "cubecl-cpu")]
pub fn cubecl_cpu() -> Backend {
    Ok(|_| {
        kernel_cache::choose();
        let device = burn::tensor::Device::cpu();
        kernel_cache::name(card_name(&device).as_deref());
        device
    })
}

#[cfg(not(feature = "cubecl-cpu"))]
pub fn cubecl_cpu() -> Backend {
    Err("cubecl-cpu")
}

// burn-tch is deprecated upstream, but the fastest way on a processor with bf16 (BENCHMARKS.md)
// one libtorch thread per worker: independent batches use the cores better than one batch split among them
#[cfg(feature = "tch")]
#[expect(deprecated)]
pub fn tch() -> Backend {
    Ok(|_| {
        tch::set_num_threads(1);
        burn::tensor::Device::libtorch()
    })
}

#[cfg(feature = "tch")]
#[expect(deprecated)]
pub fn tch_cuda() -> Backend {
    Ok(|card| burn::tensor::Device::libtorch_cuda(card))
}

#[cfg(feature = "tch")]
#[expect(deprecated)]
pub fn is_tch(device: &burn::tensor::Device) -> bool {
    *device == burn::tensor::Device::libtorch()
}

#[cfg(not(feature = "tch"))]
pub fn is_tch(_: &burn::tensor::Device) -> bool {
    false
}

#[cfg(not(feature = "tch"))]
pub fn tch() -> Backend {
    Err("tch")
}

#[cfg(not(feature = "tch"))]
pub fn tch_cuda() -> Backend {
    Err("tch")
}
