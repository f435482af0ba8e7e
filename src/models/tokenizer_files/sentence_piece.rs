//! `sentencepiece.bpe.model` of XLM-R and CamemBERT: a unigram vocabulary as a protocol buffer, and the tokenizer that
//! transformers builds of it. Fields are those of `sentencepiece_model.proto`.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use serde_json::{Value, json};

use crate::models::tokenizer_files::special_tokens::{AddedToken, SpecialTokens};

#[derive(Clone, PartialEq, Message)]
pub struct SentencePiece {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    /// Logarithm of its probability.
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(int32, tag = "3")]
    kind: i32,
}

/// `SentencePiece.Type`.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
}

/// `TrainerSpec.ModelType`.
const UNIGRAM: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    /// Replacements of characters: the bytes of a double-array trie after their number, then what replaces them.
    #[prost(bytes = "vec", tag = "2")]
    charsmap: Vec<u8>,
}

/// Which ids fairseq gave the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// `<s> <pad> </s> <unk>`, the pieces from the fourth on, `<mask>`.
    XlmRoberta,
    /// Four tokens of which only `<pad>` and `<unk>` are used, `<unk>` again, the pieces from the second on, `<mask>`.
    Camembert,
}

impl SentencePiece {
    /// Reads the file's bytes.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let model = Self::decode(bytes).context("not a SentencePiece model")?;
        ensure!(!model.pieces.is_empty(), "not a SentencePiece model: it has no pieces");
        let kind = model.trainer.as_ref().and_then(|trainer| trainer.model_type).unwrap_or(UNIGRAM);
        if kind != UNIGRAM {
            bail!("a SentencePiece model of type {kind}, expected {UNIGRAM}, a unigram model");
        }
        if let Some(piece) = model.pieces.iter().find(|piece| !piece.score.is_finite()) {
            bail!("piece {:?} has the score {}", piece.text, piece.score);
        }
        let charsmap = model.charsmap();
        if let Some((size, rest)) = charsmap.split_first_chunk() {
            let size = u32::from_le_bytes(*size) as usize;
            ensure!(size <= rest.len(), "its normalizer says {size} bytes, but {} are left", rest.len());
        }
        Ok(model)
    }

    fn charsmap(&self) -> &[u8] {
        self.normalizer.as_ref().map_or(&[], |normalizer| &normalizer.charsmap)
    }

    /// Pieces that are matched before all others: control and user-defined symbols.
    pub fn symbols(&self) -> Vec<AddedToken> {
        let symbols = self.pieces.iter().filter(|piece| [CONTROL, USER_DEFINED].contains(&piece.kind));
        symbols.map(|piece| AddedToken::symbol(&piece.text, piece.kind == CONTROL)).collect()
    }

    /// The tokenizer, as `tokenizer.json` has it.
    pub fn tokenizer_json(&self, special: &SpecialTokens, numbering: Numbering, prefix_space: bool) -> Value {
        let (first, skipped, unused) = match numbering {
            Numbering::XlmRoberta => ([special.bos(), special.pad(), special.eos(), special.unk()], 3, None),
            Numbering::Camembert => {
                (["<s>NOTUSED", special.pad(), "</s>NOTUSED", special.unk()], 1, Some(("<unk>NOTUSED", -100.0)))
            }
        };
        let pieces = self.pieces.iter().skip(skipped).map(|piece| (piece.text.as_str(), f64::from(piece.score)));
        let first = first.into_iter().map(|token| (token, 0.0)).chain(unused);
        let vocabulary: Vec<(&str, f64)> = first.chain(pieces).chain([(special.mask(), 0.0)]).collect();
        // if pieces are equal, the last one counts
        let ids = vocabulary.iter().enumerate().map(|(id, (token, _))| ((*token).to_string(), json!(id))).collect();
        let unknown = vocabulary.iter().position(|(token, _)| *token == special.unk());
        let metaspace = json!({
            "type": "Metaspace", "replacement": "▁", "split": true,
            "prepend_scheme": if prefix_space { "always" } else { "never" },
        });
        let normalizer = match self.charsmap() {
            [] => Value::Null,
            charsmap => json!({ "type": "Precompiled", "precompiled_charsmap": BASE64_STANDARD.encode(charsmap) }),
        };
        let added = special.added(&ids);
        let (bos, eos) = (special.bos(), special.eos());
        let token = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
        let text = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
        let entry = |token: &str| json!({ "id": token, "ids": [special.id(token, &ids)], "tokens": [token] });
        json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [{ "type": "WhitespaceSplit" }, metaspace] },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [token(bos), text("A"), token(eos)],
                "pair": [token(bos), text("A"), token(eos), token(eos), text("B"), token(eos)],
                "special_tokens": { bos: entry(bos), eos: entry(eos) },
            },
            "decoder": metaspace,
            "model": { "type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": false },
        })
    }
}
