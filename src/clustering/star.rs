//! Star: the node with most duplicates takes them all, then the next that is still free.
//!
//! Every member is a duplicate of the centre, which is the representative, so a cluster is never wider than two
//! steps. Members may still contradict each other, and a member stays with the first centre that takes it even if
//! a later one is nearer. Order of the centres: most duplicates, then the highest summed probability, then key.
//!
//! Source: Aslam, Pelekhov and Rus 2004, the star algorithm, with the summed probability as tie break added.

use super::canonical::{Canonical, Neighbours};

/// The representative of each node.
pub(super) fn representatives(graph: &Canonical) -> Vec<u32> {
    let duplicates = Neighbours::new(graph.nodes, graph.duplicates());
    let summed: Vec<f64> = (0..graph.nodes as u32)
        .map(|node| duplicates.of(node).iter().map(|&(_, probability)| f64::from(probability)).sum())
        .collect();
    let mut centres: Vec<u32> = (0..graph.nodes as u32).collect();
    // Stable, so ties stay in the order of their keys.
    centres.sort_by(|&x, &y| {
        let by_degree = duplicates.of(y).len().cmp(&duplicates.of(x).len());
        by_degree.then(summed[y as usize].total_cmp(&summed[x as usize]))
    });
    let mut representative_of: Vec<Option<u32>> = vec![None; graph.nodes];
    for &centre in &centres {
        if representative_of[centre as usize].is_none() {
            representative_of[centre as usize] = Some(centre);
            for &(node, _) in duplicates.of(centre) {
                representative_of[node as usize].get_or_insert(centre);
            }
        }
    }
    (0..).zip(representative_of).map(|(node, centre)| centre.unwrap_or(node)).collect()
}
