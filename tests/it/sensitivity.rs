//! `mine models compress` finds the layers that lose too much in 8 bits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dupmine::device::plain_cpu;
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::network::precision::Precision;
use dupmine::search::dot::dot;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::support::{folder, mine, mine_fails, mine_ok, repo, text};

/// A tiny model with a second layer one of whose 64 inner values is far from all others, and read by nothing.
fn with_an_outlier(name: &str, work: &Path) -> PathBuf {
    let (from, to) = (repo("fixtures/models").join(name), work.join(name));
    for entry in walk(&from) {
        let target = to.join(entry.strip_prefix(&from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&entry, target).unwrap();
    }
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut data: BTreeMap<String, Vec<u8>> =
        file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
    for (name, bytes) in &mut data {
        if name.ends_with("encoder.layer.1.intermediate.dense.bias") {
            bytes[..4].copy_from_slice(&3000.0f32.to_le_bytes());
        }
        if name.ends_with("encoder.layer.1.output.dense.weight") {
            let width = file.tensor(name).unwrap().shape()[1];
            bytes.chunks_exact_mut(width * 4).for_each(|row| row[..4].fill(0));
        }
    }
    let views = data.iter().map(|(name, bytes)| {
        let view = file.tensor(name).unwrap();
        (name, TensorView::new(view.dtype(), view.shape().to_vec(), bytes).unwrap())
    });
    std::fs::write(to.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    to
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The lowest cosine between vectors of the model in f32 and in 8 bits.
fn lowest_cosine(model: &Path) -> f32 {
    let texts = ["How do I learn the guitar?", "What is the best way to cook rice", "why is the sky blue?"];
    let folder = ModelFolder::open(model).unwrap();
    let embed = |precision: Precision| {
        let model = BiEncoder::load(&folder, &plain_cpu()).unwrap().for_inference(precision);
        let tokens = model.tokenizer.tokenize(&texts).unwrap();
        let vectors = model.embed(&[tokens.ids(0), tokens.ids(1), tokens.ids(2)]).unwrap();
        vectors.chunks_exact(model.dimensions()).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let cosines = embed(Precision::F32).iter().zip(&embed(Precision::Int8)).map(|(a, b)| dot(a, b)).collect::<Vec<_>>();
    cosines.into_iter().fold(1.0, f32::min)
}

#[test]
fn a_layer_that_loses_too_much_in_8_bits_stays_in_f32() {
    let work = folder();
    let (model, small) = (with_an_outlier("tiny-bert", work.path()), work.path().join("small"));
    let before = lowest_cosine(&model);
    assert!(before < 0.99, "the layer loses nothing: {before}");
    let output = mine(&["models", "compress", "--input", text(&model), "--output", text(&small)]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("layers [1], counted from 0, stay in f32"), "{said}");
    let after = lowest_cosine(&small);
    assert!(after > 0.999, "{after}");
    let shown = String::from_utf8(mine(&["models", "show", text(&small)]).stdout).unwrap();
    assert!(shown.contains("in f32       layers [1]"), "{shown}");

    // what the head of a cross-encoder reads
    let (model, small) = (with_an_outlier("tiny-bert-cross", work.path()), work.path().join("small-cross"));
    let said = mine(&["models", "compress", "--input", text(&model), "--output", text(&small)]).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("layers [1], counted from 0, stay in f32"), "{said}");
}

#[test]
fn a_model_that_loses_little_keeps_its_configuration_and_loses_an_older_list() {
    let work = folder();
    let (tiny, copy, again) = (repo("fixtures/models/tiny-bert"), work.path().join("copy"), work.path().join("again"));
    mine_ok(&["models", "compress", "--input", text(&tiny), "--output", text(&copy)]);
    let config = |folder: &Path| std::fs::read_to_string(folder.join("config.json")).unwrap();
    assert_eq!(config(&copy), config(&tiny));
    std::fs::write(copy.join("config.json"), with_list(&copy, "[0, 1]")).unwrap();
    mine_ok(&["models", "compress", "--input", text(&copy), "--output", text(&again)]);
    assert!(!config(&again).contains("f32_layers"));
}

fn with_list(model: &Path, list: &str) -> String {
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    config.replacen('{', &format!("{{\"f32_layers\": {list},"), 1)
}

#[test]
fn a_list_of_layers_that_the_model_does_not_have_is_refused() {
    let work = folder();
    let model = with_an_outlier("tiny-bert", work.path());
    let lists = ["[\"first\"]", "[2]"].map(|list| (list, with_list(&model, list)));
    for (list, config) in lists {
        std::fs::write(model.join("config.json"), config).unwrap();
        let error =
            mine_fails(&["models", "export", "--input", text(&model), "--output", text(&work.path().join("x"))], 1);
        assert!(error.contains(&format!("f32_layers is {list}, expected a list of whole numbers below 2")), "{error}");
    }
}
