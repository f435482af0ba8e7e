//! Questions to unique texts: what is the same text after normalisation is embedded once.
//!
//! Copies also ruin an HNSW graph and score badly in cross-encoders; they come back as pairs of kind `exact` and
//! `normalised`.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::tables::texts::Texts;
use crate::text::key::TextKey;
use crate::text::normalise::normalise;

/// Unique normalised texts in the order of their keys, and the questions that hold each.
pub struct UniqueTexts {
    /// Ascending.
    pub keys: Vec<TextKey>,
    pub texts: Texts,
    /// Question → text.
    pub text_of: Vec<u32>,
    /// Text → its first question.
    pub first_question: Vec<u32>,
}

/// Two questions with the same text: not all such pairs, but enough to connect all copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyPair {
    /// The earlier question.
    pub a: u32,
    pub b: u32,
    /// Whether they are the same bytes, not only the same after normalisation.
    pub same_bytes: bool,
}

impl UniqueTexts {
    /// Hash of all keys: the same texts, the same corpus.
    pub fn corpus(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        self.keys.iter().for_each(|key| {
            hasher.update(key.bytes());
        });
        hasher.finalize().to_hex()[..32].to_string()
    }
}

/// Normalises and collapses.
pub fn collapse(questions: &Texts) -> UniqueTexts {
    let keys: Vec<TextKey> =
        (0..questions.len()).into_par_iter().map(|at| TextKey::of(&normalise(questions.get(at)))).collect();
    let mut first: Vec<(TextKey, u32)> = keys.iter().copied().zip(0..).collect();
    first.par_sort_unstable();
    first.dedup_by_key(|(key, _)| *key);
    let number_of: HashMap<TextKey, u32> = first.iter().map(|(key, _)| *key).zip(0..).collect();
    UniqueTexts {
        text_of: keys.iter().map(|key| number_of[key]).collect(),
        texts: first.iter().map(|&(_, question)| normalise(questions.get(question as usize))).collect(),
        first_question: first.iter().map(|&(_, question)| question).collect(),
        keys: first.into_iter().map(|(key, _)| key).collect(),
    }
}

/// The pairs that tie every copy to the first of its text: to the first with the same bytes if there is one, else
/// the text's first question. One pair a copy, so that a thousand copies do not make half a million pairs.
pub fn copies(questions: &Texts, unique: &UniqueTexts) -> Vec<CopyPair> {
    let mut first_with_bytes: HashMap<&str, u32> = HashMap::new();
    let mut copies = Vec::new();
    for (question, &text) in unique.text_of.iter().enumerate() {
        let (question, first) = (question as u32, unique.first_question[text as usize]);
        let bytes = questions.get(question as usize);
        match first_with_bytes.get(bytes) {
            Some(&twin) => copies.push(CopyPair { a: twin, b: question, same_bytes: true }),
            None => {
                first_with_bytes.insert(bytes, question);
                if first != question {
                    copies.push(CopyPair { a: first, b: question, same_bytes: false });
                }
            }
        }
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_form_a_tree_of_exact_and_normalised_pairs() {
        let mut questions = Texts::default();
        for text in ["a b", "a  b", "c", "a b", "a  b"] {
            questions.push(text);
        }
        let unique = collapse(&questions);
        assert!(unique.keys.is_sorted());
        let number = |text: &str| unique.keys.binary_search(&TextKey::of(text)).unwrap();
        let (ab, c) = (number("a b"), number("c"));
        assert_eq!(unique.text_of, [ab, ab, c, ab, ab].map(|number| number as u32));
        assert_eq!((unique.first_question[ab], unique.first_question[c]), (0, 2));
        assert_eq!((unique.texts.get(ab), unique.texts.get(c)), ("a b", "c"));
        let copy = |a, b, same_bytes| CopyPair { a, b, same_bytes };
        assert_eq!(copies(&questions, &unique), [copy(0, 1, false), copy(0, 3, true), copy(1, 4, true)]);
    }
}
