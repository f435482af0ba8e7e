//! The kernels of cards against the processor, in a build that runs them there (feature `cubecl-cpu`). `MINE_CARD=cuda` runs
//! them on a card instead, in a build that has both features.

use std::path::Path;

use burn::tensor::Device;
use dupmine::device::DeviceChoice;
use dupmine::executor::batch::PackedShape;
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::built_in;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::cross_encoder::CrossEncoder;
use dupmine::models::network::precision::Precision;
use dupmine::models::network::token_batch::TokenBatch;
use dupmine::progress::Progress;
use serde_json::json;

use crate::support::*;

const FAMILIES: [&str; 4] = ["bert", "roberta", "distilbert", "mpnet"];
const MODES: [&str; 6] = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"];
const TEXTS: [&str; 5] = ["a", "", "what is the way to cook rice", "b c", "is it so or is it not so at all"];

/// What `--device` is given.
fn named() -> String {
    std::env::var("MINE_CARD").unwrap_or("cubecl-cpu".into())
}

pub fn card() -> Device {
    let choice: DeviceChoice = named().parse().unwrap();
    choice.open(&Progress::new(true, Default::default())).unwrap().list[0].clone()
}

/// Whether kernels run where they are made for.
pub fn is_fast() -> bool {
    named() != "cubecl-cpu"
}

/// How far results in f32 may be from the processor's: a card multiplies in TF32.
fn tolerance() -> f32 {
    if is_fast() { 2e-2 } else { 2e-5 }
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn family(work: &Path, name: &str, mode: &str) -> ModelFolder {
    let to = work.join(name);
    copy_folder(&repo("fixtures/models/families").join(name), &to);
    let pooling = json!({ "word_embedding_dimension": 32, "pooling_mode": mode });
    let module =
        |path: &str, kind: &str| json!({ "type": format!("sentence_transformers.models.{kind}"), "path": path });
    let modules = json!([module("", "Transformer"), module("1_Pooling", "Pooling")]);
    std::fs::write(to.join("modules.json"), modules.to_string()).unwrap();
    std::fs::create_dir_all(to.join("1_Pooling")).unwrap();
    std::fs::write(to.join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    ModelFolder::open(&to).unwrap()
}

/// Vectors of the texts, the first `rows` of a batch of a small shape.
fn vectors(folder: &ModelFolder, device: &Device, precision: Precision) -> Vec<f32> {
    let model = BiEncoder::load(folder, device).unwrap().for_inference(precision);
    let tokenized = model.tokenizer.tokenize(&TEXTS).unwrap();
    let rows: Vec<&[u32]> = (0..TEXTS.len()).map(|text| tokenized.ids(text)).collect();
    let batch = TokenBatch::of_texts(&rows).packed(PackedShape { rows: 384, slots: 8 });
    let vectors = model.model.forward(&batch).into_data().try_into_vec::<f32>().unwrap();
    vectors[..TEXTS.len() * model.dimensions()].to_vec()
}

#[test]
fn every_family_and_pooling_gives_the_vectors_of_the_processor() {
    let (card, plain) = (card(), dupmine::device::plain_cpu());
    for name in FAMILIES {
        for mode in MODES {
            let work = folder();
            let model = family(work.path(), name, mode);
            let expected = vectors(&model, &plain, Precision::F32);
            let most = largest_difference(&vectors(&model, &card, Precision::F32), &expected);
            assert!(most < tolerance(), "{name}, {mode}: {most}");
            let largest = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
            for coarse in [Precision::Bf16, Precision::F16] {
                let most = largest_difference(&vectors(&model, &card, coarse), &expected) / largest;
                assert!(most > 0.0 && most < 5e-2, "{name}, {mode}, {coarse:?}: {most}");
            }
        }
    }
}

#[test]
fn every_family_gives_the_logits_of_the_processor() {
    for name in FAMILIES {
        let model = ModelFolder::open(&repo("fixtures/models/families").join(name)).unwrap();
        let logits = |device: &Device| {
            let model = CrossEncoder::load(&model, device).unwrap().for_inference(Precision::F32);
            let pairs = model.tokenizer.tokenize_pairs(&[(TEXTS[0], TEXTS[2]), (TEXTS[4], TEXTS[1])]).unwrap();
            let batch = TokenBatch::of_pairs(&pairs.iter().collect::<Vec<_>>());
            let batch = batch.packed(PackedShape { rows: 384, slots: 8 });
            model.model.forward(&batch).into_data().try_into_vec::<f32>().unwrap()[..2].to_vec()
        };
        let most = largest_difference(&logits(&card()), &logits(&dupmine::device::plain_cpu()));
        assert!(most < tolerance(), "{name}: {most}");
    }
}

/// A run of its own process, with a cache of kernels in `work`. Returns what it printed.
fn run(work: &Path, output: &str) -> String {
    let (input, output) = (work.join("q.parquet"), work.join(output));
    let device = named();
    let more = ["--device", &device, "--precision", "f32", "--batch-tokens", "128", "--store"];
    let store = output.with_extension("store");
    let mut arguments = tiny(text(&input), text(&output), &more);
    arguments.push(text(&store));
    let ran = command(&arguments).env("XDG_CACHE_HOME", work.join("cache")).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    said
}

#[test]
fn a_second_process_tunes_nothing_and_writes_the_same_bytes() {
    let work = folder();
    let texts = ["how do i cook rice", "how to cook rice", "why is the sky blue", "what is the best way to learn"];
    write_questions(&work.path().join("q.parquet"), &texts);
    let tunes = |said: &str| said.lines().any(|line| line.starts_with("tune "));
    let first = run(work.path(), "first");
    assert!(tunes(&first), "{first}");
    // one database, of this build; what a second process adds to it is nothing
    let cache = work.path().join("cache/mine/kernels");
    let size = || std::fs::read_dir(&cache).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    let filled = size();
    let second = run(work.path(), "second");
    assert!(!tunes(&second), "{second}");
    assert_eq!(size(), filled);
    assert_same_results(&work.path().join("first"), &work.path().join("second"));
    // a cache that cannot be read costs time alone
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, "no folder").unwrap();
    run(work.path(), "third");
    assert_same_results(&work.path().join("first"), &work.path().join("third"));
}

/// The script for a machine with a card, rehearsed without one.
#[test]
fn the_script_for_a_card_runs() {
    let work = folder();
    let (bi, cross) = (repo("fixtures/models/tiny-bert"), repo("fixtures/models/tiny-bert-cross"));
    let more = format!("--bi-encoder {} --batch-tokens 128 --min-cosine 0.7 --threshold 0.9", text(&bi));
    let ran = std::process::Command::new(repo("benches/gpu.sh"))
        .env("MINE", env!("CARGO_BIN_EXE_mine"))
        .env("DEVICE", named())
        .env("ROWS", "12")
        .env("PEER", "no-python")
        .env("CROSS", text(&cross))
        .env("MORE", more)
        .env("WORK", work.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
    assert_eq!(said.matches("pairs.parquet: same").count(), 2, "{said}");
    for step in ["fixture-second", "embed-second", "rerank-all", "f32-verify", "cpu-1", "profile"] {
        assert!(said.lines().any(|line| line.starts_with(step) && line.contains(" s ")), "{step}: {said}");
    }
}

/// Products of both built-in models together: what is tuned before the first batch.
#[test]
fn the_built_in_models_have_few_products() {
    let bi = BiEncoder::load(&built_in::BI_ENCODER, &card()).unwrap().for_inference(Precision::F32);
    let cross = CrossEncoder::load(&built_in::CROSS_ENCODER, &card()).unwrap().for_inference(Precision::F32);
    let mut products = bi.model.encoder.packed().unwrap().products();
    products.extend(cross.model.encoder.packed().unwrap().products());
    products.sort_unstable();
    products.dedup();
    assert_eq!(products, [[384, 384], [384, 1152], [384, 1536], [1536, 384]]);
}
