//! Tokenizers of vocabulary files against transformers: `fixtures/make_tokenizers.py`.

use std::path::{Path, PathBuf};

use dupmine::models::checkpoint::config::EncoderConfig;
use dupmine::models::checkpoint::folder::ModelFolder;
use dupmine::models::checkpoint::sentence_config::TextLimits;
use dupmine::models::tokenizer_files::reader::read_tokenizer;
use dupmine::text::pairs::PairTokens;
use dupmine::text::tokenizer::Tokenizer;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support::{copy_model, folder, repo, text};

const SENTENCE_PIECE: &str = "sentencepiece.bpe.model";

#[derive(Deserialize)]
struct Reference {
    texts: Vec<String>,
    pairs_of_texts: Vec<(String, String)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    vocabulary: String,
    model_type: String,
    files: Map<String, Value>,
    ids: Vec<Vec<u32>>,
    pairs: Vec<Vec<u32>>,
    types: Vec<Vec<u32>>,
}

fn reference() -> Reference {
    serde_json::from_slice(&std::fs::read(repo("fixtures/reference/tokenizers.json")).unwrap()).unwrap()
}

/// A model folder without weights.
fn laid(to: &Path, vocabulary: &str, model_type: &str, files: &Map<String, Value>) -> PathBuf {
    let from = repo("fixtures/models/families").join(vocabulary);
    for file in ["vocab.txt", "vocab.json", "merges.txt", SENTENCE_PIECE] {
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
    let config = json!({
        "model_type": model_type, "vocab_size": 600, "max_position_embeddings": 2000, "type_vocab_size": 2,
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
        "dim": 8, "hidden_dim": 8, "n_layers": 1, "n_heads": 1,
    });
    std::fs::write(to.join("config.json"), config.to_string()).unwrap();
    for (file, content) in files {
        std::fs::write(to.join(file), content.to_string()).unwrap();
    }
    to.to_path_buf()
}

fn tokenizer(path: &Path) -> anyhow::Result<Tokenizer> {
    let source = ModelFolder::open(path)?;
    let config = EncoderConfig::read(&source)?;
    read_tokenizer(&source, &config, &TextLimits::read(&source, &config)?)
}

/// The same with a limit of so many tokens.
fn limited(path: &Path, tokens: usize) -> anyhow::Result<Tokenizer> {
    let source = ModelFolder::open(path)?;
    let config = EncoderConfig::read(&source)?;
    let limits = TextLimits { max_tokens: tokens, ..TextLimits::read(&source, &config)? };
    read_tokenizer(&source, &config, &limits)
}

#[test]
fn every_token_is_that_of_transformers() {
    let reference = reference();
    let texts: Vec<&str> = reference.texts.iter().map(String::as_str).collect();
    let pairs: Vec<(&str, &str)> = reference.pairs_of_texts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    for case in &reference.cases {
        let work = folder();
        let tokenizer = tokenizer(&laid(work.path(), &case.vocabulary, &case.model_type, &case.files)).unwrap();
        let found = tokenizer.tokenize(&texts).unwrap();
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(found.ids(at), case.ids[at], "{}: {text:?}", case.name);
        }
        let found = tokenizer.tokenize_pairs(&pairs).unwrap();
        for (at, pair) in pairs.iter().enumerate() {
            assert_eq!(found[at].ids, case.pairs[at], "{}: {pair:?}", case.name);
            assert_eq!(found[at].type_ids, case.types[at], "{}: {pair:?}", case.name);
        }
        // each text tokenized once, with any limit
        for tokens in [8, 9, 17, 64] {
            let model = laid(work.path(), &case.vocabulary, &case.model_type, &case.files);
            let tokenizer = limited(&model, tokens).unwrap();
            let text = |number: u32| texts[number as usize];
            let all: Vec<(u32, u32)> =
                (0..texts.len() as u32).flat_map(|a| [(a, (a * 7 + 3) % texts.len() as u32), (0, a), (a, a)]).collect();
            let mut once = PairTokens::new(&tokenizer);
            assert!(once.is_per_text(), "{}, {tokens} tokens", case.name);
            once.add(&tokenizer, &all, text).unwrap();
            let pairs: Vec<(&str, &str)> = all.iter().map(|&(a, b)| (text(a), text(b))).collect();
            for (&pair, expected) in all.iter().zip(tokenizer.tokenize_pairs(&pairs).unwrap()) {
                assert_eq!(once.pair(pair), expected, "{}, {tokens} tokens: {pair:?}", case.name);
                assert_eq!(once.length(pair), expected.ids.len(), "{}, {tokens} tokens: {pair:?}", case.name);
                assert_eq!(once.is_truncated(pair), expected.truncated, "{}, {tokens} tokens: {pair:?}", case.name);
            }
        }
    }
}

/// What transformers 5.23 gives a model whose `tokenizer_config.json` says this.
#[test]
fn token_types_reach_the_model_only_if_class_or_input_names_say_so() {
    let types = json!(["input_ids", "token_type_ids", "attention_mask"]);
    let cases = [
        (json!(null), true),
        (json!({}), true),
        (json!({ "tokenizer_class": "BertTokenizer" }), true),
        (json!({ "tokenizer_class": "BertTokenizerFast" }), true),
        (json!({ "tokenizer_class": "ElectraTokenizer" }), true),
        (json!({ "tokenizer_class": "DistilBertTokenizer" }), false),
        (json!({ "tokenizer_class": "TokenizersBackend" }), false),
        (json!({ "tokenizer_class": "PreTrainedTokenizerFast" }), false),
        (json!({ "tokenizer_class": "NoSuchTokenizer" }), false),
        (json!({ "tokenizer_class": "TokenizersBackend", "model_input_names": types }), true),
        (json!({ "tokenizer_class": "BertTokenizer", "model_input_names": ["input_ids", "attention_mask"] }), false),
    ];
    let work = folder();
    let model = work.path().join("model");
    copy_model(text(&repo("fixtures/models/tiny-bert-cross")), &model);
    let path = model.join("tokenizer_config.json");
    for (config, given) in cases {
        std::fs::remove_file(&path).ok();
        if !config.is_null() {
            std::fs::write(&path, config.to_string()).unwrap();
        }
        let pair = tokenizer(&model).unwrap().tokenize_pairs(&[("how do you", "learn")]).unwrap().remove(0);
        let second = u32::from(given);
        assert_eq!(pair.ids, [6, 245, 234, 251, 7, 301, 7], "{config}");
        assert_eq!(pair.type_ids, [0, 0, 0, 0, 0, second, second], "{config}");
    }
    // config.json is asked only where the tokenizer's own file is silent
    std::fs::write(&path, "{}").unwrap();
    let mut config: Value = serde_json::from_slice(&std::fs::read(model.join("config.json")).unwrap()).unwrap();
    config["tokenizer_class"] = json!("PreTrainedTokenizerFast");
    config["type_vocab_size"] = json!(1);
    std::fs::write(model.join("config.json"), config.to_string()).unwrap();
    let pair = tokenizer(&model).unwrap().tokenize_pairs(&[("a", "b")]).unwrap().remove(0);
    assert!(pair.type_ids.iter().all(|&id| id == 0));
}

fn sentence_piece(to: &Path, bytes: &[u8]) -> PathBuf {
    let model = laid(to, "sentence-piece", "xlm-roberta", &Map::new());
    std::fs::write(model.join(SENTENCE_PIECE), bytes).unwrap();
    model
}

fn sound() -> Vec<u8> {
    std::fs::read(repo("fixtures/models/families/sentence-piece").join(SENTENCE_PIECE)).unwrap()
}

#[test]
fn what_is_no_unigram_model_is_refused() {
    // pieces: one of text "a" and score NaN; trainer_spec.model_type 2; a normalizer that says more than it has
    let not_a_number = [0x0a, 0x08, 0x0a, 0x01, b'a', 0x15, 0, 0, 0xc0, 0x7f];
    let byte_pairs = [0x0a, 0x03, 0x0a, 0x01, b'a', 0x12, 0x02, 0x18, 0x02];
    let liar = [0x0a, 0x03, 0x0a, 0x01, b'a', 0x1a, 0x06, 0x12, 0x04, 0xff, 0xff, 0xff, 0x7f];
    let cases: [(&[u8], &str); 6] = [
        (b"", "it has no pieces"),
        (b"not a model", "not a SentencePiece model"),
        (&sound()[..4000], "not a SentencePiece model"),
        (&not_a_number, "has the score NaN"),
        (&byte_pairs, "of type 2, expected 1, a unigram model"),
        (&liar, "says 2147483647 bytes, but 0 are left"),
    ];
    for (bytes, expected) in cases {
        let work = folder();
        let error = format!("{:#}", tokenizer(&sentence_piece(work.path(), bytes)).err().unwrap());
        assert!(error.contains(SENTENCE_PIECE) && error.contains(expected), "{error}");
    }
}

#[test]
fn what_cannot_be_built_is_refused_by_name() {
    let files = |file: &str, content: Value| Map::from_iter([(file.to_string(), content)]);
    let class = files("tokenizer_config.json", json!({ "tokenizer_class": "BertJapaneseTokenizer" }));
    let unknown = files("special_tokens_map.json", json!({ "unk_token": "[WHAT]" }));
    let id = files("added_tokens.json", json!({ "<new>": "last" }));
    for (vocabulary, model_type, files, expected) in [
        ("bert", "bert", &class, "tokenizer_class \"BertJapaneseTokenizer\" needs a tokenizer.json"),
        ("bert", "bert", &unknown, "the vocabulary lacks the unk_token \"[WHAT]\""),
        ("bert", "bert", &id, "added_tokens.json: the id of \"<new>\" is \"last\""),
        (
            "bert",
            "xlm-roberta",
            &Map::new(),
            "tokenizer.json is missing from the model folder, and so is sentencepiece",
        ),
        ("sentence-piece", "roberta", &Map::new(), "and so is vocab.json with merges.txt"),
    ] {
        let work = folder();
        let error = format!("{:#}", tokenizer(&laid(work.path(), vocabulary, model_type, files)).err().unwrap());
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn damaged_models_never_crash(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_normalizer in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let work = folder();
        let mut bytes = sound();
        // the normalizer is the file's last part
        let start = if in_normalizer { bytes.len() * 7 / 10 } else { 0 };
        let length = bytes.len() - start;
        changes.iter().for_each(|(at, value)| bytes[start + at.index(length)] = *value);
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(tokenizer) = tokenizer(&sentence_piece(work.path(), &bytes)) {
            let _ = tokenizer.tokenize(&["how do you ＦＵＬＬ ﬁ e\u{301} <mask>", "東京 \u{1112}\u{1161}\u{11ab}", ""]);
        }
    }
}
