//! Questions to unique texts: what is the same text after normalisation is embedded once.
//!
//! Copies also ruin an HNSW graph and score badly in cross-encoders; they come back as pairs of kind `exact` and
//! `normalised`.

use std::collections::HashMap;

use crate::tables::questions::Texts;
use crate::text::normalise::normalise;

/// Unique normalised texts in order of first appearance, and the questions that hold each.
pub struct UniqueTexts {
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

/// Normalises and collapses.
pub fn collapse(questions: &Texts) -> UniqueTexts {
    let mut unique = UniqueTexts { texts: Texts::default(), text_of: Vec::new(), first_question: Vec::new() };
    let mut known: HashMap<String, u32> = HashMap::with_capacity(questions.len());
    for (question, raw) in questions.iter().enumerate() {
        let text = normalise(raw);
        let number = match known.get(text.as_ref()) {
            Some(&number) => number,
            None => {
                let number = unique.texts.len() as u32;
                unique.texts.push(&text);
                unique.first_question.push(question as u32);
                known.insert(text.into_owned(), number);
                number
            }
        };
        unique.text_of.push(number);
    }
    unique
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
        assert_eq!(unique.text_of, [0, 0, 1, 0, 0]);
        assert_eq!(unique.first_question, [0, 2]);
        assert_eq!(unique.texts.iter().collect::<Vec<_>>(), ["a b", "c"]);
        let copy = |a, b, same_bytes| CopyPair { a, b, same_bytes };
        assert_eq!(copies(&questions, &unique), [copy(0, 1, false), copy(0, 3, true), copy(1, 4, true)]);
    }
}
