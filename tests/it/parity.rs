//! Our numbers against those of the Python originals, every component.

use dupmine::device::plain_cpu;
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::cross_encoder::CrossEncoder;
use serde::Deserialize;

use crate::support::repo;

const TOLERANCE: f32 = 2e-5;

#[derive(Deserialize)]
struct Embeddings {
    texts: Vec<String>,
    embeddings: Vec<Vec<f32>>,
    token_counts: Vec<u32>,
}

#[derive(Deserialize)]
struct Logits {
    pairs: Vec<(String, String)>,
    logits: Vec<f32>,
    token_counts: Vec<u32>,
}

fn reference<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(repo("fixtures/reference").join(name)).unwrap()).unwrap()
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn bi_encoder_matches(model: &str) {
    let expected: Embeddings = reference("tiny-bert.json");
    let device = plain_cpu();
    let model = BiEncoder::load(&ModelFolder::open(&repo("fixtures/models").join(model)).unwrap(), &device).unwrap();
    let texts: Vec<&str> = expected.texts.iter().map(String::as_str).collect();
    let tokenized = model.tokenizer.tokenize(&texts).unwrap();
    assert_eq!(tokenized.lengths(), expected.token_counts);
    assert!(!tokenized.truncated.is_empty(), "the reference has texts beyond the limit");

    // all in one padded batch, as Python did it, and each alone
    let rows: Vec<&[u32]> = (0..texts.len()).map(|at| tokenized.ids(at)).collect();
    let together = model.embed(&rows).unwrap();
    let alone: Vec<f32> = rows.iter().flat_map(|row| model.embed(&[row]).unwrap()).collect();
    let expected = expected.embeddings.concat();
    assert!(largest_difference(&together, &expected) <= TOLERANCE, "{}", largest_difference(&together, &expected));
    assert!(largest_difference(&alone, &expected) <= TOLERANCE, "{}", largest_difference(&alone, &expected));
}

#[test]
fn bi_encoder_of_the_legacy_layout_matches_python() {
    bi_encoder_matches("tiny-bert");
}

#[test]
fn bi_encoder_of_the_new_layout_matches_python() {
    bi_encoder_matches("tiny-bert-new");
}

#[test]
fn cross_encoder_matches_python() {
    let expected: Logits = reference("tiny-bert-cross.json");
    let device = plain_cpu();
    let folder = ModelFolder::open(&repo("fixtures/models/tiny-bert-cross")).unwrap();
    let model = CrossEncoder::load(&folder, &device).unwrap();
    let pairs: Vec<(&str, &str)> = expected.pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let tokenized = model.tokenizer.tokenize_pairs(&pairs).unwrap();
    let counts: Vec<u32> = tokenized.iter().map(|pair| pair.ids.len() as u32).collect();
    assert_eq!(counts, expected.token_counts);
    let together = model.logits(&tokenized.iter().collect::<Vec<_>>()).unwrap();
    let alone: Vec<f32> = tokenized.iter().flat_map(|pair| model.logits(&[pair]).unwrap()).collect();
    assert!(
        largest_difference(&together, &expected.logits) <= TOLERANCE,
        "{}",
        largest_difference(&together, &expected.logits)
    );
    assert!(
        largest_difference(&alone, &expected.logits) <= TOLERANCE,
        "{}",
        largest_difference(&alone, &expected.logits)
    );
}
