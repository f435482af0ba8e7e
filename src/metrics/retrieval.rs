//! Ranked lists of hits compared with what is relevant: sentence-transformers' InformationRetrievalEvaluator.
//!
//! A query is a question that has duplicates; its hits are the candidates mining found for it, best first; a hit is
//! relevant when it is a known duplicate. Figures are means over queries; a query without hits counts 0.

/// Hits of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedHits {
    /// Whether each hit is relevant, best first.
    pub relevant: Vec<bool>,
    /// Relevant documents there are, found or not; at least 1.
    pub known: usize,
}

/// Names of the figures of [`of_query`], in its order.
pub const NAMES: [&str; 6] = ["ndcg", "mrr", "map", "recall", "precision", "accuracy"];

/// What the first `k` hits of one query hold:
///
/// - nDCG: discounted gain 1 / log₂(rank + 1) of the relevant, over a perfect list's (Järvelin & Kekäläinen 2002)
/// - MRR: 1 / rank of the first relevant hit
/// - MAP: precision at each relevant hit, summed, over min(k, known)
/// - recall, precision
/// - accuracy: 1 when any hit is relevant
pub fn of_query(k: usize, query: &RankedHits) -> [f64; 6] {
    let found = top(query, k).filter(|&hit| hit).count() as f64;
    [
        gain(top(query, k)) / gain(std::iter::repeat_n(true, query.known.min(k))),
        top(query, k).position(|hit| hit).map_or(0.0, |rank| 1.0 / (rank + 1) as f64),
        precision_sum(top(query, k)) / query.known.min(k) as f64,
        found / query.known as f64,
        found / k as f64,
        if found > 0.0 { 1.0 } else { 0.0 },
    ]
}

/// Weighted means over queries of the figures of [`of_query`]; `None` when the weights sum to 0.
pub fn mean(queries: &[[f64; 6]], weight: impl Fn(usize) -> f64) -> Option<[f64; 6]> {
    let (mut sums, mut total) = ([0.0; 6], 0.0);
    for (at, figures) in queries.iter().enumerate() {
        let weight = weight(at);
        total += weight;
        sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += weight * figure);
    }
    (total > 0.0).then(|| sums.map(|sum| sum / total))
}

fn top(query: &RankedHits, k: usize) -> impl Iterator<Item = bool> + '_ {
    query.relevant.iter().take(k).copied()
}

fn gain(hits: impl Iterator<Item = bool>) -> f64 {
    hits.enumerate().filter(|(_, hit)| *hit).map(|(rank, _)| 1.0 / ((rank + 2) as f64).log2()).sum()
}

fn precision_sum(hits: impl Iterator<Item = bool>) -> f64 {
    let ranks = hits.enumerate().filter(|(_, hit)| *hit).map(|(rank, _)| rank + 1);
    ranks.enumerate().map(|(before, rank)| (before + 1) as f64 / rank as f64).sum()
}
