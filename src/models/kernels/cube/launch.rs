//! What the launches of all kernels share.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{Client, CubeCount, CubeDim, ElemType};

/// Units of a cube, where each works alone.
const UNITS: u32 = 256;

/// A new tensor beside another.
pub fn empty_beside(tensor: &CubeTensor, shape: [usize; 2], dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), Shape::new(shape), dtype)
}

/// The widest vector, at most 4 numbers, that rows of `width` are made of.
pub fn vector_size(width: usize) -> usize {
    [4, 2].into_iter().find(|size| width.is_multiple_of(*size)).unwrap_or(1)
}

/// A matrix whose rows a kernel can read in vectors of `size`, and how many vectors lie from one row to the next: Burn lays
/// rows of a matrix apart on CUDA.
pub fn rows_of(matrix: CubeTensor, size: usize) -> (CubeTensor, usize) {
    let is_readable = |matrix: &CubeTensor| matches!(matrix.meta.strides()[..], [row, 1] if row.is_multiple_of(size));
    let matrix = if is_readable(&matrix) { matrix } else { into_contiguous(matrix) };
    let row = matrix.meta.strides()[0];
    (matrix, row / size)
}

/// Cubes of [`UNITS`] for `units` in all.
pub fn cubes_of(units: usize) -> (CubeCount, CubeDim) {
    (CubeCount::Static(units.div_ceil(UNITS as usize) as u32, 1, 1), CubeDim::new_1d(UNITS))
}

/// Units that add up together: those of a plane, where all planes of the device have one size.
pub fn lanes(client: &Client) -> u32 {
    let hardware = &client.properties().hardware;
    if hardware.plane_size_min == hardware.plane_size_max { hardware.plane_size_max } else { 1 }
}

/// How a kernel names the format of a tensor.
pub fn elem_type(dtype: DType) -> ElemType {
    burn::backend::cubecl::dtype_to_elem_type(dtype)
}
