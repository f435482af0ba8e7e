//! What a finished run would decide at other thresholds, from the scores that it has.

use std::collections::HashMap;

use anyhow::Result;
use rayon::prelude::*;

use crate::clustering::{Algorithm, Edge, Graph, cluster};
use crate::hash::hash64;
use crate::mining::collapse::{UniqueTexts, collapse};
use crate::progress::Progress;
use crate::report::thresholds::{MOST_CLUSTERED, Outcome};
use crate::run::decision::Rule;
use crate::run::reader::FinishedRun;
use crate::run::schema::{PairKind, PairRow};

/// Duplicates and clusters at each threshold. Pairs without a probability are no duplicates at any of them.
pub fn outcomes(run: &FinishedRun, thresholds: &[f32], progress: &Progress) -> Result<Vec<Outcome>> {
    let rule = run.manifest.rule();
    let can_be_duplicate = |pair: &PairRow| rule.can_be_duplicate(pair.cosine);
    let (mut scored, mut called, mut copies): (Vec<Edge>, Vec<f32>, u64) = (Vec::new(), Vec::new(), 0);
    for batch in run.results.pairs()? {
        progress.check()?;
        for pair in batch? {
            if pair.kind != PairKind::Semantic {
                copies += 1;
            } else if let Some(probability) = pair.probability {
                called.extend(can_be_duplicate(&pair).then_some(probability));
                // one more than are clustered: the rest need not be in memory
                if scored.len() <= MOST_CLUSTERED {
                    scored.push(Edge { a: pair.a, b: pair.b, probability });
                }
            }
        }
    }
    called.sort_unstable_by(f32::total_cmp);
    let texts = clusterable(run, scored);
    let algorithm = run.manifest.options.clustering;
    let task = progress.task("thresholds", "thresholds", thresholds.len());
    let at = |&threshold: &f32| {
        task.advance(1)?;
        let duplicates =
            copies + (called.len() - called.partition_point(|&probability| probability < threshold)) as u64;
        let clusters = texts.as_ref().map(|texts| texts.clusters(algorithm, &Rule { threshold, ..rule.clone() }));
        Ok(Outcome { threshold, duplicates, clusters })
    };
    thresholds.par_iter().map(at).collect()
}

/// Distinct texts in the order of their hashes, and their scored pairs, the likeliest first: a clustering puts them into this
/// order, which costs little if they are in it already.
struct ScoredTexts {
    /// Hash of each text; it breaks ties.
    keys: Vec<u64>,
    /// Questions with each text.
    copies: Vec<u32>,
    edges: Vec<Edge>,
}

/// `scored` are pairs of rows. `None` if the clusters cannot be counted: the texts are not there, there are too many pairs,
/// or known clusters of a reference would have to stay apart.
fn clusterable(run: &FinishedRun, scored: Vec<Edge>) -> Option<ScoredTexts> {
    let questions = run.questions.as_ref().ok()?;
    if scored.len() > MOST_CLUSTERED || run.manifest.options.reference.is_some() {
        return None;
    }
    let unique: UniqueTexts = collapse(&questions.texts, &questions.is_reference);
    let mut hashed: Vec<(u64, u32)> = unique.texts.iter().map(|text| hash64(text.as_bytes())).zip(0..).collect();
    hashed.sort_unstable();
    let mut number = vec![0; hashed.len()];
    for (place, &(_, text)) in (0..).zip(&hashed) {
        number[text as usize] = place;
    }
    let numbers = unique.text_of.iter().map(|&text| number[text as usize]);
    let text_of: HashMap<u32, u32> = questions.rows.iter().copied().zip(numbers).collect();
    let of_texts = |edge: Edge| {
        let (a, b) = (*text_of.get(&edge.a)?, *text_of.get(&edge.b)?);
        Some(Edge { a: a.min(b), b: a.max(b), ..edge })
    };
    let mut edges = scored.into_iter().map(of_texts).collect::<Option<Vec<Edge>>>()?;
    edges.par_sort_unstable_by(|x, y| y.probability.total_cmp(&x.probability).then((x.a, x.b).cmp(&(y.a, y.b))));
    let counts = unique.question_counts();
    let copies = hashed.iter().map(|&(_, text)| counts[text as usize]).collect();
    Some(ScoredTexts { keys: hashed.into_iter().map(|(key, _)| key).collect(), copies, edges })
}

impl ScoredTexts {
    /// Clusters of two questions or more.
    fn clusters(&self, algorithm: Algorithm, rule: &Rule) -> u64 {
        let graph = Graph {
            nodes: self.keys.len(),
            edges: &self.edges,
            threshold: rule.threshold,
            ruled_out: rule.ruled_out(),
            keys: &self.keys,
        };
        let clustering = cluster(&graph, algorithm);
        let mut sizes = vec![0_u64; clustering.representative.len()];
        for (&cluster, &copies) in clustering.cluster_of.iter().zip(&self.copies) {
            sizes[cluster as usize] += u64::from(copies);
        }
        sizes.into_iter().filter(|&size| size > 1).count() as u64
    }
}
