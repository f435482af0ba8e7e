//! Targets from a larger model instead of, or beside, the labels.

use std::collections::HashSet;

use anyhow::Result;

use crate::calibration::sigmoid;
use crate::losses::mix::{Loss, Mix};
use crate::models::bi_encoder::BiEncoder;
use crate::models::cross_encoder::CrossEncoder;
use crate::models::replicas::Replicas;
use crate::progress::Progress;
use crate::search::Neighbour;
use crate::stages::score_pairs::log_odds;
use crate::training::dataset::{Dataset, Example};
use crate::training::hard_negatives;

/// Adds mined pairs of unlabelled nearness with the cross-encoder's probability as their target (augmented SBERT, Thakur
/// et al. 2021, arXiv:2010.08240): up to `count`, the nearest first, each unordered pair once.
pub fn add_mined_pairs(
    dataset: &mut Dataset,
    neighbours: &[Vec<Neighbour>],
    count: usize,
    teacher: &Replicas<CrossEncoder>,
    progress: &Progress,
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
    let logits = log_odds(teacher, &dataset.texts, &pairs, false, progress)?;
    for (&(question, other), logit) in pairs.iter().zip(logits) {
        let cluster = dataset.clusters[question as usize];
        dataset.examples.push(Example { question, other, target: probability(logit), cluster, ..Example::default() });
    }
    Ok(pairs.len())
}

/// Replaces targets by a cross-encoder's scores where the loss distils them: logits for score distillation, margins of
/// probabilities for MarginMSE.
pub fn score(dataset: &mut Dataset, loss: &Mix, teacher: &Replicas<CrossEncoder>, progress: &Progress) -> Result<()> {
    if !loss.any(|loss| matches!(loss, Loss::MarginMse | Loss::ScoreDistillation)) {
        return Ok(());
    }
    let pairs: Vec<(u32, u32)> = dataset.examples.iter().map(|example| (example.question, example.other)).collect();
    let of_pairs = log_odds(teacher, &dataset.texts, &pairs, false, progress)?;
    if loss.any(|loss| loss == Loss::MarginMse) {
        let with_negatives =
            |example: &Example| example.negatives.iter().map(|&n| (example.question, n)).collect::<Vec<_>>();
        let asked: Vec<(u32, u32)> = dataset.examples.iter().flat_map(with_negatives).collect();
        let mut of_negatives = log_odds(teacher, &dataset.texts, &asked, false, progress)?.into_iter();
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

/// Gives the dataset a bi-encoder's vectors to be imitated.
pub fn vectors(dataset: &mut Dataset, teacher: &Replicas<BiEncoder>, progress: &Progress) -> Result<()> {
    dataset.teacher = Some(hard_negatives::embed_texts(teacher, &dataset.texts, progress)?);
    Ok(())
}

fn probability(logit: f64) -> f32 {
    sigmoid(logit) as f32
}
