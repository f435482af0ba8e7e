//! Texts that look like duplicates but are not: mined with a bi-encoder, checked by a cross-encoder.
//!
//! For every duplicate example the question's nearest texts are taken, from `skip` on, that are not known duplicates of
//! it and lie at least `margin` below the duplicate's own cosine. A cross-encoder, if there is one, drops those it calls
//! duplicates: unlabelled true duplicates are common among near neighbours, and as negatives they would teach the opposite.
//! Ranking losses take a question's negatives as further documents, also in a mix of losses. If every loss looks at one pair
//! at a time, each negative becomes a pair of its own.

use std::collections::HashSet;

use anyhow::Result;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::calibration::sigmoid;
use crate::device::Devices;
use crate::executor::replicas::Replicas;
use crate::executor::tuning::Tuning;
use crate::mining::embed;
use crate::mining::score_pairs::log_odds;
use crate::models::bi_encoder::BiEncoder;
use crate::models::cross_encoder::CrossEncoder;
use crate::progress::Progress;
use crate::search::engine::{Engine, Searcher};
use crate::search::hnsw::HnswConfig;
use crate::search::tiles::Tiles;
use crate::search::{Neighbour, Query, Vectors};
use crate::tables::texts::Texts;
use crate::training::dataset::{Dataset, Example};

/// Which of the neighbours that qualify are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum NegativesChoice {
    /// The nearest
    Nearest,
    /// Any, by chance: what a miner meets at every cosine, and fewer unlabelled duplicates
    Random,
}

/// How negatives are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MiningConfig {
    /// Negatives of an example.
    pub count: usize,
    /// Nearest neighbours passed over: the very nearest are most often unlabelled duplicates.
    pub skip: usize,
    /// Neighbours looked at.
    pub depth: usize,
    /// A negative's cosine is at least this far below the duplicate's.
    pub margin: f32,
    pub choice: NegativesChoice,
    /// A text with this probability of the cross-encoder or more is not a negative.
    pub most_probability: f64,
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mined {
    pub negatives: usize,
    /// Called duplicates by the cross-encoder.
    pub dropped: usize,
    /// Drawn at random because too few neighbours qualified.
    pub random: usize,
}

/// Unit vectors of all texts, row-major, and their width.
pub fn embed_texts(models: &Replicas<BiEncoder>, texts: &Texts, progress: &Progress) -> Result<(Vec<f32>, usize)> {
    let task = progress.task("embed", "texts", texts.len());
    let vectors = embed::embed(models, &texts.iter().collect::<Vec<_>>(), &task)?;
    Ok((vectors.values, models.first().dimensions()))
}

/// The engine that mining would choose for so many texts, on the same devices. An HNSW graph is built one vector at a time, because the same
/// training must find the same negatives again.
pub fn searcher(devices: &Devices, texts: usize) -> Searcher<'static> {
    Searcher {
        engine: Engine::Auto,
        hnsw: HnswConfig { deterministic: true, ..HnswConfig::default() },
        tiles: Tiles::on(devices, Tuning::of(devices.kind).search_tile_rows, [texts; 2]),
        cells: None,
    }
}

/// Nearest texts of every text, the nearest first.
pub fn neighbours(
    searcher: &Searcher,
    vectors: Vectors,
    depth: usize,
    progress: &Progress,
) -> Result<Vec<Vec<Neighbour>>> {
    let usable = vec![true; vectors.rows()];
    let query = Query { top_k: depth.min(vectors.rows().saturating_sub(1)), floor: 0.0 };
    Ok(searcher.search(vectors, &usable, query, &[], progress)?.lists)
}

/// Gives every duplicate example its negatives. `vectors` are the miner's, of all texts, and `neighbours` the nearest texts
/// by them.
pub fn mine(
    dataset: &mut Dataset,
    (vectors, neighbours): (Vectors, &[Vec<Neighbour>]),
    cross_encoder: Option<&Replicas<CrossEncoder>>,
    config: &MiningConfig,
    progress: &Progress,
) -> Result<Mined> {
    let duplicates: Vec<usize> = (0..dataset.examples.len()).filter(|&at| dataset.examples[at].target > 0.5).collect();
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    let mut chosen: Vec<Vec<u32>> =
        duplicates.iter().map(|&at| qualified(dataset, at, vectors, neighbours, config, &mut random)).collect();
    let mut mined = Mined::default();
    // at 1 nothing is dropped, so nothing is scored
    if let Some(teacher) = cross_encoder.filter(|_| config.most_probability < 1.0) {
        let probabilities = |asked: &[(usize, u32)]| -> Result<Vec<f64>> {
            let question = |list: usize| dataset.examples[duplicates[list]].question;
            let pairs: Vec<(u32, u32)> = asked.iter().map(|&(list, text)| (question(list), text)).collect();
            let logits = log_odds(teacher, &dataset.texts, &pairs, false, progress)?;
            Ok(logits.into_iter().map(sigmoid).collect())
        };
        mined.dropped = drop_duplicates(&mut chosen, config, probabilities)?;
    }
    for (&at, mut negatives) in duplicates.iter().zip(chosen) {
        negatives.truncate(config.count);
        mined.negatives += negatives.len();
        let cluster = dataset.examples[at].cluster;
        for _ in 0..100 * config.count {
            if negatives.len() == config.count {
                break;
            }
            let text = random.random_range(0..dataset.texts.len() as u32);
            if dataset.clusters[text as usize] != cluster && !negatives.contains(&text) {
                negatives.push(text);
                mined.random += 1;
            }
        }
        let example = &mut dataset.examples[at];
        example.negative_clusters = negatives.iter().map(|&text| dataset.clusters[text as usize]).collect();
        example.negatives = negatives;
    }
    Ok(mined)
}

/// Neighbours of the `at`-th example's question that may be its negatives, in the order in which they are taken.
fn qualified(
    dataset: &Dataset,
    at: usize,
    vectors: Vectors,
    neighbours: &[Vec<Neighbour>],
    config: &MiningConfig,
    random: &mut ChaCha8Rng,
) -> Vec<u32> {
    let Example { question, other, cluster, .. } = dataset.examples[at];
    let most = vectors.cosine(question as usize, other as usize) - config.margin;
    let near = neighbours[question as usize].iter().skip(config.skip);
    let others = near.filter(|near| dataset.clusters[near.row as usize] != cluster && near.cosine <= most);
    let mut others: Vec<u32> = others.map(|near| near.row).collect();
    if config.choice == NegativesChoice::Random {
        others.shuffle(random);
    }
    others
}

/// Makes every negative a pair of its own, each once, and says how many they are.
pub fn as_pairs(dataset: &mut Dataset) -> usize {
    let unordered = |a: u32, b: u32| (a.min(b), a.max(b));
    let mut known: HashSet<(u32, u32)> =
        dataset.examples.iter().map(|example| unordered(example.question, example.other)).collect();
    let mut pairs = Vec::new();
    for example in &mut dataset.examples {
        let Example { question, cluster, .. } = *example;
        example.negative_clusters.clear();
        let new = example.negatives.drain(..).filter(|&other| known.insert(unordered(question, other)));
        pairs.extend(new.map(|other| Example { question, other, cluster, ..Example::default() }));
    }
    let count = pairs.len();
    dataset.examples.append(&mut pairs);
    count
}

/// Keeps of every list its first `count` texts that the cross-encoder does not call duplicates, and returns how many it
/// dropped. It scores as many texts as are missing, then the next ones in place of those dropped.
fn drop_duplicates(
    chosen: &mut [Vec<u32>],
    config: &MiningConfig,
    mut probabilities: impl FnMut(&[(usize, u32)]) -> Result<Vec<f64>>,
) -> Result<usize> {
    let mut dropped = 0;
    let mut waiting: Vec<std::vec::IntoIter<u32>> =
        chosen.iter_mut().map(|texts| std::mem::take(texts).into_iter()).collect();
    loop {
        let missing = |kept: &Vec<u32>| config.count - kept.len();
        let lists = chosen.iter().zip(&mut waiting).enumerate();
        let asked: Vec<(usize, u32)> = lists
            .flat_map(|(list, (kept, texts))| texts.by_ref().take(missing(kept)).map(move |text| (list, text)))
            .collect();
        if asked.is_empty() {
            return Ok(dropped);
        }
        for (&(list, text), probability) in asked.iter().zip(probabilities(&asked)?) {
            match probability < config.most_probability {
                true => chosen[list].push(text),
                false => dropped += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: MiningConfig = MiningConfig {
        count: 2,
        skip: 0,
        depth: 10,
        margin: 0.0,
        choice: NegativesChoice::Nearest,
        most_probability: 0.5,
        seed: 0,
    };

    #[test]
    fn negatives_are_near_but_farther_than_the_duplicate_and_of_another_cluster() {
        // text 0 and its duplicate 1 at cosine 0.8; the others from 0.96 down, 3 a known duplicate too
        let cosines: [f32; 7] = [1.0, 0.8, 0.96, 0.7, 0.78, 0.6, 0.28];
        let values: Vec<f32> = cosines.iter().flat_map(|&c| [c, (1.0 - c * c).sqrt()]).collect();
        let vectors = Vectors { values: &values, width: 2 };
        let example = Example { question: 0, other: 1, target: 1.0, ..Example::default() };
        let dataset = Dataset { examples: vec![example], clusters: vec![0, 0, 2, 0, 4, 5, 6], ..Dataset::default() };
        let neighbours = vec![[2, 1, 4, 3, 5, 6].map(|row| Neighbour { row, cosine: cosines[row as usize] }).to_vec()];
        let of = |config: MiningConfig| {
            qualified(&dataset, 0, vectors, &neighbours, &config, &mut ChaCha8Rng::seed_from_u64(1))
        };
        assert_eq!(of(CONFIG), [4, 5, 6]);
        assert_eq!(of(MiningConfig { margin: 0.05, ..CONFIG }), [5, 6]);
        assert_eq!(of(MiningConfig { margin: -0.2, ..CONFIG }), [2, 4, 5, 6]);
        // counted among all neighbours, known duplicates too
        assert_eq!(of(MiningConfig { skip: 4, ..CONFIG }), [5, 6]);
        let mut random = of(MiningConfig { choice: NegativesChoice::Random, ..CONFIG });
        random.sort_unstable();
        assert_eq!(random, [4, 5, 6]);
    }

    #[test]
    fn the_next_candidates_take_the_place_of_dropped_ones() {
        let mut chosen = vec![vec![1, 2, 3, 4, 5, 6], vec![7, 8], vec![3]];
        let mut asked = 0;
        // odd texts are duplicates
        let dropped = drop_duplicates(&mut chosen, &CONFIG, |pairs| {
            asked += pairs.len();
            Ok(pairs.iter().map(|&(_, text)| f64::from(text % 2)).collect())
        });
        assert_eq!((dropped.unwrap(), asked), (4, 7));
        assert_eq!(chosen, [vec![2, 4], vec![8], vec![]]);
    }

    #[test]
    fn a_negative_becomes_one_pair_however_often_it_was_mined() {
        let example = |question, other, target, negatives: &[u32]| Example {
            question,
            other,
            target,
            negatives: negatives.to_vec(),
            negative_clusters: negatives.to_vec(),
            ..Example::default()
        };
        // 0~1 twice, 2 known as no duplicate of 0, 3 mined from both sides
        let examples = vec![
            example(0, 1, 1.0, &[2, 3]),
            example(0, 1, 1.0, &[3, 4]),
            example(2, 0, 0.0, &[]),
            example(3, 5, 1.0, &[0, 6]),
        ];
        let mut dataset = Dataset { examples, ..Dataset::default() };
        assert_eq!(as_pairs(&mut dataset), 3);
        let added: Vec<(u32, u32, f32)> =
            dataset.examples[4..].iter().map(|example| (example.question, example.other, example.target)).collect();
        assert_eq!(added, [(0, 3, 0.0), (0, 4, 0.0), (3, 6, 0.0)]);
        assert!(dataset.examples.iter().all(|e| e.negatives.is_empty() && e.negative_clusters.is_empty()));
    }
}
