//! `mine models export`: the old layout of sentence-transformers. `just parity` opens it in Python.

use std::path::Path;

use burn::tensor::Device;
use dupmine::models::bi_encoder::BiEncoder;
use dupmine::models::checkpoint::folder::ModelFolder;
use serde_json::{Value, json};

use crate::support::{copy_folder, folder, mine_fails, mine_ok, repo, text};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

fn export(from: &Path, to: &Path) {
    mine_ok(&["models", "export", "--input", text(from), "--output", text(to)]);
}

#[test]
fn a_cross_encoder_is_a_classification_folder_with_its_limit_and_activation() {
    let work = folder();
    for (family, prefix, activation) in [
        ("bert", "bert.", "torch.nn.modules.activation.Sigmoid"),
        ("roberta", "roberta.", "torch.nn.modules.activation.Sigmoid"),
        ("distilbert", "distilbert.", "torch.nn.modules.linear.Identity"),
        ("mpnet", "mpnet.", "torch.nn.modules.activation.Sigmoid"),
    ] {
        let (source, saved) = (repo("fixtures/models/families").join(family), work.path().join(family));
        export(&source, &saved);
        let (config, original) = (read(&saved.join("config.json")), read(&source.join("config.json")));
        assert_eq!(config["sentence_transformers"]["activation_fn"], activation);
        assert!(config.get("sbert_ce_default_activation_function").is_none());
        for kept in ["kept_by_export", "architectures", "id2label", "label2id", "vocab_size", "max_position_embeddings"]
        {
            assert_eq!(config[kept], original[kept], "{family} {kept}");
        }
        assert_eq!(read(&saved.join("tokenizer_config.json"))["model_max_length"], 512);
        assert!(!saved.join("modules.json").exists());
        let names = |folder: &Path| {
            let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
            let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
            assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
            let mut all: Vec<String> =
                header.tensors().into_iter().map(|(name, info)| format!("{name} {:?}", info.shape)).collect();
            all.sort();
            all
        };
        assert_eq!(names(&saved), names(&source), "{family}");
        assert!(names(&saved).iter().any(|name| name.starts_with(&format!("{prefix}embeddings."))));
    }
}

#[test]
fn a_bi_encoder_keeps_modules_prompts_and_calibration() {
    let work = folder();
    let (source, saved) = (work.path().join("source"), work.path().join("saved"));
    copy_folder(&repo("fixtures/models/families/bert"), &source);
    copy_folder(&repo("fixtures/models/families/dense"), &source);
    let settings = json!({ "prompts": { "query": "ask: " }, "default_prompt_name": "query", "unknown": 7 });
    std::fs::write(source.join("config_sentence_transformers.json"), settings.to_string()).unwrap();
    let calibration = json!({ "cosine": { "threshold": 0.75, "floor": 0.5 } });
    std::fs::write(source.join("dupmine.json"), calibration.to_string()).unwrap();
    export(&source, &saved);

    let entry = |(at, kind): (usize, &str)| {
        let path = if at == 0 { String::new() } else { format!("{at}_{kind}") };
        let kind = format!("sentence_transformers.models.{kind}");
        json!({ "idx": at, "name": at.to_string(), "path": path, "type": kind })
    };
    let kinds = ["Transformer", "Pooling", "Dense", "Dense", "Normalize", "Dense", "Dense", "Dense", "Normalize"];
    assert_eq!(read(&saved.join("modules.json")), kinds.into_iter().enumerate().map(entry).collect::<Value>());
    let limits = json!({ "max_seq_length": 512, "do_lower_case": false });
    assert_eq!(read(&saved.join("sentence_bert_config.json")), limits);
    // text-embeddings-inference requires these keys
    let pooling = read(&saved.join("1_Pooling/config.json"));
    assert_eq!([&pooling["pooling_mode_cls_token"], &pooling["pooling_mode_mean_tokens"]], [true, true]);
    let kept = read(&saved.join("config_sentence_transformers.json"));
    for key in ["prompts", "default_prompt_name", "unknown"] {
        assert_eq!(kept[key], settings[key]);
    }
    assert_eq!(read(&saved.join("dupmine.json")), calibration);

    let vectors = |path: &Path| {
        let model = BiEncoder::load(&ModelFolder::open(path).unwrap(), &Device::flex()).unwrap();
        let tokenized = model.tokenizer.tokenize(&["how do you learn", "a"]).unwrap();
        model.embed(&[tokenized.ids(0), tokenized.ids(1)]).unwrap()
    };
    assert_eq!(vectors(&saved), vectors(&source));
    let error = mine_fails(&["models", "export", "--input", text(&source), "--output", text(&saved)], 1);
    assert!(error.contains("exists already"), "{error}");
}

#[test]
fn the_built_in_model_is_written_in_f32() {
    let work = folder();
    let saved = work.path().join("saved");
    mine_ok(&["models", "export", "--input", "built-in", "--output", text(&saved)]);
    assert!(std::fs::metadata(saved.join("model.safetensors")).unwrap().len() > 4 * 22_000_000);
    assert!(saved.join("tokenizer_config.json").exists() && saved.join("dupmine.json").exists());
}
