//! `tokenizer.json` for folders that only have vocabulary files, as transformers builds it for these families.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::models::family::{Family, Positions};
use crate::models::folder::ModelFolder;

/// The special tokens of a family under the names of `tokenizer_config.json`.
const SPECIAL: [&str; 5] = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"];
const OF_BERT: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const OF_MPNET: [&str; 5] = ["<pad>", "[UNK]", "<s>", "</s>", "<mask>"];
const OF_ROBERTA: [&str; 5] = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"];

/// A tokenizer of word pieces from `vocab.txt`, or of byte pairs from `vocab.json` and `merges.txt`; `None` when the
/// folder has neither.
pub fn tokenizer_json(folder: &ModelFolder, family: &Family) -> Result<Option<Value>> {
    let settings = Settings {
        config: folder.json("tokenizer_config.json")?.unwrap_or_default(),
        map: folder.json("special_tokens_map.json")?.unwrap_or_default(),
    };
    if let Some(bytes) = folder.read("vocab.txt")? {
        let at = || folder.path("vocab.txt").display().to_string();
        let text = std::str::from_utf8(&bytes).with_context(at)?;
        let vocabulary = text.lines().enumerate().map(|(id, token)| (token.to_string(), json!(id))).collect();
        return word_pieces(&settings, vocabulary, family).map(Some).with_context(at);
    }
    let (Some(vocabulary), Some(merges)) = (folder.json("vocab.json")?, folder.read("merges.txt")?) else {
        return Ok(None);
    };
    let at = || folder.path("merges.txt").display().to_string();
    let merges = std::str::from_utf8(&merges).with_context(at)?;
    byte_pairs(&settings, vocabulary, merges).map(Some).with_context(at)
}

struct Settings {
    config: Map<String, Value>,
    map: Map<String, Value>,
}

impl Settings {
    /// A setting that can be true, false or neither.
    fn flag(&self, key: &str) -> Option<bool> {
        self.config.get(key).and_then(Value::as_bool)
    }

    /// The special tokens with their ids, in the order of [`SPECIAL`].
    fn special(&self, defaults: [&str; 5], vocabulary: &Map<String, Value>) -> Result<[(String, Value); 5]> {
        let mut found = defaults.map(|token| (token.to_string(), Value::Null));
        for ((token, id), key) in found.iter_mut().zip(SPECIAL) {
            let own = self.map.get(key).or(self.config.get(key));
            let own = own.and_then(|own| own.as_str().or_else(|| own.get("content")?.as_str()));
            *token = own.unwrap_or(token).to_string();
            match vocabulary.get(token.as_str()) {
                Some(known) => *id = known.clone(),
                None => bail!("the vocabulary lacks the {key} {token:?}"),
            }
        }
        Ok(found)
    }
}

fn added(special: &[(String, Value)], mask_takes_space: bool) -> Vec<Value> {
    let last = special.len() - 1;
    let one = |(at, (token, id)): (usize, &(String, Value))| {
        json!({
            "id": id, "content": token, "special": true, "normalized": false, "single_word": false, "rstrip": false,
            "lstrip": mask_takes_space && at == last,
        })
    };
    special.iter().enumerate().map(one).collect()
}

/// `<s> a </s></s> b </s>`.
fn roberta_processing(special: &[(String, Value); 5], trim_offsets: bool, add_prefix_space: bool) -> Value {
    let [_, _, cls, sep, _] = special;
    json!({
        "type": "RobertaProcessing", "sep": [sep.0, sep.1], "cls": [cls.0, cls.1],
        "trim_offsets": trim_offsets, "add_prefix_space": add_prefix_space,
    })
}

fn word_pieces(settings: &Settings, vocabulary: Map<String, Value>, family: &Family) -> Result<Value> {
    let is_bert = family.positions == Positions::FromZero;
    let special = settings.special(if is_bert { OF_BERT } else { OF_MPNET }, &vocabulary)?;
    let [_, unknown, cls, sep, _] = &special;
    let processor = if is_bert {
        let token =
            |(token, _): &(String, Value), kind: u32| json!({ "SpecialToken": { "id": token, "type_id": kind } });
        let text = |name: &str, kind: u32| json!({ "Sequence": { "id": name, "type_id": kind } });
        let entry = |(token, id): &(String, Value)| json!({ "id": token, "ids": [id], "tokens": [token] });
        json!({
            "type": "TemplateProcessing",
            "single": [token(cls, 0), text("A", 0), token(sep, 0)],
            "pair": [token(cls, 0), text("A", 0), token(sep, 0), text("B", 1), token(sep, 1)],
            "special_tokens": { cls.0.as_str(): entry(cls), sep.0.as_str(): entry(sep) },
        })
    } else {
        roberta_processing(&special, true, false)
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(&special, !is_bert),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": settings.flag("tokenize_chinese_chars").unwrap_or(true),
            "strip_accents": settings.flag("strip_accents"),
            "lowercase": settings.flag("do_lower_case").unwrap_or(true),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": processor,
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": unknown.0,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }))
}

fn byte_pairs(settings: &Settings, vocabulary: Map<String, Value>, merges: &str) -> Result<Value> {
    let special = settings.special(OF_ROBERTA, &vocabulary)?;
    let mut pairs = Vec::new();
    for (line, merge) in
        merges.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"))
    {
        match merge.split_once(' ') {
            Some((left, right)) => pairs.push(json!([left, right])),
            None => bail!("line {} is {merge:?}, expected two pieces", line + 1),
        }
    }
    let space = settings.flag("add_prefix_space").unwrap_or(false);
    let trim = settings.flag("trim_offsets").unwrap_or(true);
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": trim, "use_regex": true });
    Ok(json!({
        "version": "1.0",
        "added_tokens": added(&special, false),
        "normalizer": null,
        "pre_tokenizer": bytes,
        "post_processor": roberta_processing(&special, trim, space),
        "decoder": bytes,
        "model": {
            "type": "BPE",
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "vocab": vocabulary,
            "merges": pairs,
        },
    }))
}
