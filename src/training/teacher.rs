//! Targets from a larger model instead of, or beside, the labels.

use std::collections::HashSet;

use anyhow::Result;

use crate::calibration::decision::Decision;
use crate::calibration::sigmoid;
use crate::executor::replicas::Replicas;
use crate::losses::mix::{Loss, Mix};
use crate::models::bi_encoder::BiEncoder;
use crate::progress::Progress;
use crate::search::{Neighbour, Vectors};
use crate::tables::texts::Texts;
use crate::training::dataset::{Dataset, Example};
use crate::training::hard_negatives;

/// Adds mined pairs of unlabelled nearness with a cross-encoder's probability as their target (augmented SBERT, Thakur
/// et al. 2021, arXiv:2010.08240): up to `count`, the nearest first, each unordered pair once. `logits` are the
/// cross-encoder's of pairs of texts.
pub fn add_mined_pairs(
    dataset: &mut Dataset,
    neighbours: &[Vec<Neighbour>],
    count: usize,
    mut logits: impl FnMut(&Texts, &[(u32, u32)]) -> Result<Vec<f64>>,
) -> Result<usize> {
    let unordered = |a: u32, b: u32| (a.min(b), a.max(b));
    // a pair may be among the neighbours of one of its texts alone, or of both
    let mut known: HashSet<(u32, u32)> = dataset.examples.iter().map(|e| unordered(e.question, e.other)).collect();
    let mut found: Vec<(u32, u32, f32)> = neighbours
        .iter()
        .zip(0..)
        .flat_map(|(near, a)| near.iter().map(move |near| (unordered(a, near.row), near.cosine)))
        .filter(|&((a, b), _)| dataset.clusters[a as usize] != dataset.clusters[b as usize])
        .filter(|&(pair, _)| known.insert(pair))
        .map(|((a, b), cosine)| (a, b, cosine))
        .collect();
    found.sort_by(|x, y| y.2.total_cmp(&x.2).then((x.0, x.1).cmp(&(y.0, y.1))));
    found.truncate(count);
    let pairs: Vec<(u32, u32)> = found.iter().map(|&(a, b, _)| (a, b)).collect();
    let logits = logits(&dataset.texts, &pairs)?;
    for (&(question, other), logit) in pairs.iter().zip(logits) {
        let cluster = dataset.clusters[question as usize];
        dataset.examples.push(Example { question, other, target: probability(logit), cluster, ..Example::default() });
    }
    Ok(pairs.len())
}

/// Replaces targets by a cross-encoder's scores where the loss distils them: logits for score distillation, margins of
/// probabilities for MarginMSE.
pub fn score(
    dataset: &mut Dataset,
    loss: &Mix,
    mut logits: impl FnMut(&Texts, &[(u32, u32)]) -> Result<Vec<f64>>,
) -> Result<()> {
    if !loss.any(|loss| matches!(loss, Loss::MarginMse | Loss::ScoreDistillation)) {
        return Ok(());
    }
    let pairs = pairs(dataset);
    let of_pairs = logits(&dataset.texts, &pairs)?;
    if loss.any(|loss| loss == Loss::MarginMse) {
        let with_negatives =
            |example: &Example| example.negatives.iter().map(|&n| (example.question, n)).collect::<Vec<_>>();
        let asked: Vec<(u32, u32)> = dataset.examples.iter().flat_map(with_negatives).collect();
        let mut of_negatives = logits(&dataset.texts, &asked)?.into_iter();
        for (example, &logit) in dataset.examples.iter_mut().zip(&of_pairs) {
            let own = of_negatives.by_ref().take(example.negatives.len());
            example.margins = own.map(|negative| probability(logit) - probability(negative)).collect();
        }
    }
    if loss.any(|loss| loss == Loss::ScoreDistillation) {
        dataset.examples.iter_mut().zip(of_pairs).for_each(|(example, logit)| example.target = logit as f32);
    }
    Ok(())
}

/// Draws every label to the teacher's probability: `target = (1 − w) label + w p` (Hinton et al. 2015,
/// arXiv:1503.02531, at temperature 1). `decision` is how the cross-encoder decides in runs, without one `p` is the plain
/// sigmoid; `vectors` of all texts are those of the bi-encoder that it decides beside, if it does.
pub fn blend(
    dataset: &mut Dataset,
    weight: f64,
    decision: Option<&Decision>,
    vectors: Option<Vectors>,
    mut logits: impl FnMut(&Texts, &[(u32, u32)]) -> Result<Vec<f64>>,
) -> Result<()> {
    let pairs = pairs(dataset);
    let logits = logits(&dataset.texts, &pairs)?;
    for ((example, (a, b)), logit) in dataset.examples.iter_mut().zip(pairs).zip(logits) {
        let cosine = vectors.map_or(0.0, |vectors| vectors.cosine(a as usize, b as usize));
        let probability =
            decision.map_or_else(|| sigmoid(logit), |decision| decision.probability(logit, f64::from(cosine)));
        example.target = ((1.0 - weight) * f64::from(example.target) + weight * probability) as f32;
    }
    Ok(())
}

/// Gives the dataset a bi-encoder's vectors to be imitated.
pub fn vectors(dataset: &mut Dataset, teacher: &Replicas<BiEncoder>, progress: &Progress) -> Result<()> {
    dataset.teacher = Some(hard_negatives::embed_texts(teacher, &dataset.texts, progress)?);
    Ok(())
}

/// The two texts of every example.
fn pairs(dataset: &Dataset) -> Vec<(u32, u32)> {
    dataset.examples.iter().map(|example| (example.question, example.other)).collect()
}

fn probability(logit: f64) -> f32 {
    sigmoid(logit) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibrator;

    /// Question `a` with text `b` gets the logit `10 a + b`, so that each number says whose it is.
    fn logit(_: &Texts, pairs: &[(u32, u32)]) -> Result<Vec<f64>> {
        Ok(pairs.iter().map(|&(a, b)| f64::from(10 * a + b)).collect())
    }

    #[test]
    fn the_nearest_unlabelled_pairs_are_added_with_the_teachers_probability() {
        // 0 ~ 1 is labelled, 4 is in the cluster of 2
        let known = Example { question: 1, other: 0, target: 1.0, ..Example::default() };
        let mut dataset = Dataset { examples: vec![known], clusters: vec![0, 0, 2, 3, 2], ..Dataset::default() };
        let near = |found: &[(u32, f32)]| found.iter().map(|&(row, cosine)| Neighbour { row, cosine }).collect();
        let neighbours: Vec<Vec<Neighbour>> = vec![
            near(&[(1, 0.99), (2, 0.9), (3, 0.5)]),
            near(&[(0, 0.99)]),
            near(&[(4, 0.95), (0, 0.9)]),
            near(&[(2, 0.7)]),
            near(&[(2, 0.95)]),
        ];
        assert_eq!(add_mined_pairs(&mut dataset, &neighbours, 2, logit).unwrap(), 2);
        let added: Vec<(u32, u32, f32, u32)> =
            dataset.examples[1..].iter().map(|e| (e.question, e.other, e.target, e.cluster)).collect();
        assert_eq!(added, [(0, 2, probability(2.0), 0), (2, 3, probability(23.0), 2)]);
    }

    #[test]
    fn margins_are_the_duplicates_probability_minus_the_negatives() {
        let example = |question, negatives: &[u32]| Example {
            question,
            other: 1,
            target: 1.0,
            negatives: negatives.to_vec(),
            ..Example::default()
        };
        let mut dataset = Dataset { examples: vec![example(0, &[3, 2]), example(1, &[0])], ..Dataset::default() };
        score(&mut dataset, &"margin-mse".parse().unwrap(), logit).unwrap();
        let margin = |own: f64, other: f64| probability(own) - probability(other);
        assert_eq!(dataset.examples[0].margins, [margin(1.0, 3.0), margin(1.0, 2.0)]);
        assert_eq!(dataset.examples[1].margins, [margin(11.0, 10.0)]);
        assert!(dataset.examples[0].margins[0] < 0.0 && dataset.examples[1].margins[0] > 0.0);
        assert!(dataset.examples.iter().all(|example| example.target == 1.0));
        score(&mut dataset, &"score-distillation".parse().unwrap(), logit).unwrap();
        assert_eq!(dataset.examples.iter().map(|e| e.target).collect::<Vec<_>>(), [1.0, 11.0]);
    }

    #[test]
    fn a_label_gives_way_to_the_teacher_by_its_weight() {
        let example = |question, other, target| Example { question, other, target, ..Example::default() };
        let examples = vec![example(0, 1, 1.0), example(0, 2, 0.0)];
        let blended = |weight, decision, vectors| {
            let mut dataset = Dataset { examples: examples.clone(), ..Dataset::default() };
            blend(&mut dataset, weight, decision, vectors, logit).unwrap();
            dataset.examples.iter().map(|example| example.target).collect::<Vec<_>>()
        };
        assert_eq!(blended(0.0, None, None), [1.0, 0.0]);
        assert_eq!(blended(1.0, None, None), [probability(1.0), probability(2.0)]);
        assert_eq!(blended(0.25, None, None)[1], 0.25 * probability(2.0));
        // 1 + 10 cos = 11 and 2 + 10 cos = 2
        let calibrator = Calibrator::Platt { slope: 1.0, intercept: -6.0 };
        let decision =
            Decision { cosine_weight: 10.0, calibrator, threshold: 0.5, rerank_floor: None, rerank_ceiling: None };
        let vectors = Vectors { values: &[1.0, 0.0, 1.0, 0.0, 0.0, 1.0], width: 2 };
        assert_eq!(blended(1.0, Some(&decision), Some(vectors)), [probability(5.0), probability(-4.0)]);
    }
}
