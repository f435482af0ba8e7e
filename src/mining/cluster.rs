//! Scored pairs to duplicate clusters of questions.

use std::collections::HashMap;

use crate::clustering::{Clustering, Edge, Graph, cluster};
use crate::hash::hash64;
use crate::mining::plan::Plan;
use crate::mining::rows::DecidedPair;
use crate::tables::texts::Texts;

/// Clusters texts by the probabilities of their pairs, or by their cosines if nothing was reranked. Pairs without a
/// probability are left out, as if they were no candidates. The hashes of the texts break ties.
///
/// With a reference a text first joins the cluster of its most probable duplicate there; the clusters of the reference stay
/// apart. The texts that match nothing there are clustered among themselves.
pub fn run(texts: &Texts, decided: &[DecidedPair], known: Option<&Known>, plan: &Plan) -> (Vec<Edge>, Clustering) {
    let keys: Vec<u64> = texts.iter().map(|text| hash64(text.as_bytes())).collect();
    let edge = |pair: &DecidedPair| {
        Some(Edge { a: pair.candidate.a, b: pair.candidate.b, probability: pair.verdict.probability? })
    };
    let edges: Vec<Edge> = decided.iter().filter_map(edge).collect();
    let threshold = plan.rule.threshold;
    let ruled_out = plan.rule.ruled_out();
    let graph = |edges| Graph { nodes: keys.len(), edges, threshold, ruled_out, keys: &keys };
    let Some(known) = known else {
        let clustering = cluster(&graph(&edges), plan.options.clustering);
        return (edges, clustering);
    };
    let joined = known.joined(&edges, threshold);
    let is_free = |text: u32| joined[text as usize].is_none();
    let free: Vec<Edge> = edges.iter().copied().filter(|edge| is_free(edge.a) && is_free(edge.b)).collect();
    let among_themselves = cluster(&graph(&free), plan.options.clustering);
    (edges, known.clustering(&joined, &among_themselves))
}

/// The clusters of the reference; a text of the reference that is in none is a cluster of its own.
#[derive(Debug, Default)]
pub struct Known {
    /// Text → the cluster of the reference that it is in.
    pub cluster_of: Vec<Option<u32>>,
    /// Cluster → the text that represents it.
    pub representative: Vec<u32>,
    /// Cluster → the question that represents it; `None` for the first with that text.
    pub question: Vec<Option<u32>>,
    /// Cluster → its id, if it has one.
    pub ids: Vec<Option<u64>>,
}

impl Known {
    /// The known cluster that texts are with; they are one cluster of a run.
    pub fn cluster_with(&self, texts: &[u32]) -> Option<u32> {
        texts.iter().find_map(|&text| self.cluster_of[text as usize])
    }

    /// Text → the cluster of the reference that it is in or joins: that of its most probable duplicate.
    fn joined(&self, edges: &[Edge], threshold: f32) -> Vec<Option<u32>> {
        let mut best: Vec<Option<(f32, u32)>> = vec![None; self.cluster_of.len()];
        for edge in edges.iter().filter(|edge| edge.probability >= threshold) {
            for (text, other) in [(edge.a, edge.b), (edge.b, edge.a)] {
                let is_better = |(probability, known): (f32, u32)| {
                    edge.probability > probability || edge.probability == probability && other < known
                };
                if self.cluster_of[text as usize].is_none()
                    && self.cluster_of[other as usize].is_some()
                    && best[text as usize].is_none_or(is_better)
                {
                    best[text as usize] = Some((edge.probability, other));
                }
            }
        }
        let join = |(own, best): (&Option<u32>, &Option<(f32, u32)>)| {
            own.or_else(|| best.and_then(|(_, known)| self.cluster_of[known as usize]))
        };
        self.cluster_of.iter().zip(&best).map(join).collect()
    }

    /// The texts that joined the reference, and the others as they were clustered among themselves.
    fn clustering(&self, joined: &[Option<u32>], others: &Clustering) -> Clustering {
        let mut number_of: HashMap<u32, u32> = HashMap::new();
        let (mut cluster_of, mut representative) = (Vec::with_capacity(joined.len()), Vec::new());
        for (joined, &other) in joined.iter().zip(&others.cluster_of) {
            let centre = match joined {
                Some(cluster) => self.representative[*cluster as usize],
                None => others.representative[other as usize],
            };
            let number = *number_of.entry(centre).or_insert_with(|| {
                representative.push(centre);
                representative.len() as u32 - 1
            });
            cluster_of.push(number);
        }
        Clustering { cluster_of, representative }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_join_the_reference_before_each_other_and_keep_its_clusters_apart() {
        // texts 0 and 1 are one known cluster, 2 another; 3 to 6 are new
        let known = Known {
            cluster_of: vec![Some(0), Some(0), Some(1), None, None, None, None],
            representative: vec![1, 2],
            question: vec![None, None],
            ids: vec![Some(5), None],
        };
        let edge = |a, b, probability| Edge { a, b, probability };
        let edges = [edge(0, 3, 0.9), edge(2, 3, 0.8), edge(3, 4, 0.95), edge(2, 5, 0.6), edge(4, 6, 0.99)];
        let joined = known.joined(&edges, 0.7);
        assert_eq!(joined, [Some(0), Some(0), Some(1), Some(0), None, None, None]);
        let others = Clustering { cluster_of: vec![0, 1, 2, 3, 4, 5, 4], representative: vec![0, 1, 2, 3, 6, 5] };
        let all = known.clustering(&joined, &others);
        assert_eq!(all.cluster_of, [0, 0, 1, 0, 2, 3, 2]);
        assert_eq!(all.representative, [1, 2, 6, 5]);
    }
}
