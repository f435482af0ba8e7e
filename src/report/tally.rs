//! What the page needs to know about the pairs, in one pass: ten million pairs are never all in memory.

use std::collections::HashMap;

use anyhow::Result;

use crate::report::labels::{LabelledProbability, Labels};
use crate::report::smallest::Smallest;
use crate::run::schema::{PairKind, PairRow};

const BINS: usize = 40;
/// Borderline pairs on either side of the threshold.
const BORDERLINE: usize = 15;
/// Pairs kept of a cluster that is shown: all pairs of a small one, the lowest pairs of a large one.
const INSIDE: usize = 100;

/// Counts over equal bins of `from..=to`.
pub struct Histogram {
    pub from: f64,
    pub to: f64,
    pub counts: Vec<u64>,
}

impl Histogram {
    fn new(from: f64, to: f64) -> Self {
        Self { from, to, counts: vec![0; BINS] }
    }

    fn push(&mut self, value: f64) {
        let at = (value - self.from) / (self.to - self.from) * BINS as f64;
        self.counts[(at.max(0.0) as usize).min(BINS - 1)] += 1;
    }
}

/// Everything that the pass collects.
pub struct Tally {
    /// Cosines of the semantic pairs.
    pub cosine: Histogram,
    /// Probabilities of the semantic pairs that have one.
    pub probability: Histogram,
    /// Duplicates nearest to the threshold, the nearest first; then the same of the other pairs.
    pub above: Vec<PairRow>,
    pub below: Vec<PairRow>,
    /// For each shown cluster, the pairs inside with the lowest probability.
    pub inside: Vec<Vec<PairRow>>,
    /// Labelled pairs with their probability.
    pub labelled: Vec<LabelledProbability>,
}

/// Goes through the pairs. `slot_of` gives the slot of a row's cluster, if that cluster is shown.
pub fn tally(
    pairs: impl Iterator<Item = Result<Vec<PairRow>>>,
    [min_cosine, threshold]: [f32; 2],
    (slots, slot_of): (usize, &HashMap<u32, u32>),
    labels: Option<&Labels>,
) -> Result<Tally> {
    let mut cosine = Histogram::new(f64::from(min_cosine).min(0.99), 1.0);
    let mut probability = Histogram::new(0.0, 1.0);
    let (mut above, mut below) = (Smallest::new(BORDERLINE), Smallest::new(BORDERLINE));
    let mut inside: Vec<Smallest> = (0..slots).map(|_| Smallest::new(INSIDE)).collect();
    let mut labelled = labels.map(Labels::unscored).unwrap_or_default();
    for batch in pairs {
        for pair in batch? {
            if pair.kind == PairKind::Semantic {
                cosine.push(pair.cosine.into());
            }
            if let (Some(p), PairKind::Semantic) = (pair.probability, pair.kind) {
                probability.push(p.into());
                let side = if pair.is_duplicate == Some(true) { &mut above } else { &mut below };
                side.push((p - threshold).abs(), pair);
            }
            if let Some(slot) = slot_of.get(&pair.a)
                && slot_of.get(&pair.b) == Some(slot)
            {
                inside[*slot as usize].push(pair.probability.unwrap_or(f32::INFINITY), pair);
            }
            if let Some(labels) = labels {
                labels.note(&pair, &mut labelled);
            }
        }
    }
    let inside = inside.into_iter().map(Smallest::finish).collect();
    Ok(Tally { cosine, probability, above: above.finish(), below: below.finish(), inside, labelled })
}
