//! Tokens that a tokenizer matches before its vocabulary, as transformers collects them from `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json` when there is no `tokenizer.json`.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::models::checkpoint::folder::ModelFolder;

/// Names of the tokens with a meaning, in the order in which transformers adds them.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A token and how it is matched.
#[derive(Debug, Clone)]
pub struct AddedToken {
    content: String,
    special: bool,
    /// Whether it is matched in the normalised text. By default special tokens are not.
    normalized: Option<bool>,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
}

impl AddedToken {
    fn new(content: &str, special: bool) -> Self {
        let content = content.to_string();
        Self { content, special, normalized: None, single_word: false, lstrip: false, rstrip: false }
    }

    /// A symbol of a SentencePiece model.
    pub fn symbol(content: &str, special: bool) -> Self {
        Self { normalized: Some(false), ..Self::new(content, special) }
    }

    /// A token as the files have it: its text, or an object. `special` unless the object says.
    fn read(value: &Value, special: bool) -> Option<Self> {
        if let Some(content) = value.as_str() {
            return Some(Self::new(content, true));
        }
        let flag = |key: &str| value.get(key).and_then(Value::as_bool);
        Some(Self {
            content: value.get("content")?.as_str()?.to_string(),
            special: flag("special").unwrap_or(special),
            normalized: flag("normalized"),
            single_word: flag("single_word").unwrap_or(false),
            lstrip: flag("lstrip").unwrap_or(false),
            rstrip: flag("rstrip").unwrap_or(false),
        })
    }
}

/// What the configuration files say about tokens.
pub struct SpecialTokens {
    config: Map<String, Value>,
    /// In the order of [`NAMES`]; `None` if the tokenizer has no such token.
    named: [Option<AddedToken>; 7],
    /// With ids, in their order.
    listed: Vec<AddedToken>,
    extra: Vec<AddedToken>,
}

impl SpecialTokens {
    /// Reads the files; `defaults` are the tokenizer's own, in the order of [`NAMES`]. `mask_takes_space` if the mask
    /// also matches the space before it.
    pub fn read(folder: &ModelFolder, defaults: [Option<&str>; 7], mask_takes_space: bool) -> Result<Self> {
        let mut config: Map<String, Value> = folder.json("tokenizer_config.json")?.unwrap_or_default();
        let list = |value: Option<&Value>| -> Vec<AddedToken> {
            let tokens = value.and_then(Value::as_array).into_iter().flatten();
            tokens.filter_map(|token| AddedToken::read(token, true)).collect()
        };
        let extras = |from: &Map<String, Value>| {
            let named = list(from.get("extra_special_tokens"));
            if named.is_empty() { list(from.get("additional_special_tokens")) } else { named }
        };
        let mut extra = extras(&config);
        let mut listed: Vec<(u64, AddedToken)> = Vec::new();
        // a configuration with a list of its own is complete, the two older files are read without one
        if let Some(decoder) = config.get("added_tokens_decoder").and_then(Value::as_object) {
            let one = |(id, token)| Some((str::parse(id).ok()?, AddedToken::read(token, false)?));
            listed.extend(decoder.iter().filter_map(|(id, token): (&String, &Value)| one((id.as_str(), token))));
        } else {
            let mut map: Map<String, Value> = folder.json("special_tokens_map.json")?.unwrap_or_default();
            // in this file every object is special, whatever its `special` says
            for token in map.values_mut().filter_map(Value::as_object_mut) {
                token.insert("special".into(), true.into());
            }
            // `additional_special_tokens` of the map comes too late to make a token of added_tokens.json special
            let known = if extra.is_empty() { list(map.get("extra_special_tokens")) } else { extra.clone() };
            if extra.is_empty() {
                extra = extras(&map);
            }
            config.extend(map.into_iter().filter(|(name, _)| NAMES.contains(&name.as_str())));
            let of_config = NAMES.iter().filter_map(|&name| AddedToken::read(config.get(name)?, false));
            let special: Vec<String> = of_config.chain(known).map(|token| token.content).collect();
            let added: Map<String, Value> = folder.json("added_tokens.json")?.unwrap_or_default();
            for (content, id) in added {
                let at = || format!("{}: the id of {content:?} is {id}", folder.path("added_tokens.json").display());
                let id = id.as_u64().with_context(at)?;
                let is_special = special.contains(&content);
                let token = AddedToken { normalized: Some(!is_special), ..AddedToken::new(&content, is_special) };
                listed.push((id, token));
            }
        }
        listed.sort_by_key(|(id, _)| *id);
        let listed: Vec<AddedToken> = listed.into_iter().map(|(_, token)| token).collect();
        let mut named = NAMES.map(|name| AddedToken::read(config.get(name)?, false));
        for ((place, token), default) in named.iter_mut().enumerate().zip(defaults) {
            let is_text = token.is_none() || config.get(NAMES[place]).is_some_and(Value::is_string);
            let mut found = token.take().or(default.map(|default| AddedToken::new(default, true)));
            if let Some(found) = &mut found {
                if let Some(listed) = listed.iter().find(|listed| listed.content == found.content) {
                    *found = listed.clone();
                } else if is_text {
                    found.lstrip = mask_takes_space && NAMES[place] == "mask_token";
                }
                found.special = true;
            }
            *token = found;
        }
        Ok(Self { config, named, listed, extra })
    }

    /// A setting of `tokenizer_config.json` that can be true, false or neither.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.config.get(key).and_then(Value::as_bool)
    }

    /// Adds `symbols` unless the files name tokens beside those with a meaning.
    pub fn with_symbols(mut self, symbols: Vec<AddedToken>) -> Self {
        if self.extra.is_empty() {
            self.extra = symbols;
        }
        self
    }

    fn name(&self, place: usize) -> &str {
        self.named[place].as_ref().map_or("", |token| &token.content)
    }

    pub fn bos(&self) -> &str {
        self.name(0)
    }

    pub fn eos(&self) -> &str {
        self.name(1)
    }

    pub fn unk(&self) -> &str {
        self.name(2)
    }

    pub fn sep(&self) -> &str {
        self.name(3)
    }

    pub fn pad(&self) -> &str {
        self.name(4)
    }

    pub fn cls(&self) -> &str {
        self.name(5)
    }

    pub fn mask(&self) -> &str {
        self.name(6)
    }

    /// All of them once, in the order in which those that `vocabulary` lacks get ids behind it.
    fn all(&self) -> Vec<AddedToken> {
        let mut all: Vec<AddedToken> = Vec::new();
        for token in self.listed.iter().chain(self.named.iter().flatten()).chain(&self.extra) {
            if !token.content.is_empty() && all.iter().all(|known| known.content != token.content) {
                let is_named = self.named.iter().flatten().any(|named| named.content == token.content);
                all.push(AddedToken { special: token.special || is_named, ..token.clone() });
            }
        }
        all
    }

    fn numbered(&self, vocabulary: &Map<String, Value>) -> Vec<(AddedToken, Value)> {
        let mut next = vocabulary.len();
        let mut id = |token: &AddedToken| {
            vocabulary.get(&token.content).cloned().unwrap_or_else(|| {
                next += 1;
                json!(next - 1)
            })
        };
        self.all().into_iter().map(|token| (token.clone(), id(&token))).collect()
    }

    /// `added_tokens` of `tokenizer.json`.
    pub fn added(&self, vocabulary: &Map<String, Value>) -> Vec<Value> {
        let one = |(token, id): (AddedToken, Value)| {
            json!({
                "id": id, "content": token.content, "special": token.special,
                "normalized": token.normalized.unwrap_or(!token.special), "single_word": token.single_word,
                "lstrip": token.lstrip, "rstrip": token.rstrip,
            })
        };
        self.numbered(vocabulary).into_iter().map(one).collect()
    }

    /// Id of a token: that of the vocabulary, or the one it gets behind it.
    pub fn id(&self, token: &str, vocabulary: &Map<String, Value>) -> Value {
        let numbered = self.numbered(vocabulary);
        numbered.into_iter().find(|(known, _)| known.content == token).map_or(Value::Null, |(_, id)| id)
    }
}
