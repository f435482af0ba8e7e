//! `tokenizer.json` for folders that only have vocabulary files, as transformers builds it for these families.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::models::checkpoint::file_names::SENTENCE_PIECE;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::tokenizer_files::sentence_piece::{Numbering, SentencePiece};
use crate::models::tokenizer_files::special_tokens::SpecialTokens;
use crate::models::tokenizer_files::token_types;

/// What transformers calls its tokenizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Bert,
    Mpnet,
    Roberta,
    XlmRoberta,
    Camembert,
}

/// The classes under their names, and the `model_type`s that have them.
const CLASSES: [(Class, &[&str], &[&str]); 5] = [
    (Class::Bert, &["BertTokenizer", "DistilBertTokenizer"], &["bert", "distilbert"]),
    (Class::Mpnet, &["MPNetTokenizer"], &["mpnet"]),
    (Class::Roberta, &["RobertaTokenizer"], &["roberta"]),
    (Class::XlmRoberta, &["XLMRobertaTokenizer"], &["xlm-roberta"]),
    (Class::Camembert, &["CamembertTokenizer"], &["camembert"]),
];

impl Class {
    /// What `tokenizer_config.json` asks for, else `config.json`, else the family's own.
    fn read(folder: &ModelFolder) -> Result<Self> {
        if let Some(asked) = token_types::class(folder)? {
            let name = asked.strip_suffix("Fast").unwrap_or(&asked);
            let known = CLASSES.iter().find(|(_, names, _)| names.contains(&name));
            return known.map(|(class, ..)| *class).with_context(|| {
                let names: Vec<&str> = CLASSES.iter().flat_map(|(_, names, _)| *names).copied().collect();
                format!(
                    "{}: tokenizer_class {asked:?} needs a tokenizer.json; from vocabulary files are built {}",
                    folder.path("tokenizer_config.json").display(),
                    names.join(", ")
                )
            });
        }
        let config: Map<String, Value> = folder.require_json("config.json")?;
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or("bert");
        let known = CLASSES.iter().find(|(.., types)| types.contains(&model_type));
        known.map(|(class, ..)| *class).with_context(|| format!("model_type {model_type:?} has no tokenizer"))
    }

    /// The tokens with a meaning: bos, eos, unk, sep, pad, cls, mask.
    fn defaults(self) -> [Option<&'static str>; 7] {
        match self {
            Self::Bert => [None, None, Some("[UNK]"), Some("[SEP]"), Some("[PAD]"), Some("[CLS]"), Some("[MASK]")],
            _ => {
                let unknown = if self == Self::Mpnet { "[UNK]" } else { "<unk>" };
                ["<s>", "</s>", unknown, "</s>", "<pad>", "<s>", "<mask>"].map(Some)
            }
        }
    }

    fn files(self) -> &'static str {
        match self {
            Self::Bert | Self::Mpnet => "vocab.txt",
            Self::Roberta => "vocab.json with merges.txt",
            Self::XlmRoberta | Self::Camembert => SENTENCE_PIECE,
        }
    }
}

/// The tokenizer of a folder's vocabulary files, and the name of the file it was made from.
pub fn tokenizer_json(folder: &ModelFolder) -> Result<(Value, &'static str)> {
    let class = Class::read(folder)?;
    let special = SpecialTokens::read(folder, class.defaults(), matches!(class, Class::Mpnet | Class::Camembert))?;
    let at = |file: &str| folder.path(file).display().to_string();
    let text = |bytes: &[u8], file| std::str::from_utf8(bytes).map(str::to_string).with_context(|| at(file));
    match class {
        Class::Bert | Class::Mpnet => {
            if let Some(bytes) = folder.read("vocab.txt")? {
                let lines = text(&bytes, "vocab.txt")?;
                let words = lines.lines().enumerate().map(|(id, token)| (token.trim_end().to_string(), json!(id)));
                let built = word_pieces(&special, words.collect(), class);
                return Ok((built.with_context(|| at("vocab.txt"))?, "vocab.txt"));
            }
        }
        Class::Roberta => {
            if let (Some(vocabulary), Some(merges)) = (folder.json("vocab.json")?, folder.read("merges.txt")?) {
                let merges = text(&merges, "merges.txt")?;
                let built = byte_pairs(&special, vocabulary, &merges);
                return Ok((built.with_context(|| at("merges.txt"))?, "vocab.json"));
            }
        }
        Class::XlmRoberta | Class::Camembert => {
            if let Some(bytes) = folder.read(SENTENCE_PIECE)? {
                let model = SentencePiece::read(&bytes).with_context(|| at(SENTENCE_PIECE))?;
                let camembert = class == Class::Camembert;
                let numbering = if camembert { Numbering::Camembert } else { Numbering::XlmRoberta };
                let prefix_space = special.flag("add_prefix_space").unwrap_or(true);
                let special = special.with_symbols(model.symbols());
                return Ok((model.tokenizer_json(&special, numbering, prefix_space), SENTENCE_PIECE));
            }
        }
    }
    bail!("{} is missing from the model folder, and so is {}", at("tokenizer.json"), class.files())
}

/// `<s> a </s></s> b </s>`.
fn roberta_processing(
    special: &SpecialTokens,
    vocabulary: &Map<String, Value>,
    trim_offsets: bool,
    add_prefix_space: bool,
) -> Value {
    let token = |token: &str| json!([token, special.id(token, vocabulary)]);
    json!({
        "type": "RobertaProcessing", "sep": token(special.sep()), "cls": token(special.cls()),
        "trim_offsets": trim_offsets, "add_prefix_space": add_prefix_space,
    })
}

fn word_pieces(special: &SpecialTokens, vocabulary: Map<String, Value>, class: Class) -> Result<Value> {
    ensure!(vocabulary.contains_key(special.unk()), "the vocabulary lacks the unk_token {:?}", special.unk());
    let (cls, sep) = (special.cls(), special.sep());
    let processor = if class == Class::Bert {
        let token = |token: &str, kind: u32| json!({ "SpecialToken": { "id": token, "type_id": kind } });
        let text = |name: &str, kind: u32| json!({ "Sequence": { "id": name, "type_id": kind } });
        let entry = |token: &str| json!({ "id": token, "ids": [special.id(token, &vocabulary)], "tokens": [token] });
        json!({
            "type": "TemplateProcessing",
            "single": [token(cls, 0), text("A", 0), token(sep, 0)],
            "pair": [token(cls, 0), text("A", 0), token(sep, 0), text("B", 1), token(sep, 1)],
            "special_tokens": { cls: entry(cls), sep: entry(sep) },
        })
    } else {
        roberta_processing(special, &vocabulary, true, false)
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": special.added(&vocabulary),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": special.flag("tokenize_chinese_chars").unwrap_or(true),
            "strip_accents": special.flag("strip_accents"),
            "lowercase": special.flag("do_lower_case").unwrap_or(true),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": processor,
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece",
            "unk_token": special.unk(),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }))
}

fn byte_pairs(special: &SpecialTokens, vocabulary: Map<String, Value>, merges: &str) -> Result<Value> {
    let mut pairs = Vec::new();
    for (line, merge) in
        merges.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"))
    {
        match merge.split_once(' ') {
            Some((left, right)) => pairs.push(json!([left, right])),
            None => bail!("line {} is {merge:?}, expected two pieces", line + 1),
        }
    }
    let space = special.flag("add_prefix_space").unwrap_or(false);
    let trim = special.flag("trim_offsets").unwrap_or(true);
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": trim, "use_regex": true });
    Ok(json!({
        "version": "1.0",
        "added_tokens": special.added(&vocabulary),
        "normalizer": null,
        "pre_tokenizer": bytes,
        "post_processor": roberta_processing(special, &vocabulary, trim, space),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::families::known::FAMILIES;

    #[test]
    fn every_family_has_a_tokenizer() {
        for model_type in FAMILIES.iter().flat_map(|family| family.model_types) {
            assert!(CLASSES.iter().any(|(.., types)| types.contains(model_type)), "{model_type} is not in CLASSES");
        }
    }
}
