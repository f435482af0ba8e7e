//! Every family, pooling and head against the Python originals: `fixtures/make_families.py` says what is what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::optim::GradientsParams;
use burn::tensor::Device;
use dupmine::models::bi_encoder::{BiEncoder, warning};
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::cross_encoder::CrossEncoder;
use dupmine::models::kernels::bf16;
use dupmine::models::network::dense::Activation;
use dupmine::models::network::precision::Precision;
use dupmine::models::network::token_batch::TokenBatch;
use dupmine::models::siamese::SiameseClassifier;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{copy_folder, folder, repo, text};

const TOLERANCE: f32 = 2e-5;
const HIDDEN: usize = 32;
const FAMILIES: [&str; 4] = ["bert", "roberta", "distilbert", "mpnet"];
const MODES: [&str; 6] = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"];

#[derive(Deserialize)]
struct Reference {
    texts: Vec<String>,
    pairs: Vec<(String, String)>,
    prompt: String,
    #[serde(flatten)]
    values: BTreeMap<String, Value>,
}

impl Reference {
    fn read() -> Self {
        serde_json::from_slice(&std::fs::read(repo("fixtures/reference/families.json")).unwrap()).unwrap()
    }

    fn rows(&self, name: &str) -> Vec<Vec<f32>> {
        serde_json::from_value(self.values[name].clone()).unwrap()
    }
}

fn checkpoint(name: &str) -> PathBuf {
    repo("fixtures/models/families").join(name)
}

/// A copy of a checkpoint with `overlay` laid over it.
fn laid(work: &Path, family: &str, overlay: Option<&str>) -> PathBuf {
    let to = work.join(family);
    copy_folder(&checkpoint(family), &to);
    if let Some(overlay) = overlay {
        copy_folder(&checkpoint(overlay), &to);
    }
    to
}

fn write(path: &Path, value: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

/// Lays Transformer and a pooling over a checkpoint, as the old layout or the new.
fn pool(model: &Path, pooling: &Value) {
    let kinds = ["Transformer", "Pooling"];
    let entry = |(at, kind): (usize, &str)| {
        json!({ "type": format!("sentence_transformers.models.{kind}"),
        "path": if at == 0 { String::new() } else { format!("{at}_{kind}") } })
    };
    write(&model.join("modules.json"), &kinds.into_iter().enumerate().map(entry).collect());
    write(&model.join("1_Pooling/config.json"), pooling);
}

fn bi_encoder(path: &Path) -> BiEncoder {
    BiEncoder::load(&ModelFolder::open(path).unwrap(), &Device::flex()).unwrap()
}

/// Vectors before the last normalisation: of all texts in one batch, and of each alone.
fn forward(model: &BiEncoder, texts: &[String]) -> [Vec<Vec<f32>>; 2] {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokenized = model.tokenizer.tokenize(&texts).unwrap();
    let rows: Vec<&[u32]> = (0..texts.len()).map(|at| tokenized.ids(at)).collect();
    let run = |rows: &[&[u32]]| -> Vec<Vec<f32>> {
        let batch = TokenBatch::new(rows.iter().map(|&ids| (ids, [].as_slice())));
        let values: Vec<f32> = model.model.forward(&batch).into_data().try_into_vec().unwrap();
        values.chunks(model.dimensions()).map(<[f32]>::to_vec).collect()
    };
    [run(&rows), rows.iter().flat_map(|row| run(&[row])).collect()]
}

fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what}");
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // a sum of 512 tokens over the root of 512 is a number of another size
        let scale = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
        assert!(worst <= TOLERANCE * scale, "{what}, row {row}: {worst}");
    }
}

#[test]
fn every_pooling_of_every_family_matches_python() {
    let reference = Reference::read();
    for family in FAMILIES {
        let work = folder();
        let model = laid(work.path(), family, None);
        let expected = reference.rows(&format!("{family}.pooled"));
        pool(&model, &json!({ "embedding_dimension": HIDDEN, "pooling_mode": MODES }));
        let loaded = bi_encoder(&model);
        assert_eq!(loaded.tokenizer.max_tokens(), 512);
        let longest = loaded.tokenizer.tokenize(&[&reference.texts[8]]).unwrap();
        assert_eq!((longest.lengths(), longest.truncated), (vec![512], vec![0]));
        let [together, alone] = forward(&loaded, &reference.texts);
        assert_close(&together, &expected, &format!("{family} concatenated"));
        assert_close(&alone, &expected, &format!("{family} concatenated, alone"));
        for (at, mode) in MODES.into_iter().enumerate() {
            pool(&model, &json!({ "word_embedding_dimension": HIDDEN, "pooling_mode": mode }));
            let slice: Vec<Vec<f32>> =
                expected.iter().map(|row| row[at * HIDDEN..(at + 1) * HIDDEN].to_vec()).collect();
            assert_close(&forward(&bi_encoder(&model), &reference.texts)[0], &slice, &format!("{family} {mode}"));
        }
    }
}

/// Burn's own operations, which other devices and training use, against the same reference; and a gradient everywhere.
#[test]
fn every_family_trains_with_the_same_numbers() {
    let reference = Reference::read();
    // two or three tables, their norm, two layers of six linears and two norms, and MPNet's bias
    for (family, parameters) in [("bert", 37), ("roberta", 37), ("distilbert", 36), ("mpnet", 37)] {
        let work = folder();
        let path = laid(work.path(), family, None);
        pool(&path, &json!({ "pooling_mode": MODES }));
        let source = ModelFolder::open(&path).unwrap();
        let mut model = BiEncoder::load(&source, &Device::flex().autodiff()).unwrap();
        model.model = model.model.with_dropout(0.0);
        let expected = reference.rows(&format!("{family}.pooled"));
        assert_close(&forward(&model, &reference.texts[..8])[0], &expected[..8], &format!("{family} under autodiff"));

        let ids = model.tokenizer.tokenize(&["how do you learn", "a"]).unwrap();
        let batch = TokenBatch::new([ids.ids(0), ids.ids(1)].into_iter().map(|ids| (ids, [].as_slice())));
        let gradients = model.model.unit_vectors(&batch).powi_scalar(3).sum().backward();
        assert_eq!(GradientsParams::from_grads(gradients, &model.model).len(), parameters, "{family}");

        let cross = CrossEncoder::load(&source, &Device::flex().autodiff()).unwrap();
        let gradients = cross.model.forward(&batch).sum().backward();
        assert_eq!(GradientsParams::from_grads(gradients, &cross.model).len(), parameters + 4, "{family}");
    }
}

#[test]
fn the_old_layout_concatenates_in_its_own_order() {
    let (work, reference) = (folder(), Reference::read());
    let model = laid(work.path(), "distilbert", None);
    let on = |key: &str| json!({ "pooling_mode_mean_tokens": true, key: true });
    pool(&model, &on("pooling_mode_cls_token"));
    let pooled = reference.rows("distilbert.pooled");
    let expected: Vec<Vec<f32>> = pooled.iter().map(|row| [&row[..HIDDEN], &row[64..96]].concat()).collect();
    assert_close(&forward(&bi_encoder(&model), &reference.texts)[0], &expected, "cls and mean");
    // a folder without modules is pooled by the mean, as in Python, unless it says that it is a cross-encoder
    std::fs::remove_file(model.join("modules.json")).unwrap();
    let refused = BiEncoder::load(&ModelFolder::open(&model).unwrap(), &Device::flex()).err().unwrap();
    assert!(refused.to_string().contains("is a cross-encoder"), "{refused}");
    edit(&model.join("config.json"), "architectures", json!(["DistilBertModel"]));
    let expected: Vec<Vec<f32>> = pooled.iter().map(|row| row[64..96].to_vec()).collect();
    assert_close(&forward(&bi_encoder(&model), &reference.texts)[0], &expected, "no modules");
}

fn edit(path: &Path, key: &str, value: Value) {
    let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    json[key] = value;
    write(path, &json);
}

#[test]
fn a_prompt_that_pooling_leaves_out_matches_python() {
    let reference = Reference::read();
    for family in FAMILIES {
        let work = folder();
        let model = laid(work.path(), family, None);
        pool(&model, &json!({ "pooling_mode": MODES, "include_prompt": false }));
        let prompts = json!({ "prompts": { "query": reference.prompt, "other": "no: " },
            "default_prompt_name": "query", "similarity_fn_name": "dot" });
        write(&model.join("config_sentence_transformers.json"), &prompts);
        let loaded = bi_encoder(&model);
        assert!(warning(&loaded.source).unwrap().unwrap().contains("dot product"));
        let expected = reference.rows(&format!("{family}.prompted"));
        let [together, alone] = forward(&loaded, &reference.texts[..expected.len()]);
        assert_close(&together, &expected, &format!("{family} prompted"));
        assert_close(&alone, &expected, &format!("{family} prompted, alone"));
    }
}

#[test]
fn dense_layers_match_python() {
    let (work, reference) = (folder(), Reference::read());
    let model = bi_encoder(&laid(work.path(), "bert", Some("dense")));
    assert_eq!(model.dimensions(), 8);
    let tokenized = model.tokenizer.tokenize(&reference.texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let rows: Vec<&[u32]> = (0..reference.texts.len()).map(|at| tokenized.ids(at)).collect();
    let vectors: Vec<Vec<f32>> = model.embed(&rows).unwrap().chunks(8).map(<[f32]>::to_vec).collect();
    assert_close(&vectors, &reference.rows("dense"), "dense");
}

#[test]
fn dense_layers_that_add_their_input_match_python() {
    let (work, reference) = (folder(), Reference::read());
    let path = laid(work.path(), "bert", Some("residual"));
    let saved = work.path().join("saved");
    let exported = crate::support::mine(&["models", "export", "--input", text(&path), "--output", text(&saved)]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    for path in [path, saved] {
        let [together, alone] = forward(&bi_encoder(&path), &reference.texts);
        assert_close(&together, &reference.rows("residual"), "residual");
        assert_close(&alone, &reference.rows("residual"), "residual, alone");
    }
}

#[test]
fn truncated_vectors_are_the_first_components() {
    let (work, reference) = (folder(), Reference::read());
    let path = laid(work.path(), "bert", None);
    pool(&path, &json!({ "pooling_mode": MODES }));
    write(&path.join("config_sentence_transformers.json"), &json!({ "truncate_dim": 5 }));
    let expected: Vec<Vec<f32>> = reference.rows("bert.pooled").iter().map(|row| row[..5].to_vec()).collect();
    assert_close(&forward(&bi_encoder(&path), &reference.texts)[0], &expected, "truncated");
}

#[test]
fn cross_encoders_of_every_family_match_python() {
    let reference = Reference::read();
    let pairs: Vec<(&str, &str)> = reference.pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    for family in FAMILIES {
        let model = CrossEncoder::load(&ModelFolder::open(&checkpoint(family)).unwrap(), &Device::flex()).unwrap();
        let activation = if family == "distilbert" { Activation::Identity } else { Activation::Sigmoid };
        assert_eq!(model.activation, activation, "{family}");
        let tokenized = model.tokenizer.tokenize_pairs(&pairs).unwrap();
        assert_eq!(tokenized.iter().map(|pair| pair.ids.len()).max(), Some(512), "{family}");
        let expected: Vec<f32> = serde_json::from_value(reference.values[&format!("{family}.logits")].clone()).unwrap();
        let together = model.logits(&tokenized.iter().collect::<Vec<_>>()).unwrap();
        let alone: Vec<f32> = tokenized.iter().flat_map(|pair| model.logits(&[pair]).unwrap()).collect();
        assert_close(&[together], std::slice::from_ref(&expected), &format!("{family} logits"));
        assert_close(&[alone], &[expected], &format!("{family} logits, alone"));
    }
}

/// The first token alone, texts of one token and of 512, padding, MPNet's bias: what differs between families, in 8 bits.
#[test]
fn every_family_computes_in_eight_bits_and_in_bf16() {
    let reference = Reference::read();
    let formats: &[Precision] = if bf16::is_fast() { &[Precision::Int8, Precision::Bf16] } else { &[Precision::Int8] };
    for (family, format) in FAMILIES.into_iter().flat_map(|family| formats.iter().map(move |&format| (family, format)))
    {
        let work = folder();
        let model = laid(work.path(), family, None);
        pool(&model, &json!({ "word_embedding_dimension": HIDDEN, "pooling_mode": "mean" }));
        let exact = bi_encoder(&model);
        let coarse = bi_encoder(&model).for_inference(format);
        let [expected, _] = forward(&exact, &reference.texts);
        let [together, alone] = forward(&coarse, &reference.texts);
        assert_eq!(together, alone, "{family}: a row does not depend on the rest of its batch");
        for (row, (found, expected)) in together.iter().zip(&expected).enumerate() {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt();
            assert!(cosine > 0.995, "{family}, {format:?}, row {row}: {cosine}");
            assert_ne!(found, expected, "{family}, row {row}");
        }
        let pairs: Vec<(&str, &str)> = reference.pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let logits = |precision: Precision| {
            let model = CrossEncoder::load(&ModelFolder::open(&checkpoint(family)).unwrap(), &Device::flex()).unwrap();
            let model = model.for_inference(precision);
            let tokenized = model.tokenizer.tokenize_pairs(&pairs).unwrap();
            model.logits(&tokenized.iter().collect::<Vec<_>>()).unwrap()
        };
        for (exact, coarse) in logits(Precision::F32).iter().zip(logits(format)) {
            assert!((exact - coarse).abs() < 0.1, "{family}: {exact} and {coarse}");
        }
    }
}

#[test]
fn a_cross_encoder_of_the_new_layout_is_the_same() {
    let work = folder();
    let model = laid(work.path(), "roberta", Some("cross-new"));
    edit(&model.join("config.json"), "sentence_transformers", Value::Null);
    // XLM-R is RoBERTa under another name
    edit(&model.join("config.json"), "model_type", json!("xlm-roberta"));
    edit(&model.join("config_sentence_transformers.json"), "activation_fn", json!("torch.nn.Identity"));
    let load = |path: &Path| CrossEncoder::load(&ModelFolder::open(path).unwrap(), &Device::flex()).unwrap();
    let (new, old) = (load(&model), load(&checkpoint("roberta")));
    assert_eq!((new.activation, old.activation), (Activation::Identity, Activation::Sigmoid));
    let pairs = new.tokenizer.tokenize_pairs(&[("a b", "c"), ("d", "")]).unwrap();
    let pairs: Vec<_> = pairs.iter().collect();
    assert_eq!(new.logits(&pairs).unwrap(), old.logits(&pairs).unwrap());
}

#[test]
fn the_siamese_head_matches_python() {
    let (work, reference) = (folder(), Reference::read());
    let path = laid(work.path(), "distilbert", Some("siamese"));
    pool(&path, &json!({ "pooling_mode_cls_token": true }));
    let saved = work.path().join("saved");
    SiameseClassifier::load(&ModelFolder::open(&path).unwrap(), &Device::flex()).unwrap().save(&saved).unwrap();
    for path in [&path, &saved] {
        let model = SiameseClassifier::load(&ModelFolder::open(path).unwrap(), &Device::flex()).unwrap();
        let side = |of: fn(&(String, String)) -> &String| {
            let texts: Vec<&str> = reference.pairs.iter().map(|pair| of(pair).as_str()).collect();
            model.bi_encoder.tokenizer.tokenize(&texts).unwrap()
        };
        let (first, second) = (side(|pair| &pair.0), side(|pair| &pair.1));
        let rows = (0..reference.pairs.len()).map(|at| (first.ids(at), second.ids(at)));
        let (first, second): (Vec<&[u32]>, Vec<&[u32]>) = rows.unzip();
        let logs: Vec<f32> = reference.rows("siamese").iter().map(|classes| classes[1].exp()).collect();
        assert_close(&[model.probabilities(&first, &second).unwrap()], &[logs], "siamese");
    }
}

#[test]
fn tokenizers_are_built_from_vocabulary_files() {
    let reference = Reference::read();
    for family in FAMILIES {
        let work = folder();
        let model = laid(work.path(), family, None);
        pool(&model, &json!({ "pooling_mode": "cls" }));
        std::fs::remove_file(model.join("tokenizer.json")).unwrap();
        let expected: Vec<Vec<u32>> =
            serde_json::from_value(reference.values[&format!("{family}.vocabulary_ids")].clone()).unwrap();
        let loaded = bi_encoder(&model);
        let texts: Vec<&str> = reference.texts[..expected.len()].iter().map(String::as_str).collect();
        let tokenized = loaded.tokenizer.tokenize(&texts).unwrap();
        let found: Vec<Vec<u32>> = (0..texts.len()).map(|at| tokenized.ids(at).to_vec()).collect();
        assert_eq!(found, expected, "{family}");
    }
}

#[test]
fn do_lower_case_goes_before_the_normaliser() {
    let work = folder();
    let model = laid(work.path(), "roberta", None);
    pool(&model, &json!({ "pooling_mode": "cls" }));
    let ids = |text: &str| bi_encoder(&model).tokenizer.tokenize(&[text]).unwrap().ids(0).to_vec();
    assert_ne!(ids("HOW do I"), ids("how do i"));
    write(&model.join("sentence_roberta_config.json"), &json!({ "max_seq_length": 8, "do_lower_case": true }));
    assert_eq!(ids("HOW do I"), ids("how do i"));
    assert_eq!(ids("how do you learn the best rice and more").len(), 8);
}
