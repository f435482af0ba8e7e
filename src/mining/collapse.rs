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
    /// Text → its first question; one of the reference, if the text is in it.
    pub first_question: Vec<u32>,
    /// Text → whether a question of the reference has it; empty without a reference.
    pub is_reference: Vec<bool>,
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

    /// Hash of the keys of the reference, `None` without one.
    pub fn reference(&self) -> Option<String> {
        if self.is_reference.is_empty() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for (key, _) in self.keys.iter().zip(&self.is_reference).filter(|(_, is)| **is) {
            hasher.update(key.bytes());
        }
        Some(hasher.finalize().to_hex()[..32].to_string())
    }

    /// Text → how many questions have it.
    pub fn question_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.keys.len()];
        self.text_of.iter().for_each(|&text| counts[text as usize] += 1);
        counts
    }
}

/// Normalises and collapses. `is_reference` says which questions are of the reference; it is empty without one.
pub fn collapse(questions: &Texts, is_reference: &[bool]) -> UniqueTexts {
    let is_known = |question: u32| is_reference.get(question as usize) == Some(&true);
    let keys: Vec<TextKey> =
        (0..questions.len()).into_par_iter().map(|at| TextKey::of(&normalise(questions.get(at)))).collect();
    let mut first: Vec<(TextKey, u32)> = keys.iter().copied().zip(0..).collect();
    first.par_sort_unstable_by_key(|&(key, question)| (key, !is_known(question), question));
    first.dedup_by_key(|(key, _)| *key);
    let number_of: HashMap<TextKey, u32> = first.iter().map(|(key, _)| *key).zip(0..).collect();
    UniqueTexts {
        text_of: keys.iter().map(|key| number_of[key]).collect(),
        texts: first.iter().map(|&(_, question)| normalise(questions.get(question as usize))).collect(),
        first_question: first.iter().map(|&(_, question)| question).collect(),
        is_reference: match is_reference {
            [] => Vec::new(),
            _ => first.iter().map(|&(_, question)| is_known(question)).collect(),
        },
        keys: first.into_iter().map(|(key, _)| key).collect(),
    }
}

/// The pairs that tie every copy to the first of its text: to the first with the same bytes if there is one, else
/// the text's first question. One pair a copy, so that a thousand copies do not make half a million pairs. Questions of the
/// reference come first, and make no pairs among themselves.
pub fn copies(questions: &Texts, unique: &UniqueTexts, is_reference: &[bool]) -> Vec<CopyPair> {
    let is_known = |question: u32| is_reference.get(question as usize) == Some(&true);
    let mut order: Vec<u32> = (0..questions.len() as u32).collect();
    order.sort_by_key(|&question| !is_known(question));
    let mut first_with_bytes: HashMap<&str, u32> = HashMap::new();
    let mut copies = Vec::new();
    let mut add = |twin: u32, question: u32, same_bytes| {
        if !(is_known(twin) && is_known(question)) {
            copies.push(CopyPair { a: twin.min(question), b: twin.max(question), same_bytes });
        }
    };
    for question in order {
        let first = unique.first_question[unique.text_of[question as usize] as usize];
        let bytes = questions.get(question as usize);
        match first_with_bytes.get(bytes) {
            Some(&twin) => add(twin, question, true),
            None => {
                first_with_bytes.insert(bytes, question);
                if first != question {
                    add(first, question, false);
                }
            }
        }
    }
    copies.sort_unstable_by_key(|copy| (copy.b, copy.a));
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
        let unique = collapse(&questions, &[]);
        assert!(unique.keys.is_sorted());
        let number = |text: &str| unique.keys.binary_search(&TextKey::of(text)).unwrap();
        let (ab, c) = (number("a b"), number("c"));
        assert_eq!(unique.text_of, [ab, ab, c, ab, ab].map(|number| number as u32));
        assert_eq!((unique.first_question[ab], unique.first_question[c]), (0, 2));
        assert_eq!((unique.texts.get(ab), unique.texts.get(c)), ("a b", "c"));
        let copy = |a, b, same_bytes| CopyPair { a, b, same_bytes };
        assert_eq!(copies(&questions, &unique, &[]), [copy(0, 1, false), copy(0, 3, true), copy(1, 4, true)]);
    }
}
