//! Layer norms, a plane of units for each row.

use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::models::kernels::cube::launch::{elem_type, empty_beside, lanes, rows_of, vector_size};

/// Rows of a cube.
const ROWS: u32 = 8;

/// Adds up `part` over the units of a row.
#[cube]
fn over_row(part: f32, #[comptime] lanes: usize) -> f32 {
    if comptime!(lanes > 1) { plane_sum(part) } else { part }
}

/// Writes row `row` of `out`: `values`, of which each unit has every `lanes`th vector, normalised. `width` is the vectors of
/// a row; `norm` has gamma, then beta. Mean and variance are those of the f32 values (Ba et al. 2016, arXiv:1607.06450).
#[cube]
fn write_norm<F: Float, N: Size>(
    values: &Array<Vector<f32, N>>,
    norm: &[Vector<f32, N>],
    out: &mut [Vector<F, N>],
    row: usize,
    epsilon: f32,
    #[comptime] width: usize,
    #[comptime] lanes: usize,
) {
    let lane = UNIT_POS_X as usize;
    let size = N::value();
    let count = comptime!(width.div_ceil(lanes));
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..count {
        let part = values[i];
        #[unroll]
        for j in 0..size {
            sum += part.extract(j);
        }
    }
    let numbers = comptime!((width * size) as f32);
    let mean = over_row(sum, lanes) / numbers;
    let mut squares = 0.0f32;
    #[unroll]
    for i in 0..count {
        // units beyond the row hold zeros
        if i * lanes + lane < width {
            let away = values[i] - Vector::new(mean);
            let square = away * away;
            #[unroll]
            for j in 0..size {
                squares += square.extract(j);
            }
        }
    }
    let variance = over_row(squares, lanes) / numbers;
    let scale = 1.0f32 / (variance + epsilon).sqrt();
    #[unroll]
    for i in 0..count {
        let at = i * lanes + lane;
        if at < width {
            let normal = (values[i] - Vector::new(mean)) * Vector::new(scale);
            out[row * width + at] = Vector::cast_from(normal * norm[at] + norm[width + at]);
        }
    }
}

#[cube(launch_unchecked)]
fn embed_kernel<F: Float, N: Size>(
    words: &[Vector<f32, N>],
    positions: &[Vector<f32, N>],
    types: &[Vector<f32, N>],
    rows: &[i32],
    norm: &[Vector<f32, N>],
    out: &mut [Vector<F, N>],
    epsilon: f32,
    #[comptime] total: usize,
    #[comptime] width: usize,
    // vectors from one row to the next of words, positions and types
    #[comptime] strides: (usize, usize, usize),
    #[comptime] lanes: usize,
    #[comptime] has_types: bool,
    #[define(F)] _format: ElemType,
) {
    let row = CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize;
    if row < total {
        let lane = UNIT_POS_X as usize;
        let word = rows[row] as usize * comptime!(strides.0);
        let position = rows[total + row] as usize * comptime!(strides.1);
        let kind = rows[2 * total + row] as usize * comptime!(strides.2);
        let count = comptime!(width.div_ceil(lanes));
        let mut values = Array::<Vector<f32, N>>::new(count);
        #[unroll]
        for i in 0..count {
            let at = i * lanes + lane;
            if at < width {
                let mut sum = words[word + at] + positions[position + at];
                if comptime!(has_types) {
                    sum += types[kind + at];
                }
                values[i] = sum;
            } else {
                values[i] = Vector::new(0.0f32);
            }
        }
        write_norm::<F, N>(&values, norm, out, row, epsilon, width, lanes);
    }
}

#[cube(launch_unchecked)]
fn add_kernel<F: Float, N: Size>(
    x: &[Vector<F, N>],
    residual: &[Vector<F, N>],
    bias: &[Vector<f32, N>],
    norm: &[Vector<f32, N>],
    out: &mut [Vector<F, N>],
    epsilon: f32,
    #[comptime] total: usize,
    #[comptime] width: usize,
    // vectors from one row to the next of x and of the residual
    #[comptime] strides: (usize, usize),
    #[comptime] lanes: usize,
    #[define(F)] _format: ElemType,
) {
    let row = CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize;
    if row < total {
        let lane = UNIT_POS_X as usize;
        let count = comptime!(width.div_ceil(lanes));
        let mut values = Array::<Vector<f32, N>>::new(count);
        #[unroll]
        for i in 0..count {
            let at = i * lanes + lane;
            if at < width {
                let product = Vector::<f32, N>::cast_from(x[row * comptime!(strides.0) + at]);
                let before = Vector::<f32, N>::cast_from(residual[row * comptime!(strides.1) + at]);
                values[i] = product + bias[at] + before;
            } else {
                values[i] = Vector::new(0.0f32);
            }
        }
        write_norm::<F, N>(&values, norm, out, row, epsilon, width, lanes);
    }
}

/// As [`super::ops::embed_norm`]; `types` has no rows in a family without token types.
pub fn embed(
    [words, positions, types]: [CubeTensor; 3],
    rows: CubeTensor,
    norm: CubeTensor,
    epsilon: f32,
    format: DType,
) -> CubeTensor {
    let rows = into_contiguous(rows);
    let (total, hidden) = (rows.meta.shape()[1], words.meta.shape()[1]);
    let out = empty_beside(&words, [total, hidden], format);
    let client = words.client.clone();
    let (size, lanes) = (vector_size(hidden), lanes(&client));
    let [(words, word_stride), (positions, position_stride), (types, type_stride)] =
        [words, positions, types].map(|table| rows_of(table, size));
    let has_types = types.meta.shape()[1] == hidden;
    // SAFETY: every row checks its own bounds; ids were checked when texts were tokenized
    #[expect(unsafe_code, reason = "a launch without bounds checks, which the rows make themselves")]
    unsafe {
        embed_kernel::launch_unchecked(
            &client,
            CubeCount::Static(total.div_ceil(ROWS as usize) as u32, 1, 1),
            CubeDim::new_2d(lanes, ROWS),
            size,
            words.into_buffer_arg(),
            positions.into_buffer_arg(),
            types.into_buffer_arg(),
            rows.into_buffer_arg(),
            norm.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            epsilon,
            total,
            hidden / size,
            (word_stride, position_stride, type_stride),
            lanes as usize,
            has_types,
            elem_type(format),
        );
    }
    out
}

/// As [`super::ops::add_norm`].
pub fn add([x, residual]: [CubeTensor; 2], bias: CubeTensor, norm: CubeTensor, epsilon: f32) -> CubeTensor {
    let (total, hidden) = (x.meta.shape()[0], x.meta.shape()[1]);
    let format = x.dtype;
    let out = empty_beside(&x, [total, hidden], format);
    let client = x.client.clone();
    let (size, lanes) = (vector_size(hidden), lanes(&client));
    let [(x, stride), (residual, residual_stride)] = [x, residual].map(|rows| rows_of(rows, size));
    // SAFETY: every row checks its own bounds
    #[expect(unsafe_code, reason = "a launch without bounds checks, which the rows make themselves")]
    unsafe {
        add_kernel::launch_unchecked(
            &client,
            CubeCount::Static(total.div_ceil(ROWS as usize) as u32, 1, 1),
            CubeDim::new_2d(lanes, ROWS),
            size,
            x.into_buffer_arg(),
            residual.into_buffer_arg(),
            bias.into_buffer_arg(),
            norm.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            epsilon,
            total,
            hidden / size,
            (stride, residual_stride),
            lanes as usize,
            elem_type(format),
        );
    }
    out
}
