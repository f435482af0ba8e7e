//! Compressed and built-in models: how close to the original, on real questions when they are there.

use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int8Type;
use dupmine::calibration::{expected_f1, platt};
use dupmine::device::plain_cpu;
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::built_in::{BI_ENCODER, CROSS_ENCODER};
use dupmine::models::checkpoint::calibration;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::search::dot::dot;
use rayon::prelude::*;

use crate::support::{folder, mine, mine_fails, read, repo, shared, text};

fn embed(folder: &ModelFolder, texts: &[&str]) -> Vec<Vec<f32>> {
    let device = plain_cpu();
    let model = BiEncoder::load(folder, &device).unwrap();
    let tokenized = model.tokenizer.tokenize(texts).unwrap();
    let rows: Vec<usize> = (0..texts.len()).collect();
    let batches: Vec<Vec<f32>> = rows
        .par_chunks(32)
        .map(|rows| model.embed(&rows.iter().map(|&at| tokenized.ids(at)).collect::<Vec<_>>()).unwrap())
        .collect();
    batches.concat().chunks(model.dimensions()).map(<[f32]>::to_vec).collect()
}

fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8).unwrap();
    column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_string()).collect()
}

/// Cosines and labels of dev's natural pairs, and the cosines of all its duplicates.
fn dev_cosines(model: &ModelFolder, dev: &Path) -> (Vec<f64>, Vec<bool>, Vec<f64>) {
    let batch = read(dev);
    let (left, right) = (column(&batch, "question1"), column(&batch, "question2"));
    let label: Vec<bool> = batch
        .column_by_name("is_duplicate")
        .unwrap()
        .as_primitive::<Int8Type>()
        .values()
        .iter()
        .map(|&v| v == 1)
        .collect();
    let natural: Vec<bool> =
        batch.column_by_name("natural").unwrap().as_boolean().iter().map(|v| v == Some(true)).collect();
    let texts: Vec<&str> = left.iter().chain(&right).map(String::as_str).collect();
    let vectors = embed(model, &texts);
    let cosine = |row: usize| f64::from(dot(&vectors[row], &vectors[row + left.len()]));
    let rows = |keep: &dyn Fn(usize) -> bool| (0..left.len()).filter(|&row| keep(row)).collect::<Vec<_>>();
    let of_natural = rows(&|row| natural[row]);
    (
        of_natural.iter().map(|&row| cosine(row)).collect(),
        of_natural.iter().map(|&row| label[row]).collect(),
        rows(&|row| label[row]).iter().map(|&row| cosine(row)).collect(),
    )
}

#[test]
fn the_built_in_bi_encoder_has_the_floor_and_threshold_that_were_measured() {
    let Some(dev) = shared("data/qqp/dev.parquet") else { return };
    let (scores, labels, duplicates) = dev_cosines(&BI_ENCODER, &dev);
    let fitted = platt::fit(&labels, &scores).unwrap();
    let probabilities: Vec<f64> = scores.iter().map(|&cosine| fitted.probability(cosine)).collect();
    let threshold = expected_f1::threshold(&scores, &probabilities).unwrap();
    let mut sorted = duplicates;
    sorted.sort_by(f64::total_cmp);
    let floor = sorted[sorted.len() / 100];
    println!("best expected F1 on dev from {threshold}; 99 % of dev's duplicates lie above {floor}");
    let written = calibration::read(&BI_ENCODER).unwrap().cosine.unwrap();
    assert!((f64::from(written.threshold) - threshold).abs() < 0.002, "dupmine.json says {written:?}, dev {threshold}");
    assert!((f64::from(written.floor) - floor).abs() < 0.005, "dupmine.json says {written:?}, dev {floor}");
}

#[test]
fn a_compressed_model_mines_the_same_fixture_pairs() {
    let work = folder();
    let small = work.path().join("small");
    let tiny = repo("fixtures/models/tiny-bert");
    let output = mine(&["models", "compress", "--input", text(&tiny), "--output", text(&small)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let size = |folder: &Path| std::fs::metadata(folder.join("model.safetensors")).unwrap().len();
    assert!(size(&small) < size(&tiny) * 2 / 5, "{} against {}", size(&small), size(&tiny));

    let texts = ["How do I learn the guitar?", "What is the best way to cook rice", "why is the sky blue?"];
    let open = |path: &Path| ModelFolder::open(path).unwrap();
    for (a, b) in embed(&open(&small), &texts).iter().zip(&embed(&open(&tiny), &texts)) {
        assert!(dot(a, b) > 0.999, "{}", dot(a, b));
    }
    let fewer = work.path().join("fewer");
    let bits = ["--bits", "6", "--token-bits", "4", "--separate-tokens"];
    crate::support::mine_ok(
        &[&["models", "compress", "--input", text(&tiny), "--output", text(&fewer)], &bits[..]].concat(),
    );
    let shown = String::from_utf8(mine(&["models", "show", text(&fewer)]).stdout).unwrap();
    let parameters = |shown: &str| shown.lines().find(|line| line.starts_with("weights")).unwrap().to_string();
    assert!(shown.contains("4 bits and 6 bits"), "{shown}");
    let whole = String::from_utf8(mine(&["models", "show", text(&tiny)]).stdout).unwrap();
    assert_eq!(parameters(&shown).split(',').next(), parameters(&whole).split(',').next());
    for (a, b) in embed(&open(&fewer), &texts).iter().zip(&embed(&open(&tiny), &texts)) {
        assert!((0.9..0.999_999).contains(&dot(a, b)), "{}", dot(a, b));
    }
    let error = mine_fails(&["models", "compress", "--input", text(&tiny), "--output", text(&small)], 1);
    assert!(error.contains("exists already") && error.contains("hint:"), "{error}");
}

#[test]
fn show_prints_what_a_folder_holds() {
    let show = |folder: &str| String::from_utf8(mine(&["models", "show", folder]).stdout).unwrap();
    let tiny = show(text(&repo("fixtures/models/tiny-bert-cross")));
    assert!(tiny.contains("calibration  none (no dupmine.json)"), "{tiny}");
    assert!(tiny.contains("cross-encoder") && tiny.contains("2 layers, hidden 32, 4 heads"), "{tiny}");
    for (name, kind, parameters) in
        [("built-in", "bi-encoder", "22565376"), ("built-in-cross-encoder", "cross-encoder", "22713601")]
    {
        let shown = show(name);
        assert!(shown.contains(kind) && shown.contains("4 bits") && shown.contains(parameters), "{shown}");
        assert!(!shown.contains("no dupmine.json"), "{shown}");
    }
}

#[test]
fn the_built_in_models_were_measured_together() {
    let decision = calibration::read(&CROSS_ENCODER).unwrap().decision(&BI_ENCODER.fingerprint().unwrap()).unwrap();
    assert!(decision.cosine_weight > 1.0, "{decision:?}");
    let alone = calibration::read(&CROSS_ENCODER).unwrap().decision("another bi-encoder").unwrap();
    assert_eq!(alone.cosine_weight, 0.0);
}

/// Weights whose every failure must name the file and what was expected.
#[test]
fn broken_model_folders_get_one_clear_error() {
    let work = folder();
    let copy = |name: &str| {
        let to = work.path().join(name);
        std::fs::create_dir_all(to.join("1_Pooling")).unwrap();
        for file in [
            "config.json",
            "modules.json",
            "sentence_bert_config.json",
            "tokenizer.json",
            "model.safetensors",
            "1_Pooling/config.json",
        ] {
            std::fs::copy(repo("fixtures/models/tiny-bert").join(file), to.join(file)).unwrap();
        }
        to
    };
    let fails_with = |model: &Path, code: i32| {
        let (input, output) = (repo("fixtures/questions.parquet"), work.path().join("out"));
        mine_fails(
            &[
                "--input",
                text(&input),
                "--output",
                text(&output),
                "--bi-encoder",
                text(model),
                "--min-cosine",
                "0.7",
                "--threshold",
                "0.8",
            ],
            code,
        )
    };
    let fails = |model: &Path| fails_with(model, 1);
    let missing = fails_with(Path::new("/no/such/model"), 2);
    assert!(missing.contains("/no/such/model") && missing.contains("hint:"), "{missing}");

    let cut = copy("cut");
    let bytes = std::fs::read(cut.join("model.safetensors")).unwrap();
    std::fs::write(cut.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(fails(&cut).contains("cut/model.safetensors: not a readable safetensors file: it is cut off: "));

    let wide = copy("wide");
    let config = std::fs::read_to_string(wide.join("config.json")).unwrap();
    std::fs::write(wide.join("config.json"), config.replace("\"intermediate_size\": 64", "\"intermediate_size\": 65"))
        .unwrap();
    let error = fails(&wide);
    assert!(
        error.contains("intermediate.dense.weight") && error.contains("[64, 32]") && error.contains("[65, 32]"),
        "{error}"
    );

    let pickle = copy("pickle");
    std::fs::rename(pickle.join("model.safetensors"), pickle.join("pytorch_model.bin")).unwrap();
    assert!(fails(&pickle).contains("hint: convert it once"));

    let no_config = copy("no-config");
    std::fs::remove_file(no_config.join("config.json")).unwrap();
    assert!(fails(&no_config).contains("no-config/config.json is missing"));

    let other = copy("other");
    std::fs::write(other.join("config.json"), config.replace("\"model_type\": \"bert\"", "\"model_type\": \"gpt2\""))
        .unwrap();
    assert!(fails(&other).contains("model_type \"gpt2\" is not supported"));
}
