//! Model folders that were crafted or damaged: one error, never a crash, never a read outside the folder.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burn::tensor::Device;
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::compress::{Storage, compress};
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::checkpoint::quantised::Bits;
use dupmine::models::cross_encoder::CrossEncoder;
use dupmine::models::siamese::{HeadConfig, SiameseClassifier, SiameseHead};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{copy_folder, folder, mine_fails, repo, text};

/// A small model of every part: dense layers, a siamese head over them, a prompt and a length limit.
static WHOLE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let (work, families) = (folder(), repo("fixtures/models/families"));
    let model = work.path().join("model");
    copy_folder(&families.join("bert"), &model);
    copy_folder(&families.join("dense"), &model);
    let prompts = json!({ "query": "ask: " });
    let settings = json!({ "prompts": prompts, "default_prompt_name": "query", "similarity_fn_name": "dot" });
    std::fs::write(model.join("config_sentence_transformers.json"), settings.to_string()).unwrap();
    let limits = json!({ "max_seq_length": 16, "do_lower_case": true });
    std::fs::write(model.join("sentence_bert_config.json"), limits.to_string()).unwrap();

    let bi_encoder = BiEncoder::load(&ModelFolder::open(&model).unwrap(), &Device::flex()).unwrap();
    let config = HeadConfig { hidden_sizes: vec![20, 12], ..HeadConfig::default() };
    let head = SiameseHead::new(config, bi_encoder.dimensions(), 1, &Device::flex()).unwrap();
    let siamese = work.path().join("siamese");
    SiameseClassifier { bi_encoder, head }.save(&siamese).unwrap();
    copy_folder(&siamese.join("siamese_head"), &model.join("siamese_head"));
    work
});

/// The same in 4 and 6 bits.
static PACKED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let work = folder();
    let storage = Storage { bits: Bits { token_table: 4, others: 6 }, separate_tokens: true };
    let whole = ModelFolder::open(&WHOLE.path().join("model")).unwrap();
    compress(&whole, &work.path().join("model"), storage, || Ok(Vec::new())).unwrap();
    work
});

/// A copy of it to damage.
fn whole(work: &Path) -> PathBuf {
    let to = work.join("model");
    copy_folder(&WHOLE.path().join("model"), &to);
    to
}

/// Loads and uses the model as everything it can be; what it says does not matter here, that it returns does.
fn use_model(path: &Path) -> Vec<String> {
    let mut errors = Vec::new();
    let folder = match ModelFolder::open(path) {
        Ok(folder) => folder,
        Err(error) => return vec![format!("{error:#}")],
    };
    let mut run = |result: anyhow::Result<()>| errors.extend(result.err().map(|error| format!("{error:#}")));
    run(folder.fingerprint().map(drop));
    run(BiEncoder::load(&folder, &Device::flex()).and_then(|model| {
        let tokenized = model.tokenizer.tokenize(&["what is [MASK] rice?", ""])?;
        model.embed(&[tokenized.ids(0), tokenized.ids(1)]).map(drop)
    }));
    run(CrossEncoder::load(&folder, &Device::flex()).and_then(|model| {
        let pairs = model.tokenizer.tokenize_pairs(&[("what is", "rice"), ("", "")])?;
        model.logits(&pairs.iter().collect::<Vec<_>>()).map(drop)
    }));
    run(SiameseClassifier::load(&folder, &Device::flex()).map(drop));
    errors
}

fn in_place(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Every place in a JSON value, as a pointer.
fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().take(40).for_each(|(key, value)| pointers(value, format!("{at}/{key}"), found));
        }
        Value::Array(all) => {
            all.iter().take(10).enumerate().for_each(|(key, value)| pointers(value, format!("{at}/{key}"), found));
        }
        _ => {}
    }
    found.push(at);
}

fn odd_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(3),
        json!(2147483647),
        json!(4294967295u32),
        json!(u64::MAX),
        json!(1e300),
        json!(0.5),
        json!(""),
        json!("../../x"),
        json!("/etc"),
        json!("\u{0}"),
        json!([]),
        json!({}),
        json!([[[[1]]]]),
    ]
}

const JSON_FILES: [&str; 8] = [
    "config.json",
    "modules.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "2_Dense/config.json",
    "siamese_head/config.json",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_never_crash(
        file in prop::sample::select(vec!["model.safetensors", "5_Dense/model.safetensors", "tokenizer.json", "config.json"]),
        changes in prop::collection::vec((0usize..6000, any::<u8>()), 1..6),
        cut in prop::option::of(0usize..8000),
    ) {
        let work = folder();
        let model = whole(work.path());
        in_place(&model.join(file), |bytes| {
            let length = bytes.len();
            changes.iter().for_each(|&(at, value)| bytes[at % length] = value);
            bytes.truncate(cut.unwrap_or(length));
        });
        use_model(&model);
    }

    #[test]
    fn damaged_packed_weights_never_crash(
        file in prop::sample::select(vec!["model-tokens.safetensors", "model-layers.safetensors", "model.safetensors.index.json"]),
        changes in prop::collection::vec((0usize..6000, any::<u8>()), 1..6),
    ) {
        let work = folder();
        let model = work.path().join("model");
        copy_folder(&PACKED.path().join("model"), &model);
        in_place(&model.join(file), |bytes| {
            let length = bytes.len();
            changes.iter().for_each(|&(at, value)| bytes[at % length] = value);
        });
        use_model(&model);
    }

    #[test]
    fn odd_values_never_crash(
        file in prop::sample::select(JSON_FILES.to_vec()),
        place in any::<prop::sample::Index>(),
        value in prop::sample::select(odd_values()),
        without_tokenizer in any::<bool>(),
    ) {
        let work = folder();
        let model = whole(work.path());
        let mut json: Value = serde_json::from_slice(&std::fs::read(model.join(file)).unwrap()).unwrap();
        let mut places = Vec::new();
        pointers(&json, String::new(), &mut places);
        *json.pointer_mut(&places[place.index(places.len())]).unwrap() = value;
        std::fs::write(model.join(file), json.to_string()).unwrap();
        if without_tokenizer && file != "tokenizer.json" {
            std::fs::remove_file(model.join("tokenizer.json")).unwrap();
        }
        use_model(&model);
    }
}

#[test]
fn the_model_that_is_damaged_is_sound() {
    let work = folder();
    assert_eq!(use_model(&whole(work.path())), Vec::<String>::new());
    assert_eq!(use_model(&PACKED.path().join("model")), Vec::<String>::new());
}

/// A safetensors file with `header`, and `data` bytes behind it.
fn tensor_file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn lying_headers_are_refused() {
    let deep = "[".repeat(200_000);
    let name = "bert.embeddings.word_embeddings.weight";
    let tensor = |shape: &str, offsets: &str| {
        format!("{{\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let overlap = format!(
        "{{\"{name}\":{{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}},\
         \"b\":{{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[8,24]}}}}"
    );
    let huge_length = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    for (what, bytes) in [
        ("header length", huge_length),
        ("empty", Vec::new()),
        ("overlap", tensor_file(&overlap, 24)),
        ("huge shape", tensor_file(&tensor("[4294967296,4294967296]", "[0,16]"), 16)),
        ("beyond the end", tensor_file(&tensor("[4]", "[0,16]"), 8)),
        ("deep", tensor_file(&deep, 0)),
    ] {
        let work = folder();
        let model = whole(work.path());
        std::fs::write(model.join("model.safetensors"), bytes).unwrap();
        let errors = use_model(&model);
        let found = errors.iter().filter(|e| e.contains("model.safetensors: not a readable safetensors file")).count();
        assert_eq!(found, 3, "{what}: {errors:?}");
    }
    for (kept, said) in [(4, ""), (100, "it is cut off: 100 of "), (5000, "it is cut off: 5000 of ")] {
        let work = folder();
        let model = whole(work.path());
        in_place(&model.join("model.safetensors"), |bytes| bytes.truncate(kept));
        let whole = format!("{} bytes", std::fs::metadata(WHOLE.path().join("model/model.safetensors")).unwrap().len());
        let errors = use_model(&model);
        let is_said = |error: &&String| error.contains(said) && (kept < 5000 || error.ends_with(&whole));
        assert_eq!(errors.iter().filter(is_said).count(), 3, "{kept}: {errors:?}");
    }
    let work = folder();
    let model = whole(work.path());
    std::fs::write(model.join("config.json"), &deep).unwrap();
    assert!(use_model(&model).iter().all(|error| error.contains("model/config.json: recursion limit exceeded")));
}

#[test]
fn nothing_outside_the_folder_is_read() {
    let outside = folder();
    let weights = outside.path().join("stolen.safetensors");
    std::fs::copy(repo("fixtures/models/families/bert/model.safetensors"), &weights).unwrap();
    let shard_names = [text(&weights).to_string(), "../stolen.safetensors".into(), "a/../../stolen.safetensors".into()];
    for shard in shard_names {
        let model = whole(outside.path());
        std::fs::remove_file(model.join("model.safetensors")).unwrap();
        let index = json!({ "weight_map": { "bert.embeddings.LayerNorm.weight": shard } });
        std::fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
        let errors = use_model(&model);
        assert!(errors.iter().all(|error| error.contains("is not the name of a safetensors file")), "{errors:?}");
        std::fs::remove_dir_all(&model).unwrap();
    }
    for path in ["../pool", "/pool", "a/../../pool"] {
        let model = whole(outside.path());
        let modules = json!([{ "type": "models.Transformer", "path": "" }, { "type": "models.Pooling", "path": path }]);
        std::fs::write(model.join("modules.json"), modules.to_string()).unwrap();
        let errors = use_model(&model);
        assert!(errors.iter().any(|error| error.contains("leads out of the model folder")), "{errors:?}");
    }
}

#[cfg(unix)]
#[test]
fn links_stay_in_the_folder_or_in_the_hub_cache() {
    use std::os::unix::fs::symlink;
    let work = folder();
    let model = whole(work.path());
    let secret = work.path().join("secret");
    std::fs::rename(model.join("model.safetensors"), &secret).unwrap();
    symlink(&secret, model.join("model.safetensors")).unwrap();
    assert!(use_model(&model).iter().all(|error| error.contains("leads out of the model folder")));

    // the cache of huggingface_hub: snapshots are links into blobs
    let (blobs, snapshot) = (work.path().join("m/blobs"), work.path().join("m/snapshots/abc"));
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::rename(&secret, blobs.join("123")).unwrap();
    std::fs::remove_file(model.join("model.safetensors")).unwrap();
    std::fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
    std::fs::rename(&model, &snapshot).unwrap();
    symlink("../../blobs/123", snapshot.join("model.safetensors")).unwrap();
    assert_eq!(use_model(&snapshot), Vec::<String>::new());
}

#[test]
fn shards_are_read_and_pickles_are_refused_with_the_command_that_converts_them() {
    let work = folder();
    let model = whole(work.path());
    std::fs::rename(model.join("model.safetensors"), model.join("model-00001-of-00001.safetensors")).unwrap();
    let index = json!({ "metadata": {}, "weight_map": { "a": "model-00001-of-00001.safetensors" } });
    std::fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert_eq!(use_model(&model), Vec::<String>::new());
    assert!(crate::support::mine(&["models", "show", text(&model)]).status.success());
    let small = work.path().join("small");
    let error = mine_fails(&["models", "compress", "--input", text(&model), "--output", text(&small)], 1);
    assert!(error.contains("model.safetensors alone") && error.contains("mine models export"), "{error}");

    std::fs::remove_file(model.join("model.safetensors.index.json")).unwrap();
    std::fs::write(model.join("pytorch_model.bin"), b"pickle").unwrap();
    let output = work.path().join("out");
    let error = mine_fails(&["models", "export", "--input", text(&model), "--output", text(&output)], 1);
    assert!(error.contains("pytorch_model.bin is a pickle") && error.contains("python -c \"from"), "{error}");
}

/// The tokenizers crate panics on this one.
#[test]
fn a_decoder_of_no_kind_is_refused() {
    let work = folder();
    let model = whole(work.path());
    let mut json: Value = serde_json::from_slice(&std::fs::read(model.join("tokenizer.json")).unwrap()).unwrap();
    json["decoder"] = Value::from(7);
    std::fs::write(model.join("tokenizer.json"), json.to_string()).unwrap();
    let error = format!("{:#}", BiEncoder::load(&ModelFolder::open(&model).unwrap(), &Device::flex()).err().unwrap());
    assert!(error.contains("tokenizer.json: not a tokenizer file"), "{error}");
}

/// Changes the folder's tokenizer.json.
fn with_post_processor(model: &Path, post_processor: Value) {
    let path = model.join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json["post_processor"] = post_processor;
    std::fs::write(path, json.to_string()).unwrap();
}

/// The position table ends at the limit.
#[test]
fn templates_of_tokens_that_are_not_there_are_refused() {
    let work = folder();
    let model = whole(work.path());
    let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let single = json!([{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }, sequence("A")]);
    let pair = json!([sequence("A"), sequence("B")]);
    let nameless = json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {} });
    let second = json!({ "type": "TemplateProcessing", "single": [sequence("B")], "pair": pair, "special_tokens": {} });
    for template in [nameless, second] {
        with_post_processor(&model, template);
        let errors = use_model(&model);
        assert!(errors.iter().any(|e| e.contains("tokenizer.json: not a tokenizer file")), "{errors:?}");
    }
}

#[test]
fn templates_that_pass_the_limit_are_refused() {
    let work = folder();
    let model = whole(work.path());
    let vocabulary: Value = serde_json::from_slice(&std::fs::read(model.join("tokenizer.json")).unwrap()).unwrap();
    let id = &vocabulary["model"]["vocab"]["[CLS]"];
    let special = json!({ "[CLS]": { "id": "[CLS]", "ids": [id], "tokens": ["[CLS]"] } });
    for (piece, expected) in [
        (json!({ "Sequence": { "id": "A", "type_id": 0 } }), "but the model takes 16"),
        (json!({ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }), "it adds 50 special tokens"),
    ] {
        let single = vec![piece; 50];
        let pair = json!([{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }]);
        let template =
            json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special });
        with_post_processor(&model, template);
        let errors = use_model(&model);
        assert!(errors.iter().any(|e| e.contains("tokenizer.json") && e.contains(expected)), "{errors:?}");
    }
}

#[test]
fn texts_without_a_token_are_embedded_by_every_pooling() {
    let work = folder();
    let model = whole(work.path());
    with_post_processor(&model, Value::Null);
    // its prompt would be a token
    std::fs::remove_file(model.join("config_sentence_transformers.json")).unwrap();
    for mode in ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"] {
        std::fs::write(model.join("1_Pooling/config.json"), json!({ "pooling_mode": [mode, "mean"] }).to_string())
            .unwrap();
        let model = BiEncoder::load(&ModelFolder::open(&model).unwrap(), &Device::flex()).unwrap();
        let tokens = model.tokenizer.tokenize(&["\u{200B}", ""]).unwrap();
        assert_eq!(tokens.lengths(), [0, 0]);
        let vectors = model.embed(&[tokens.ids(0), tokens.ids(1)]).unwrap();
        assert_eq!(vectors.len(), 2 * model.dimensions(), "{mode}");
    }
}
