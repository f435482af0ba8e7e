//! Training examples as tokens, ready to be put into batches.

use anyhow::Result;

use crate::losses::targets::Targets;
use crate::mining::score_pairs::QuestionPairs;
use crate::models::checkpoint::kind::Kind;
use crate::tables::labelled_pairs::LabelledPair;
use crate::tables::texts::Texts;
use crate::text::tokenizer::{TokenizedPair, TokenizedTexts, Tokenizer};
use crate::training::network::Item;

/// One labelled pair; texts are numbers in [`Dataset::texts`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Example {
    pub question: u32,
    pub other: u32,
    /// Mined texts that are near the question and no duplicates; only duplicates have any.
    pub negatives: Vec<u32>,
    /// 1 for duplicates, 0 for others; a teacher's score where the loss distils it.
    pub target: f32,
    /// The teacher's score of the pair minus that of (question, negative), for each negative.
    pub margins: Vec<f32>,
    /// The question's component of known duplicates.
    pub cluster: u32,
    pub negative_clusters: Vec<u32>,
}

/// Unique normalised texts and the examples over them.
#[derive(Debug, Default)]
pub struct Dataset {
    pub texts: Texts,
    pub examples: Vec<Example>,
    /// Text → its component of known duplicates.
    pub clusters: Vec<u32>,
    /// A teacher's vectors of the texts, row-major, and their width.
    pub teacher: Option<(Vec<f32>, usize)>,
}

impl Dataset {
    /// Examples in the order of the pairs, with labels as targets.
    pub fn new(pairs: &[LabelledPair]) -> Self {
        let numbered = QuestionPairs::of(pairs);
        let clusters = numbered.components(pairs.iter().map(|pair| pair.is_duplicate));
        let example = |(pair, &(question, other)): (&LabelledPair, &(u32, u32))| Example {
            question,
            other,
            target: f32::from(pair.is_duplicate),
            cluster: clusters[question as usize],
            ..Example::default()
        };
        let examples = pairs.iter().zip(&numbered.pairs).map(example).collect();
        Self { texts: numbered.texts, examples, clusters, teacher: None }
    }

    /// Adds a text to a component of known duplicates, or to one of its own, and returns its number.
    pub fn add_text(&mut self, text: &str, cluster: Option<u32>) -> u32 {
        let number = self.texts.len() as u32;
        self.texts.push(text);
        self.clusters.push(cluster.unwrap_or(number));
        number
    }

    /// The pairs' texts in order, for tokenizers and teachers.
    pub fn pair(&self, example: &Example) -> (&str, &str) {
        (self.texts.get(example.question as usize), self.texts.get(example.other as usize))
    }
}

/// A dataset as token ids.
pub struct Inputs<'a> {
    dataset: &'a Dataset,
    kind: Kind,
    texts: TokenizedTexts,
    pairs: [Vec<TokenizedPair>; 2],
}

/// Examples as a model takes them, with what its outputs are compared with.
pub struct Batch {
    pub items: Vec<Item>,
    pub targets: Targets,
    /// Examples B.
    pub examples: usize,
}

impl<'a> Inputs<'a> {
    /// Tokenizes everything once. `swaps` also prepares the pairs of a cross-encoder in their other order.
    pub fn new(dataset: &'a Dataset, kind: Kind, tokenizer: &Tokenizer, swaps: bool) -> Result<Self> {
        let (mut texts, mut pairs) = (TokenizedTexts::default(), [Vec::new(), Vec::new()]);
        if kind == Kind::Cross {
            let straight: Vec<(&str, &str)> = dataset.examples.iter().map(|example| dataset.pair(example)).collect();
            pairs[0] = tokenizer.tokenize_pairs(&straight)?;
            if swaps {
                let swapped: Vec<(&str, &str)> = straight.into_iter().map(|(a, b)| (b, a)).collect();
                pairs[1] = tokenizer.tokenize_pairs(&swapped)?;
            }
        } else {
            let all: Vec<&str> = dataset.texts.iter().collect();
            texts = tokenizer.tokenize(&all)?;
        }
        Ok(Self { dataset, kind, texts, pairs })
    }

    /// Tokens of every example.
    pub fn lengths(&self) -> Vec<u32> {
        let text = |text: u32| self.texts.ids(text as usize).len() as u32;
        let length = |(at, example): (usize, &Example)| match self.pairs[0].get(at) {
            Some(pair) => pair.ids.len() as u32,
            None => text(example.question) + text(example.other),
        };
        self.dataset.examples.iter().enumerate().map(length).collect()
    }

    /// The examples of one batch. With swapped pairs at hand, odd epochs read every second example the other way round
    /// and even ones the rest.
    pub fn batch(&self, numbers: &[u32], epoch: usize) -> Batch {
        let examples: Vec<&Example> = numbers.iter().map(|&number| &self.dataset.examples[number as usize]).collect();
        let items = match self.kind {
            Kind::Cross => numbers.iter().map(|&number| self.cross_item(number, epoch)).collect(),
            Kind::Siamese => examples.iter().map(|example| self.siamese_item(example)).collect(),
            Kind::Bi => self.columns(&examples).map(|text| Item::of_text(self.texts.ids(text as usize))).collect(),
        };
        let vectors = self.dataset.teacher.as_ref().map(|(vectors, width)| {
            let row = |text: u32| &vectors[text as usize * width..(text as usize + 1) * width];
            (self.columns(&examples).flat_map(row).copied().collect(), *width)
        });
        let targets = Targets {
            labels: examples.iter().map(|example| example.target).collect(),
            margins: examples.iter().flat_map(|example| example.margins.iter().copied()).collect(),
            vectors,
        };
        Batch { items, targets, examples: examples.len() }
    }

    /// Text numbers column after column: questions, others, first negatives, second negatives, … A pair that is no
    /// duplicate fills its places with its own second text: ranking looks at the negatives of duplicates alone.
    fn columns<'e>(&self, examples: &'e [&Example]) -> impl Iterator<Item = u32> + 'e {
        let duplicates = examples.iter().filter(|example| example.target > 0.5);
        let negatives = duplicates.map(|example| example.negatives.len()).min().unwrap_or(0);
        let questions = examples.iter().map(|example| example.question);
        let others = examples.iter().map(|example| example.other);
        let mined = (0..negatives).flat_map(move |n| {
            examples.iter().map(move |example| example.negatives.get(n).copied().unwrap_or(example.other))
        });
        questions.chain(others).chain(mined)
    }

    fn cross_item(&self, number: u32, epoch: usize) -> Item {
        let swap = (number as usize + epoch) % 2 == 1 && !self.pairs[1].is_empty();
        let pair = &self.pairs[usize::from(swap)][number as usize];
        Item { ids: pair.ids.clone(), type_ids: pair.type_ids.clone(), second: Vec::new() }
    }

    fn siamese_item(&self, example: &Example) -> Item {
        let ids = |text: u32| self.texts.ids(text as usize).to_vec();
        Item { ids: ids(example.question), type_ids: Vec::new(), second: ids(example.other) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_of_duplicates_count_beside_pairs_that_have_none() {
        let example = |question, other, target, negatives: &[u32]| Example {
            question,
            other,
            target,
            negatives: negatives.to_vec(),
            ..Example::default()
        };
        let examples = [example(0, 1, 1.0, &[6, 7]), example(2, 3, 0.0, &[]), example(4, 5, 1.0, &[8, 9])];
        let dataset = Dataset::default();
        let inputs =
            Inputs { dataset: &dataset, kind: Kind::Bi, texts: TokenizedTexts::default(), pairs: [vec![], vec![]] };
        let columns = |examples: &[Example]| inputs.columns(&examples.iter().collect::<Vec<_>>()).collect::<Vec<_>>();
        assert_eq!(columns(&examples), [0, 2, 4, 1, 3, 5, 6, 3, 8, 7, 3, 9]);
        assert_eq!(columns(&examples[1..2]), [2, 3]);
    }
}
