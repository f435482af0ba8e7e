//! Devices and precisions, as far as a machine without a GPU can tell: every path runs on the processor.

use std::sync::Arc;

use dupmine::device::{DeviceKind, Devices, plain_cpu};
use dupmine::executor::replicas::Replicas;
use dupmine::mining::{embed, logits};
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::cross_encoder::CrossEncoder;
use dupmine::models::kernels::bf16;
use dupmine::models::network::precision::{Precision, PrecisionChoice};
use dupmine::progress::{Progress, Task};
use dupmine::text::pairs::PairTokens;

use crate::support::*;

const TEXTS: u32 = 300;

fn devices(count: usize, kind: DeviceKind) -> Devices {
    Devices::new(vec![plain_cpu(); count], kind, "test")
}

fn model(name: &str) -> ModelFolder {
    ModelFolder::open(&repo("fixtures/models").join(name)).unwrap()
}

fn task() -> Task {
    Progress::new(true, Arc::default()).task("test", "texts", 0)
}

/// Texts of many lengths.
fn texts() -> Vec<String> {
    (0..TEXTS).map(|i| (0..1 + i * 7 % 30).map(|word| format!("how {word} cat {}", i % 11)).collect()).collect()
}

/// Vectors of all texts in order, through the stage.
fn embedded(devices: &Devices, precision: Precision) -> Vec<f32> {
    let load = |device: &_| Ok(BiEncoder::load(&model("tiny-bert"), device)?.for_inference(precision));
    let models = Replicas::load(devices, load).unwrap();
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // partitions of any size give the same vectors
    texts.chunks(90).flat_map(|texts| embed::embed(&models, texts, &task()).unwrap().values).collect()
}

fn scored(devices: &Devices, precision: Precision) -> Vec<f32> {
    let load = |device: &_| Ok(CrossEncoder::load(&model("tiny-bert-cross"), device)?.for_inference(precision));
    let models = Replicas::load(devices, load).unwrap();
    let all = texts();
    let pairs: Vec<(u32, u32)> = (0..TEXTS).map(|i| (i, i * 31 % TEXTS)).collect();
    let text = |number: u32| all[number as usize].as_str();
    let mut tokens = PairTokens::new(&models.first().tokenizer);
    logits::score(&models, &mut tokens, (&pairs, &text), &|_, _| true, &task()).unwrap().logits
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn several_devices_give_the_bytes_of_one() {
    for kind in [DeviceKind::Cpu, DeviceKind::Tch, DeviceKind::Gpu] {
        let (one, three) = (devices(1, kind), devices(3, kind));
        assert_eq!(embedded(&one, Precision::F32), embedded(&three, Precision::F32), "{kind:?}");
        assert_eq!(scored(&one, Precision::F32), scored(&three, Precision::F32), "{kind:?}");
    }
}

#[test]
fn the_shapes_of_a_gpu_change_no_result() {
    let (cpu, gpu) = (devices(1, DeviceKind::Cpu), devices(1, DeviceKind::Gpu));
    let most = largest_difference(&embedded(&cpu, Precision::F32), &embedded(&gpu, Precision::F32));
    assert!(most < 2e-6, "{most}");
    let most = largest_difference(&scored(&cpu, Precision::F32), &scored(&gpu, Precision::F32));
    assert!(most < 2e-6, "{most}");
}

#[test]
fn coarser_precisions_stay_close_and_are_really_used() {
    let cpu = devices(1, DeviceKind::Cpu);
    let (exact, logits) = (embedded(&cpu, Precision::F32), scored(&cpu, Precision::F32));
    // components of unit vectors, and logits, which are larger
    let coarser = [(Precision::F16, 5e-3, 5e-2), (Precision::Bf16, 4e-2, 4e-1), (Precision::Int8, 4e-2, 4e-1)];
    for (precision, of_vectors, of_logits) in coarser {
        let most = largest_difference(&exact, &embedded(&cpu, precision));
        assert!(most > 1e-5 && most < of_vectors, "{precision:?}: {most}");
        let most = largest_difference(&logits, &scored(&cpu, precision));
        assert!(most > 1e-5 && most < of_logits, "{precision:?}: {most}");
    }
}

#[test]
fn rounded_products_give_the_same_bytes_in_any_batch_and_with_any_number_of_workers() {
    let (one, three) = (devices(1, DeviceKind::Cpu), devices(3, DeviceKind::Cpu));
    let narrow = Devices { batch_tokens: Some(40), ..devices(1, DeviceKind::Cpu) };
    if !bf16::is_fast() {
        skipped("this processor has no instructions for bf16");
    }
    let formats = if bf16::is_fast() { &[Precision::Int8, Precision::Bf16][..] } else { &[Precision::Int8] };
    for others in [three, narrow] {
        for &format in formats {
            assert_eq!(embedded(&one, format), embedded(&others, format), "{format:?}");
            assert_eq!(scored(&one, format), scored(&others, format), "{format:?}");
        }
    }
}

#[test]
fn auto_computes_in_eight_bits_where_the_processor_can() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_questions(&input, &["how do i cook rice", "how to cook rice"]);
    let precision = |more: &[&str]| {
        mine_ok(&tiny(text(&input), text(&output), more));
        let manifest = std::fs::read(output.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["options"]["precision"].as_str().unwrap().to_string()
    };
    let expected = PrecisionChoice(None).on(DeviceKind::Cpu).name();
    assert_eq!(precision(&["--device", "cpu"]), expected);
    assert_eq!(precision(&["--precision", "f32"]), "f32");
    let error = mine_fails(&tiny(text(&input), text(&output), &["--precision", "int4"]), 2);
    assert!(error.contains("expected auto, f32, bf16, f16 or int8"), "{error}");
}

#[test]
fn a_device_that_is_not_there_is_refused_with_what_would_help() {
    let work = folder();
    let input = repo("fixtures/questions.parquet");
    let fails = |device: &str| {
        let output = work.path().join("out");
        let error = mine_fails(&tiny(text(&input), text(&output), &["--device", device]), 2);
        assert!(!output.join(".mine").exists(), "refused before anything is written");
        error
    };
    if !cfg!(feature = "cuda") {
        for device in ["cuda", "cuda:1", "cuda:all"] {
            let error = fails(device);
            assert!(error.contains("cargo install --path . --features cuda"), "{error}");
        }
    }
    if !cfg!(feature = "tch") {
        for device in ["tch", "tch-cuda:1"] {
            let error = fails(device);
            assert!(error.contains("cargo install --path . --features tch"), "{error}");
        }
    }
    let error = mine_fails(&["--input", "q.parquet", "--device", "gpu"], 2);
    assert!(error.contains("expected auto, cpu, cuda"), "{error}");
}

#[test]
fn devices_are_listed_with_what_they_compute_in_or_lack() {
    let listed = json(&["devices", "--json"]);
    let rows = listed["devices"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["device"] == name).unwrap_or_else(|| panic!("{name}: {listed}"));
    assert!(row("cpu")["precisions"].as_array().unwrap().contains(&"int8".into()), "{listed}");
    assert!(row("cpu")["error"].is_null(), "{listed}");
    if !cfg!(feature = "tch") {
        let why = row("tch")["error"].as_str().unwrap();
        assert!(why.contains("cargo install --path . --features tch"), "{why}");
    }
    assert_eq!(listed["kernels"].is_null(), !cfg!(feature = "cubecl-cpu") && !cfg!(feature = "cuda"), "{listed}");
    // a processor has none
    let warmed = mine(&["devices", "warm", "--device", "cpu"]);
    assert_eq!(String::from_utf8_lossy(&warmed.stdout), "cpu needs no kernels\n");
}

#[test]
fn auto_says_what_it_took_where_there_was_a_choice() {
    let work = folder();
    let input = work.path().join("q.parquet");
    write_questions(&input, &["how do i cook rice", "how to cook rice"]);
    let said = mine_ok(&tiny(text(&input), text(&work.path().join("out")), &["--device", "auto"]));
    let choice = cfg!(any(feature = "cuda", feature = "tch"));
    assert_eq!(said.lines().any(|line| line.starts_with("device ")), choice, "{said}");
    assert!(!said.contains("no GPU is used") || choice && said.contains("device cpu"), "{said}");
}

#[test]
fn precision_is_part_of_what_a_stage_depends_on() {
    let work = folder();
    let (input, output) = (work.path().join("q.parquet"), work.path().join("out"));
    write_questions(&input, &["how do i cook rice", "how to cook rice", "what is a cat"]);
    mine_ok(&tiny(text(&input), text(&output), &["--precision", "f32"]));
    let plan = |precision: &str| {
        let arguments = tiny(text(&input), text(&output), &["--plan", "--precision", precision]);
        String::from_utf8(mine(&arguments).stdout).unwrap()
    };
    assert!(plan("f32").lines().all(|line| line.contains("fresh")), "{}", plan("f32"));
    let embed = plan("bf16").lines().next().unwrap().to_string();
    assert!(embed.starts_with("embed") && embed.contains("stale") && embed.contains("precision"), "{embed}");
    mine_ok(&tiny(text(&input), text(&output), &["--precision", "f16", "--force"]));
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(output.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((manifest["options"]["precision"].as_str(), manifest["device"].as_str()), (Some("f16"), Some("cpu")));
}
