//! From the rows of a text to one vector, a unit for each part of a vector.

use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::models::kernels::cube::launch::{cubes_of, elem_type, empty_beside, rows_of, vector_size};

#[cube(launch_unchecked)]
fn pool_kernel<F: Float, N: Size>(
    hidden: &[Vector<F, N>],
    weights: &[f32],
    spans: &[i32],
    out: &mut [Vector<f32, N>],
    #[comptime] slots: usize,
    #[comptime] width: usize,
    #[comptime] stride: usize,
    #[comptime] is_max: bool,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < slots * width {
        let slot = ABSOLUTE_POS / width;
        let part = ABSOLUTE_POS % width;
        let first = spans[slot] as usize;
        let last = spans[slots + slot] as usize;
        if comptime!(is_max) {
            let mut pooled = Vector::<f32, N>::new(f32::MIN);
            for row in first..last {
                pooled = max(pooled, Vector::<f32, N>::cast_from(hidden[row * stride + part]));
            }
            out[ABSOLUTE_POS] = pooled;
        } else {
            let mut pooled = Vector::<f32, N>::new(0.0f32);
            for row in first..last {
                pooled += Vector::<f32, N>::cast_from(hidden[row * stride + part]) * Vector::new(weights[row]);
            }
            out[ABSOLUTE_POS] = pooled;
        }
    }
}

/// As [`super::ops::weighted_sum`] and [`super::ops::maximum`].
pub fn pool(hidden: CubeTensor, weights: CubeTensor, spans: CubeTensor, is_max: bool) -> CubeTensor {
    let (slots, width) = (spans.meta.shape()[0] / 2, hidden.meta.shape()[1]);
    let (size, format) = (vector_size(width), hidden.dtype);
    let (hidden, stride) = rows_of(hidden, size);
    let out = empty_beside(&hidden, [slots, width], DType::F32);
    let client = hidden.client.clone();
    let (count, dim) = cubes_of(slots * width / size);
    // SAFETY: every unit checks its own bounds; the rows of a text lie within the batch
    #[expect(unsafe_code, reason = "a launch without bounds checks, which the units make themselves")]
    unsafe {
        pool_kernel::launch_unchecked(
            &client,
            count,
            dim,
            size,
            hidden.into_buffer_arg(),
            weights.into_buffer_arg(),
            spans.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            slots,
            width / size,
            stride,
            is_max,
            elem_type(format),
        );
    }
    out
}
