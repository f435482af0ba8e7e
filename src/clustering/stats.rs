//! How cohesive each cluster is, so that a person need review only the doubtful ones.
//!
//! The rule for review: a scored pair inside is below the threshold, or fewer than half of the pairs inside are known
//! duplicates. In the first case the scorer contradicts itself; in the second most pairs were never scored. Of the
//! cohesive clusters of three or more on 99,639 Quora questions (cosines, threshold 0.80) the rule picks 2,359 of
//! 6,543; on average 47 % of a picked cluster's pairs are labelled duplicates (labels are incomplete), 61 % of the
//! others'. The rule does not search for bridges: every member matches the representative, so a bridge can only hold a
//! node with a single duplicate, and then a low pair or the unscored pairs show it.

use super::graph::{Clustering, Edge};

/// One cluster of two or more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterStats {
    /// Its number in the [`Clustering`].
    pub cluster: u32,
    /// Nodes, n.
    pub size: u32,
    /// Scored pairs inside at or above the threshold.
    pub edges: usize,
    /// edges / (n (n − 1) / 2), 0..=1.
    pub density: f64,
    /// Lowest probability of a scored pair inside, below the threshold too; infinite if none was scored.
    pub min_probability: f32,
    /// Mean probability of the scored pairs inside; NaN if none was scored.
    pub mean_probability: f64,
    /// Pairs inside that were never scored: below the minimum cosine, or not among the nearest neighbours.
    pub unscored: u64,
    /// A low pair inside or a density below one half; the module documentation says why.
    pub needs_review: bool,
}

/// Sums over the scored pairs of a cluster.
#[derive(Clone, Copy)]
struct Sums {
    size: u32,
    scored: usize,
    edges: usize,
    min: f32,
    sum: f64,
}

/// The statistics of every cluster of two or more, by cluster number. `edges` are all scored pairs of the graph that
/// was clustered, `threshold` the one it was clustered at; O(nodes + edges).
pub fn stats(clustering: &Clustering, edges: &[Edge], threshold: f32) -> Vec<ClusterStats> {
    let empty = Sums { size: 0, scored: 0, edges: 0, min: f32::INFINITY, sum: 0.0 };
    let mut sums = vec![empty; clustering.representative.len()];
    for &cluster in &clustering.cluster_of {
        sums[cluster as usize].size += 1;
    }
    for edge in edges {
        let cluster = clustering.cluster_of[edge.a as usize];
        if cluster == clustering.cluster_of[edge.b as usize] {
            let sums = &mut sums[cluster as usize];
            sums.scored += 1;
            sums.edges += usize::from(edge.probability >= threshold);
            sums.min = sums.min.min(edge.probability);
            sums.sum += f64::from(edge.probability);
        }
    }
    (0..).zip(sums).filter(|(_, sums)| sums.size >= 2).map(|(cluster, sums)| sums.stats(cluster)).collect()
}

impl Sums {
    fn stats(self, cluster: u32) -> ClusterStats {
        let n = self.size as usize;
        let pairs = n * (n - 1) / 2;
        let density = self.edges as f64 / pairs as f64;
        ClusterStats {
            cluster,
            size: self.size,
            edges: self.edges,
            density,
            min_probability: self.min,
            mean_probability: self.sum / self.scored as f64,
            unscored: (pairs - self.scored) as u64,
            needs_review: self.scored > self.edges || density < 0.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(edges: &[(u32, u32, f32)], cluster_of: &[u32]) -> Vec<ClusterStats> {
        let edges: Vec<Edge> = edges.iter().map(|&(a, b, probability)| Edge { a, b, probability }).collect();
        let clusters = cluster_of.iter().max().map_or(0, |last| last + 1);
        let first = |cluster| cluster_of.iter().position(|&of| of == cluster).unwrap() as u32;
        let representative = (0..clusters).map(first).collect();
        stats(&Clustering { cluster_of: cluster_of.to_vec(), representative }, &edges, 0.5)
    }

    #[test]
    fn counts_what_is_inside() {
        let edges = [(0, 1, 0.75), (0, 3, 0.5), (1, 3, 0.25), (2, 3, 0.99)];
        let expected = ClusterStats {
            cluster: 0,
            size: 3,
            edges: 2,
            density: 2.0 / 3.0,
            min_probability: 0.25,
            mean_probability: 0.5,
            unscored: 0,
            needs_review: true,
        };
        assert_eq!(of(&edges, &[0, 0, 1, 0]), [expected]);
    }

    #[test]
    fn singletons_have_no_statistics() {
        assert_eq!(of(&[], &[]), []);
        assert_eq!(of(&[(0, 1, 0.1)], &[0, 1]), []);
    }

    #[test]
    fn review_is_for_low_pairs_and_for_holes() {
        let review = |edges: &[(u32, u32, f32)], cluster_of: &[u32]| of(edges, cluster_of)[0].needs_review;
        assert!(!review(&[(0, 1, 0.9)], &[0, 0]));
        assert!(!review(&[(0, 1, 0.9), (1, 2, 0.9)], &[0, 0, 0]), "one unscored pair of three");
        assert!(review(&[(0, 1, 0.9), (1, 2, 0.9), (0, 2, 0.49)], &[0, 0, 0]), "a low pair");
        let chain = [(0, 1, 0.9), (1, 2, 0.9), (2, 3, 0.9), (3, 4, 0.9)];
        let all = of(&chain, &[0; 5])[0];
        assert_eq!((all.density, all.unscored, all.needs_review), (0.4, 6, true));
    }
}
