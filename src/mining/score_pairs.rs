//! Scores of given pairs of questions, for evaluation and calibration. Mining scores the pairs that it finds itself.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use crate::clustering::union_find::UnionFind;
use crate::executor::batch;
use crate::executor::replicas::Replicas;
use crate::metrics::bootstrap::Clusters;
use crate::mining::logits;
use crate::models::bi_encoder::{self, BiEncoder};
use crate::models::cross_encoder::CrossEncoder;
use crate::models::network::token_batch::TokenBatch;
use crate::progress::{Progress, Task};
use crate::tables::labelled_pairs::LabelledPair;
use crate::tables::texts::Texts;
use crate::text::normalise::normalise;
use crate::text::pairs::PairTokens;

/// Where a pair's score comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scorer {
    Cosine,
    Dot,
    /// L1 distance.
    Manhattan,
    /// L2 distance.
    Euclidean,
    /// Probability of the cross-encoder.
    CrossEncoder,
    /// Probability from the cross-encoder's logit and the cosine, as in a run.
    Fused,
    /// A column of the user's own file.
    Column(String),
}

impl Scorer {
    /// Name in JSON and in tables, that of sentence-transformers.
    pub fn name(&self) -> &str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Manhattan => "manhattan",
            Self::Euclidean => "euclidean",
            Self::CrossEncoder => "cross_encoder",
            Self::Fused => "together",
            Self::Column(name) => name,
        }
    }

    /// −1 for distances, which are lower for more similar pairs: `sign × score` always ranks.
    pub fn sign(&self) -> f64 {
        if matches!(self, Self::Manhattan | Self::Euclidean) { -1.0 } else { 1.0 }
    }
}

/// Pairs of normalised texts, each distinct text once.
#[derive(Debug, Default)]
pub struct QuestionPairs {
    pub texts: Texts,
    /// Numbers of the two texts of a pair.
    pub pairs: Vec<(u32, u32)>,
}

impl QuestionPairs {
    /// Numbers texts in order of appearance.
    pub fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut numbers = HashMap::new();
        let mut texts = Texts::default();
        let mut number = |text: &str| {
            let text = normalise(text).into_owned();
            *numbers.entry(text).or_insert_with_key(|text| {
                texts.push(text);
                texts.len() as u32 - 1
            })
        };
        let pairs = pairs.map(|(a, b)| (number(a), number(b))).collect();
        Self { texts, pairs }
    }

    /// The questions of labelled pairs.
    pub fn of(pairs: &[LabelledPair]) -> Self {
        Self::new(pairs.iter().map(|pair| (pair.question1.as_str(), pair.question2.as_str())))
    }

    /// The component of each text: duplicates connect its texts. `are_duplicates` says which of the first pairs are
    /// duplicates, in order.
    pub fn components(&self, are_duplicates: impl Iterator<Item = bool>) -> Vec<u32> {
        let mut components = UnionFind::new(self.texts.len());
        for (&(a, b), _) in self.pairs.iter().zip(are_duplicates).filter(|(_, is_duplicate)| *is_duplicate) {
            components.join(a, b);
        }
        (0..self.texts.len() as u32).map(|text| components.find(text)).collect()
    }

    /// Pairs that share questions, directly or through others, form a cluster.
    pub fn clusters(&self) -> Clusters {
        Clusters::new(self.texts.len(), &self.pairs)
    }
}

/// Cosine of every pair.
pub fn cosines(models: &Replicas<BiEncoder>, questions: &QuestionPairs, progress: &Progress) -> Result<Vec<f64>> {
    Ok(Vectors::new(models, questions, progress)?.scores(cosine))
}

/// Cosine, dot product, L1 and L2 distance of every pair, in that order.
pub fn similarities(
    models: &Replicas<BiEncoder>,
    questions: &QuestionPairs,
    progress: &Progress,
) -> Result<Vec<(Scorer, Vec<f64>)>> {
    let vectors = Vectors::new(models, questions, progress)?;
    Ok(vec![
        (Scorer::Cosine, vectors.scores(cosine)),
        (Scorer::Dot, vectors.scores(dot)),
        (Scorer::Manhattan, vectors.scores(|a, b| sum(a, b, |x, y| (x - y).abs()))),
        (Scorer::Euclidean, vectors.scores(|a, b| sum(a, b, |x, y| (x - y).powi(2)).sqrt())),
    ])
}

/// Vectors of the texts of pairs, row-major `[texts, width]`.
struct Vectors<'a> {
    pairs: &'a [(u32, u32)],
    values: Vec<f32>,
    width: usize,
}

impl<'a> Vectors<'a> {
    fn new(models: &Replicas<BiEncoder>, questions: &'a QuestionPairs, progress: &Progress) -> Result<Self> {
        let task = progress.task("embed", "questions", questions.texts.len());
        let values = vectors(models, &questions.texts, &task)?;
        Ok(Self { pairs: &questions.pairs, values, width: models.first().dimensions() })
    }

    fn scores(&self, score: fn(&[f32], &[f32]) -> f64) -> Vec<f64> {
        let vector = |text: u32| &self.values[text as usize * self.width..(text as usize + 1) * self.width];
        self.pairs.iter().map(|&(a, b)| score(vector(a), vector(b))).collect()
    }
}

/// Vectors as the model computes them, row-major `[texts, D]`. They are unit vectors only if the model normalises them;
/// mining always does.
fn vectors(models: &Replicas<BiEncoder>, texts: &Texts, task: &Task) -> Result<Vec<f32>> {
    let (width, limit) = (models.first().dimensions(), models.first().tokenizer.max_tokens());
    let tokenized = models.first().tokenizer.tokenize(&texts.iter().collect::<Vec<_>>())?;
    let plan = batch::plan(&tokenized.lengths(), models.tuning.batch);
    let texts_of = |batch: usize| &plan.order[plan.batches[batch].clone()];
    let mut vectors = vec![0.0; texts.len() * width];
    models.run(
        plan.batches.len(),
        |batch| {
            let rows: Vec<&[u32]> = texts_of(batch).iter().map(|&text| tokenized.ids(text as usize)).collect();
            TokenBatch::of_texts(&rows).pad_to(models.tuning.batch, limit)
        },
        |encoder, batch| encoder.model.forward(batch),
        |encoder, _, vectors| {
            if encoder.model.normalises {
                return bi_encoder::read_vectors(vectors);
            }
            let data = vectors.try_into_data().context("the device failed")?;
            data.try_into_vec::<f32>().context("vectors are not f32")
        },
        |batch, computed| {
            for (&text, vector) in texts_of(batch).iter().zip(computed.chunks_exact(width)) {
                // zero if the vocabulary knows no word of a text, as in mining
                if tokenized.unknown.binary_search(&text).is_err() {
                    vectors[text as usize * width..(text as usize + 1) * width].copy_from_slice(vector);
                }
            }
            task.advance(texts_of(batch).len())
        },
    )?;
    ensure!(vectors.iter().all(|value| value.is_finite()), "the bi-encoder returned a vector that is not finite");
    Ok(vectors)
}

fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| term(f64::from(x), f64::from(y))).sum()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |x, y| x * y)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

/// Log-odds of every pair of `texts`: the mean of both orders, or those of (first, second) only.
pub fn log_odds(
    models: &Replicas<CrossEncoder>,
    texts: &Texts,
    pairs: &[(u32, u32)],
    both_orders: bool,
    progress: &Progress,
) -> Result<Vec<f64>> {
    let task = progress.task("rerank", "pairs", pairs.len());
    let text = |number: u32| texts.get(number as usize);
    let mut tokens = PairTokens::new(&models.first().tokenizer);
    let mut score = |pairs: &[(u32, u32)], is_last: bool| {
        logits::score(models, &mut tokens, (pairs, &text), &|_, _| is_last, &task).map(|scores| scores.logits)
    };
    let mut logits = Vec::with_capacity(pairs.len());
    for chunk in pairs.chunks(models.tuning.rerank_partition_pairs) {
        let ab = score(chunk, !both_orders)?;
        let swapped: Vec<(u32, u32)> = chunk.iter().map(|&(a, b)| (b, a)).collect();
        let ba = if both_orders { score(&swapped, true)? } else { ab.clone() };
        logits.extend(ab.into_iter().zip(ba).map(|(ab, ba)| (f64::from(ab) + f64::from(ba)) / 2.0));
    }
    Ok(logits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_numbered_once_after_normalisation() {
        let pairs = [("a  b", "c"), ("c", "a b"), ("d", "d ")];
        let questions = QuestionPairs::new(pairs.into_iter());
        assert_eq!(questions.pairs, [(0, 1), (1, 0), (2, 2)]);
        assert_eq!(questions.texts.iter().collect::<Vec<_>>(), ["a b", "c", "d"]);
        assert_eq!(questions.clusters().of_pair, [0, 0, 1]);
    }

    #[test]
    fn distances_rank_backwards() {
        let names = [Scorer::Cosine, Scorer::Dot, Scorer::Manhattan, Scorer::Euclidean, Scorer::CrossEncoder];
        assert_eq!(names.map(|scorer| scorer.sign()), [1.0, 1.0, -1.0, -1.0, 1.0]);
    }
}
