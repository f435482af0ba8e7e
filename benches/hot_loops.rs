//! The loops that a run spends its time in, one at a time: `cargo bench`.

#![expect(clippy::expect_used, reason = "a benchmark without its model says so and ends")]

use std::sync::Arc;

use divan::counter::ItemsCount;
use dupmine::device::plain_cpu;
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::built_in::BI_ENCODER;
use dupmine::models::kernels::bf16::{self, Bf16Matrix};
use dupmine::models::kernels::int8::Int8Matrix;
use dupmine::models::kernels::rounded::{RoundedMatrix, RoundedRows};
use dupmine::progress::Progress;
use dupmine::search::tiles::Tiles;
use dupmine::search::{Query, Vectors, dot, exact};
use dupmine::text::normalise::normalise;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn unit_vectors(rows: usize, width: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut values: Vec<f32> = (0..rows * width).map(|_| next()).collect();
    for vector in values.chunks_mut(width) {
        let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|v| *v /= norm);
    }
    values
}

/// The products of a feed-forward part: 1,024 rows, 384 to 1,536 columns. Items are multiply-adds.
fn product<M: RoundedMatrix>(bencher: divan::Bencher) {
    let (rows, widths) = (1024, [384, 1536]);
    let matrix = M::new(&unit_vectors(widths[0], widths[1]), widths);
    let (mut x, mut out) = (M::Rows::default(), vec![0.0; rows * widths[1]]);
    x.set(&unit_vectors(rows, widths[0]), widths[0]);
    bencher.counter(ItemsCount::new(rows * widths[0] * widths[1])).bench_local(|| matrix.product(&x, &mut out));
}

#[divan::bench]
fn product_in_int8(bencher: divan::Bencher) {
    product::<Int8Matrix>(bencher);
}

/// Nothing on a processor without instructions for it.
#[divan::bench]
fn product_in_bf16(bencher: divan::Bencher) {
    if bf16::is_fast() {
        product::<Bf16Matrix>(bencher);
    }
}

#[divan::bench(args = [64, 16, 4])]
fn embed_one_batch_of_1024_tokens(bencher: divan::Bencher, rows: usize) {
    let device = plain_cpu();
    let model = BiEncoder::load(&BI_ENCODER, &device).expect("the built-in model loads");
    let ids: Vec<u32> = (0..1024 / rows as u32).map(|t| 2000 + t).collect();
    let batch: Vec<&[u32]> = (0..rows).map(|_| ids.as_slice()).collect();
    bencher.bench(|| model.embed(&batch));
}

#[divan::bench]
fn exact_search_of_8192_vectors(bencher: divan::Bencher) {
    let tiles = Tiles { device: plain_cpu(), rows: 1024 };
    let values = unit_vectors(8192, 384);
    let (vectors, usable) = (Vectors { values: &values, width: 384 }, vec![true; 8192]);
    let progress = Progress::new(true, Arc::default());
    let query = Query { top_k: 100, floor: 0.6 };
    bencher
        .bench(|| exact::search(vectors, &usable, query, &tiles, &progress.task("search", "texts", 8192)).map(|f| f.1));
}

#[divan::bench]
fn dot_of_384(bencher: divan::Bencher) {
    let values = unit_vectors(2, 384);
    bencher.bench(|| dot::dot(divan::black_box(&values[..384]), divan::black_box(&values[384..])));
}

#[divan::bench]
fn normalise_a_question(bencher: divan::Bencher) {
    bencher.bench(|| normalise(divan::black_box("How do I learn  to play the guitar\u{a0}at home?")).len());
}
