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

/// Means over queries of what the first `k` hits hold.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct RetrievalFigures {
    pub k: usize,
    pub queries: usize,
    /// Discounted gain 1 / log₂(rank + 1) of the relevant, over that of a perfect list (Järvelin & Kekäläinen 2002).
    pub ndcg: f64,
    /// 1 / rank of the first relevant hit.
    pub mrr: f64,
    /// Precision at each relevant hit, summed, over min(k, known).
    pub map: f64,
    pub recall: f64,
    pub precision: f64,
    /// Share of queries with any relevant hit.
    pub accuracy: f64,
}

/// Figures of the first `k` hits; `None` without queries.
pub fn at(k: usize, queries: &[RankedHits]) -> Option<RetrievalFigures> {
    if queries.is_empty() {
        return None;
    }
    let mean = |figure: &dyn Fn(&RankedHits) -> f64| queries.iter().map(figure).sum::<f64>() / queries.len() as f64;
    Some(RetrievalFigures {
        k,
        queries: queries.len(),
        ndcg: mean(&|query| gain(top(query, k)) / gain(std::iter::repeat_n(true, query.known.min(k)))),
        mrr: mean(&|query| top(query, k).position(|hit| hit).map_or(0.0, |rank| 1.0 / (rank + 1) as f64)),
        map: mean(&|query| precision_sum(top(query, k)) / query.known.min(k) as f64),
        recall: mean(&|query| found(query, k) / query.known as f64),
        precision: mean(&|query| found(query, k) / k as f64),
        accuracy: mean(&|query| if top(query, k).any(|hit| hit) { 1.0 } else { 0.0 }),
    })
}

fn top(query: &RankedHits, k: usize) -> impl Iterator<Item = bool> + '_ {
    query.relevant.iter().take(k).copied()
}

fn found(query: &RankedHits, k: usize) -> f64 {
    top(query, k).filter(|&hit| hit).count() as f64
}

fn gain(hits: impl Iterator<Item = bool>) -> f64 {
    hits.enumerate().filter(|(_, hit)| *hit).map(|(rank, _)| 1.0 / ((rank + 2) as f64).log2()).sum()
}

fn precision_sum(hits: impl Iterator<Item = bool>) -> f64 {
    let ranks = hits.enumerate().filter(|(_, hit)| *hit).map(|(rank, _)| rank + 1);
    ranks.enumerate().map(|(before, rank)| (before + 1) as f64 / rank as f64).sum()
}
