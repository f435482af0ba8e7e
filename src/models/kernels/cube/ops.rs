//! The kernels as operations of a backend, and as functions over tensors.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, FloatDType, Int, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use crate::models::kernels::cube::{attention, gelu, norm, pool};

/// Kernels as operations of a backend.
#[backend_extension(Cube, Fusion)]
pub trait CubeOps: Backend {
    /// The sums of each row's embeddings, normalised.
    #[fusion(dtype = format_of(format), shape = embedded_shape(words, rows))]
    fn embed_norm(
        words: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        types: FloatTensor<Self>,
        rows: IntTensor<Self>,
        norm: FloatTensor<Self>,
        epsilon: f32,
        format: FloatDType,
    ) -> FloatTensor<Self>;

    /// `LayerNorm(x + bias + residual)`.
    #[fusion(dtype = x, shape = x)]
    fn add_norm(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;

    /// `gelu(x + bias)`.
    #[fusion(dtype = x, shape = x)]
    fn bias_gelu(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Attention of every row over the rows of its text.
    #[fusion(dtype = projections, shape = context_shape(projections))]
    fn packed_attention(
        projections: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rows: IntTensor<Self>,
        distances: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;

    /// One vector for each slot from the rows of its text.
    #[fusion(dtype = format_of(&FloatDType::F32), shape = pooled_shape(hidden, spans))]
    fn packed_pool(
        hidden: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        spans: IntTensor<Self>,
        is_max: bool,
    ) -> FloatTensor<Self>;
}

fn format_of(format: &FloatDType) -> DType {
    (*format).into()
}

fn embedded_shape(words: &Shape, rows: &Shape) -> Shape {
    Shape::new([rows[1], words[1]])
}

fn context_shape(projections: &Shape) -> Shape {
    Shape::new([projections[0], projections[1] / 3])
}

fn pooled_shape(hidden: &Shape, spans: &Shape) -> Shape {
    Shape::new([spans[0] / 2, hidden[1]])
}

impl CubeOps for CubeBackend {
    fn embed_norm(
        words: CubeTensor,
        positions: CubeTensor,
        types: CubeTensor,
        rows: CubeTensor,
        norm: CubeTensor,
        epsilon: f32,
        format: FloatDType,
    ) -> CubeTensor {
        norm::embed([words, positions, types], rows, norm, epsilon, format.into())
    }

    fn add_norm(x: CubeTensor, bias: CubeTensor, residual: CubeTensor, norm: CubeTensor, epsilon: f32) -> CubeTensor {
        norm::add([x, residual], bias, norm, epsilon)
    }

    fn bias_gelu(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
        gelu::bias_gelu(x, bias)
    }

    fn packed_attention(
        projections: CubeTensor,
        bias: CubeTensor,
        rows: CubeTensor,
        distances: CubeTensor,
        heads: usize,
    ) -> CubeTensor {
        attention::attention(projections, bias, rows, distances, heads)
    }

    fn packed_pool(hidden: CubeTensor, weights: CubeTensor, spans: CubeTensor, is_max: bool) -> CubeTensor {
        pool::pool(hidden, weights, spans, is_max)
    }
}

/// The sums of each row's embeddings, normalised, in `format`: `[R, H]`. `rows` are the fields of
/// `PackedRows`, `[5, R]`; `norm` is gamma and beta, `[2 · H]`.
pub fn embed_norm(
    [words, positions, types]: [Tensor<2>; 3],
    rows: Tensor<2, Int>,
    norm: Tensor<1>,
    epsilon: f32,
    format: FloatDType,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::embed_norm(
        words.into_dispatch(),
        positions.into_dispatch(),
        types.into_dispatch(),
        rows.into_dispatch(),
        norm.into_dispatch(),
        epsilon,
        format,
    ))
}

/// `LayerNorm(x + bias + residual)`: `[R, H], [R, H] → [R, H]`; `norm` is gamma and beta, `[2 · H]`.
pub fn add_norm([x, residual]: [Tensor<2>; 2], [bias, norm]: [Tensor<1>; 2], epsilon: f32) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::add_norm(
        x.into_dispatch(),
        bias.into_dispatch(),
        residual.into_dispatch(),
        norm.into_dispatch(),
        epsilon,
    ))
}

/// `gelu(x + bias)` with the exact (erf) GELU: `[R, I] → [R, I]`.
pub fn bias_gelu(x: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::bias_gelu(x.into_dispatch(), bias.into_dispatch()))
}

/// Scaled dot-product attention of every row over the rows of its text: `[R, 3H]`, queries, keys and values side by side
/// without their biases, to `[R, H]`. `distances` is added to the scores, `[N · (2T − 1)]` by head and distance from
/// `1 − T` to `T − 1`; of one number, nothing is.
pub fn attention(
    projections: Tensor<2>,
    bias: Tensor<1>,
    rows: Tensor<2, Int>,
    distances: Tensor<1>,
    heads: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::packed_attention(
        projections.into_dispatch(),
        bias.into_dispatch(),
        rows.into_dispatch(),
        distances.into_dispatch(),
        heads,
    ))
}

/// The sum of each text's rows times their `weights`, `[R]`: `[R, H] → [S, H]` in f32. `spans` is `[2 · S]`: the first row of
/// each text, then the row after its last.
pub fn weighted_sum(hidden: Tensor<2>, weights: Tensor<1>, spans: Tensor<1, Int>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::packed_pool(
        hidden.into_dispatch(),
        weights.into_dispatch(),
        spans.into_dispatch(),
        false,
    ))
}

/// The largest value of each component over a text's rows: `[R, H] → [S, H]` in f32; `spans` as in [`weighted_sum`].
pub fn maximum(hidden: Tensor<2>, spans: Tensor<1, Int>) -> Tensor<2> {
    let none = Tensor::<1>::zeros([1], &hidden.device());
    Tensor::from_dispatch(Dispatch::packed_pool(
        hidden.into_dispatch(),
        none.into_dispatch(),
        spans.into_dispatch(),
        true,
    ))
}
