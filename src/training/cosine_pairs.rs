//! Adds unlabelled pairs whose target is what a bi-encoder's cosine says of them.
//!
//! Labelled pairs are few, and all of one kind. From unlabelled ones a cross-encoder learns to be no worse than the cosine
//! where labels say nothing. The cosine becomes a probability by a Platt fit to the labelled pairs (augmented SBERT, Thakur et
//! al. 2021, arXiv:2010.08240, with the teacher the other way round).

use std::collections::HashSet;

use anyhow::{Context, Result};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::calibration::platt;
use crate::search::{Neighbour, Vectors};
use crate::training::dataset::{Dataset, Example};

/// Of the pairs, one in this many is of two texts drawn by chance, so that low cosines occur too.
const RANDOM_PAIRS: usize = 10;

/// Passes over the texts before fewer pairs than asked for are accepted.
const PASSES: usize = 50;

/// Adds up to `count` pairs and returns how many. The dataset's first examples are the labelled pairs, and `natural` says which
/// of them have the mix of labels that users meet; `vectors` are of all texts, and `neighbours` their nearest texts.
///
/// Fails if cosines do not explain the labels.
pub fn add(
    dataset: &mut Dataset,
    natural: &[bool],
    (vectors, neighbours): (Vectors, &[Vec<Neighbour>]),
    count: usize,
    seed: u64,
) -> Result<usize> {
    let cosine = |a: u32, b: u32| f64::from(vectors.cosine(a as usize, b as usize));
    let labelled = dataset.examples.iter().zip(natural).filter(|(_, natural)| **natural);
    let (labels, cosines): (Vec<bool>, Vec<f64>) =
        labelled.map(|(e, _)| (e.target > 0.5, cosine(e.question, e.other))).unzip();
    let calibrator = platt::fit(&labels, &cosines).context("the cosines of its pairs say nothing of their labels")?;
    let unordered = |a: u32, b: u32| (a.min(b), a.max(b));
    let mut known: HashSet<(u32, u32)> = dataset.examples.iter().map(|e| unordered(e.question, e.other)).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<u32> = (0..dataset.texts.len() as u32).collect();
    let mut added = 0;
    for _ in 0..PASSES {
        order.shuffle(&mut random);
        for &question in &order {
            if added == count {
                return Ok(added);
            }
            let near = &neighbours[question as usize];
            let other = match near.is_empty() || random.random_range(0..RANDOM_PAIRS) == 0 {
                true => random.random_range(0..order.len() as u32),
                false => near[random.random_range(0..near.len())].row,
            };
            let clusters = [question, other].map(|text| dataset.clusters[text as usize]);
            if clusters[0] != clusters[1] && known.insert(unordered(question, other)) {
                let target = calibrator.probability(cosine(question, other)) as f32;
                dataset.examples.push(Example { question, other, target, cluster: clusters[0], ..Example::default() });
                added += 1;
            }
        }
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nearer_pair_has_a_higher_target() {
        // texts on a quarter circle; neighbours are duplicates
        let count = 60_u32;
        let values: Vec<f32> = (0..count)
            .flat_map(|n| {
                let angle = n as f32 / count as f32 * std::f32::consts::FRAC_PI_2;
                [angle.cos(), angle.sin()]
            })
            .collect();
        let vectors = Vectors { values: &values, width: 2 };
        let example =
            |question, other, target| Example { question, other, target, cluster: question, ..Example::default() };
        let labelled = (0..20).flat_map(|n| [example(n, n + 1, 1.0), example(n, n + 30, 0.0)]).collect();
        let mut dataset = Dataset { examples: labelled, clusters: (0..count).collect(), ..Dataset::default() };
        (0..count).for_each(|n| dataset.texts.push(&format!("text {n}")));
        let near = |n: u32| (0..count).filter(|&m| m != n).map(|row| Neighbour { row, cosine: 0.0 }).collect();
        let neighbours: Vec<Vec<Neighbour>> = (0..count).map(near).collect();
        let added = add(&mut dataset, &[true; 40], (vectors, &neighbours), 100, 3).unwrap();
        assert_eq!((added, dataset.examples.len()), (100, 140));
        let mut pairs: Vec<(u32, f32)> =
            dataset.examples[40..].iter().map(|e| (e.question.abs_diff(e.other), e.target)).collect();
        assert!(pairs.iter().all(|&(apart, _)| apart > 0));
        pairs.sort_by_key(|&(apart, _)| apart);
        assert!(pairs.windows(2).all(|two| two[0].1 >= two[1].1 - 1e-6), "{pairs:?}");
        assert!(pairs[0].1 > 0.6 && pairs[99].1 < 0.1, "{pairs:?}");
        let same = [example(0, 1, 1.0)];
        let mut dataset = Dataset { examples: same.to_vec(), ..Dataset::default() };
        assert!(add(&mut dataset, &[true], (vectors, &neighbours), 1, 3).is_err());
    }
}
