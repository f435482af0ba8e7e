//! The path of cards, without a card: kernels in CubeCL run on the processor in a build with the feature `cubecl-cpu`, and what
//! needs no kernel is checked in every build.

use dupmine::executor::batch::{self, BatchShape, Lengths, PACKED_ROWS, PackedShape};
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::built_in;
use dupmine::models::network::token_batch::TokenBatch;

use crate::support::*;

/// The shapes in which a card computes real questions: one, whatever their lengths.
#[test]
fn a_hundred_thousand_real_questions_have_one_shape() {
    let Some(path) = shared("data/qqp/questions.parquet") else { return };
    let questions = strings(&read(&path), "text");
    let model = BiEncoder::load(&built_in::BI_ENCODER, &dupmine::device::plain_cpu()).unwrap();
    let texts: Vec<&str> = questions.iter().map(String::as_str).collect();
    let tokenized = model.tokenizer.tokenize(&texts).unwrap();
    let shape = BatchShape { max_tokens: PACKED_ROWS, lengths: Lengths::Packed };
    let plan = batch::plan(&tokenized.lengths(), shape);
    let mut tokens = 0;
    for batch in &plan.batches {
        let rows: Vec<&[u32]> = plan.order[batch.clone()].iter().map(|&text| tokenized.ids(text as usize)).collect();
        tokens += rows.iter().map(|row| row.len()).sum::<usize>();
        let batch = TokenBatch::of_texts(&rows).pad_to(shape, model.tokenizer.max_tokens());
        assert_eq!(batch.packed_shape(), PackedShape { rows: PACKED_ROWS, slots: PACKED_ROWS / 8 });
    }
    let filled = tokens as f64 / (plan.batches.len() * PACKED_ROWS) as f64;
    println!("{} questions in {} batches, {:.1} % of the rows filled", texts.len(), plan.batches.len(), 100.0 * filled);
    assert!(filled > 0.95, "{filled}");
}

#[cfg(not(feature = "cubecl-cpu"))]
#[test]
fn kernels_are_tested_in_a_build_that_has_them() {
    skipped("this build has no kernels for cards; cargo test --features cubecl-cpu");
}
