//! Attention over packed rows, a unit for each row and head.
//!
//! A unit keeps its query and its sum in registers and walks over the keys of its text once, with a running maximum (Milakov
//! & Gimelshein 2018, arXiv:1805.02867). Neighbouring units have the same text, so a key is read from memory once for all
//! of them. Questions are short: this is a tenth of the work of the products.

use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::models::kernels::cube::launch::{cubes_of, elem_type, empty_beside, rows_of, vector_size};

#[cube(launch_unchecked)]
fn attention_kernel<F: Float, N: Size>(
    projections: &[Vector<F, N>],
    bias: &[Vector<f32, N>],
    rows: &[i32],
    distances: &[f32],
    out: &mut [Vector<F, N>],
    scale: f32,
    #[comptime] total: usize,
    // vectors from one row of the projections to the next
    #[comptime] stride: usize,
    #[comptime] heads: usize,
    // vectors of a head
    #[comptime] width: usize,
    // distances of a head, 0 without any
    #[comptime] reach: usize,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS < total * heads {
        let row = ABSOLUTE_POS % total;
        let head = ABSOLUTE_POS / total;
        let hidden = comptime!(heads * width);
        let at = head * width;
        let first = rows[3 * total + row] as usize;
        let last = rows[4 * total + row] as usize;
        let mut query = Array::<Vector<f32, N>>::new(width);
        let mut sum = Array::<Vector<f32, N>>::new(width);
        #[unroll]
        for i in 0..width {
            let part = Vector::<f32, N>::cast_from(projections[row * stride + at + i]) + bias[at + i];
            query[i] = part * Vector::new(scale);
            sum[i] = Vector::new(0.0f32);
        }
        let mut highest = f32::new(-3.0e38);
        let mut total_weight = 0.0f32;
        for key in first..last {
            // the bias of the keys adds the same to all scores of a row: it changes no weight
            let of_key = key * stride + hidden + at;
            let mut products = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for i in 0..width {
                products += query[i] * Vector::<f32, N>::cast_from(projections[of_key + i]);
            }
            let mut score = 0.0f32;
            #[unroll]
            for j in 0..N::value() {
                score += products.extract(j);
            }
            if comptime!(reach > 0) {
                score += distances[head * reach + key + comptime!(reach / 2) - row];
            }
            let higher = max(highest, score);
            let kept = (highest - higher).exp();
            let weight = (score - higher).exp();
            highest = higher;
            total_weight = total_weight * kept + weight;
            let of_value = of_key + hidden;
            #[unroll]
            for i in 0..width {
                let value = Vector::<f32, N>::cast_from(projections[of_value + i]);
                sum[i] = sum[i] * Vector::new(kept) + value * Vector::new(weight);
            }
        }
        let share = 1.0f32 / total_weight;
        #[unroll]
        for i in 0..width {
            // weights add up to 1, so the bias of the values can wait until here
            let context = sum[i] * Vector::new(share) + bias[2 * hidden + at + i];
            out[row * hidden + at + i] = Vector::cast_from(context);
        }
    }
}

/// As [`super::ops::attention`].
pub fn attention(
    projections: CubeTensor,
    bias: CubeTensor,
    rows: CubeTensor,
    distances: CubeTensor,
    heads: usize,
) -> CubeTensor {
    let (total, hidden) = (projections.meta.shape()[0], projections.meta.shape()[1] / 3);
    let (width, format) = (hidden / heads, projections.dtype);
    let size = vector_size(width);
    let (projections, stride) = rows_of(projections, size);
    let reach = match distances.meta.shape()[0] {
        1 => 0,
        all => all / heads,
    };
    let out = empty_beside(&projections, [total, hidden], format);
    let client = projections.client.clone();
    let (count, dim) = cubes_of(total * heads);
    // SAFETY: every unit checks its own bounds; the rows of a text lie within the batch
    #[expect(unsafe_code, reason = "a launch without bounds checks, which the units make themselves")]
    unsafe {
        attention_kernel::launch_unchecked(
            &client,
            count,
            dim,
            size,
            projections.into_buffer_arg(),
            bias.into_buffer_arg(),
            rows.into_buffer_arg(),
            distances.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            1.0 / (width as f32).sqrt(),
            total,
            stride,
            heads,
            width / size,
            reach,
            elem_type(format),
        );
    }
    out
}
