//! The activation between the products of the feed-forward part.

use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::models::kernels::cube::launch::{cubes_of, elem_type, empty_beside, rows_of, vector_size};

#[cube(launch_unchecked)]
fn gelu_kernel<F: Float, N: Size>(
    x: &[Vector<F, N>],
    bias: &[Vector<f32, N>],
    out: &mut [Vector<F, N>],
    #[comptime] total: usize,
    #[comptime] width: usize,
    #[comptime] stride: usize,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < total {
        let (row, part) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
        let value = Vector::<f32, N>::cast_from(x[row * stride + part]) + bias[part];
        // x Φ(x) = x (1 + erf(x / √2)) / 2
        let erf = (value * Vector::new(0.707_106_77_f32)).erf();
        out[ABSOLUTE_POS] = Vector::cast_from(value * Vector::new(0.5f32) * (Vector::new(1.0f32) + erf));
    }
}

/// As [`super::ops::bias_gelu`].
pub fn bias_gelu(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
    let (rows, width) = (x.meta.shape()[0], x.meta.shape()[1]);
    let (size, format) = (vector_size(width), x.dtype);
    let (x, stride) = rows_of(x, size);
    let out = empty_beside(&x, [rows, width], format);
    let client = x.client.clone();
    let units = rows * width / size;
    let (count, dim) = cubes_of(units);
    // SAFETY: every unit checks its own bounds
    #[expect(unsafe_code, reason = "a launch without bounds checks, which the units make themselves")]
    unsafe {
        gelu_kernel::launch_unchecked(
            &client,
            count,
            dim,
            size,
            x.into_buffer_arg(),
            bias.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            units,
            width / size,
            stride,
            elem_type(format),
        );
    }
    out
}
