//! A clustering compared with the gold one.
//!
//! Both are labelings: slices of n labels, one an item, where two items share a cluster exactly when they share a
//! label; a cluster of one has a label of its own. The labels' values and types need not agree. One pass over a hash
//! map of the non-empty cells of the contingency table gives everything in O(n), never the O(n²) pairs themselves.
//!
//! | figure | counts | weakness |
//! |---|---|---|
//! | pairwise | pairs of items put together | a cluster of 100 weighs as much as 4,950 clusters of 2 |
//! | B-cubed | items, each by its own cluster | singletons, which are easy to get right, raise it |
//! | adjusted Rand | pairs, corrected for chance | as pairwise; close to it if clusters are small |
//!
//! Sources: Bagga and Baldwin 1998 (B-cubed); Hubert and Arabie 1985 (adjusted Rand index).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// Precision, recall and their harmonic mean, all in 0..=1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrecisionRecall {
    pub precision: f64,
    pub recall: f64,
    /// 0 if precision and recall are 0.
    pub f1: f64,
}

/// Every figure of one comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterScores {
    /// Over pairs of items: of the pairs put together, how many belong together, and the reverse.
    pub pairwise: PrecisionRecall,
    /// Mean over items of the share of an item's predicted (precision) or gold (recall) cluster that is right.
    pub bcubed: PrecisionRecall,
    /// 1 for equal clusterings, 0 on average for random ones of these sizes; can be negative.
    pub adjusted_rand: f64,
}

/// Compares the labeling `predicted` with `gold`, both of n items in the same order.
///
/// A ratio that counts nothing is 1: if no pair is predicted, none is predicted wrongly.
///
/// # Panics
///
/// When the two slices differ in length.
pub fn compare<G: Copy + Eq + Hash, P: Copy + Eq + Hash>(gold: &[G], predicted: &[P]) -> ClusterScores {
    let contingency = Contingency::new(gold, predicted);
    contingency.scores(&vec![1; contingency.gold_clusters()])
}

/// How many items each gold cluster shares with each predicted one: counted once, scored as often as a bootstrap needs.
#[derive(Debug)]
pub struct Contingency {
    /// Gold cluster, predicted cluster and their common items, in the order of first appearance, not of a hash map, so
    /// that sums are the same bits every run.
    cells: Vec<(usize, usize, f64)>,
    gold_sizes: Vec<u64>,
    predicted_clusters: usize,
}

impl Contingency {
    /// # Panics
    ///
    /// When the two slices differ in length.
    pub fn new<G: Copy + Eq + Hash, P: Copy + Eq + Hash>(gold: &[G], predicted: &[P]) -> Self {
        assert_eq!(gold.len(), predicted.len(), "gold and predicted labels must be of the same items");
        let (gold, gold_sizes) = dense(gold.iter().copied());
        let (predicted, predicted_sizes) = dense(predicted.iter().copied());
        let (cell_of, cell_sizes) = dense(gold.iter().copied().zip(predicted.iter().copied()));
        let mut cells: Vec<(usize, usize, f64)> = cell_sizes.iter().map(|&n| (0, 0, n as f64)).collect();
        for (item, &cell) in cell_of.iter().enumerate() {
            (cells[cell].0, cells[cell].1) = (gold[item], predicted[item]);
        }
        Self { cells, gold_sizes, predicted_clusters: predicted_sizes.len() }
    }

    /// Gold clusters there are, numbered in order of first appearance.
    pub fn gold_clusters(&self) -> usize {
        self.gold_sizes.len()
    }

    /// Scores when gold cluster g counts `times[g]` times. A pair of items of two gold clusters counts as often as one
    /// is there times as often as the other is; copies of one gold cluster are never held against each other.
    pub fn scores(&self, times: &[u32]) -> ClusterScores {
        let times = |gold: usize| f64::from(times[gold]);
        // by predicted cluster: items, and the sum of their squares by gold cluster
        let mut within = vec![(0.0, 0.0); self.predicted_clusters];
        let mut both = 0.0;
        for &(gold, predicted, n) in &self.cells {
            let items = n * times(gold);
            within[predicted].0 += items;
            within[predicted].1 += items * items;
            both += times(gold) * pairs(n);
        }
        let wrong: f64 = within.iter().map(|(items, squares)| (items * items - squares) / 2.0).sum();
        let (mut items, mut squares, mut in_gold) = (0.0, 0.0, 0.0);
        for (gold, &size) in self.gold_sizes.iter().enumerate() {
            let here = size as f64 * times(gold);
            items += here;
            squares += here * here;
            in_gold += times(gold) * pairs(size as f64);
        }
        let all = in_gold + (items * items - squares) / 2.0;
        let (mut right_of_predicted, mut right_of_gold) = (0.0, 0.0);
        for &(gold, predicted, n) in &self.cells {
            let others = within[predicted].0 - n * times(gold);
            right_of_predicted += times(gold) * n * n / (n + others);
            right_of_gold += times(gold) * n * n / self.gold_sizes[gold] as f64;
        }
        ClusterScores {
            pairwise: PrecisionRecall::new(ratio(both, both + wrong), ratio(both, in_gold)),
            bcubed: PrecisionRecall::new(ratio(right_of_predicted, items), ratio(right_of_gold, items)),
            adjusted_rand: adjusted_rand(both, in_gold, both + wrong, all),
        }
    }
}

impl PrecisionRecall {
    fn new(precision: f64, recall: f64) -> Self {
        let sum = precision + recall;
        Self { precision, recall, f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 } }
    }
}

/// (index - expected index) / (largest index - expected index), over pairs of items.
fn adjusted_rand(both: f64, in_gold: f64, in_predicted: f64, all: f64) -> f64 {
    if both == in_gold && both == in_predicted {
        return 1.0; // equal clusterings, also the two trivial ones where the fraction is 0 / 0
    }
    let expected = in_gold * in_predicted / all;
    (both - expected) / ((in_gold + in_predicted) / 2.0 - expected)
}

/// Labels renumbered 0, 1, 2 … by first appearance, and how often each appears.
fn dense<L: Eq + Hash>(labels: impl Iterator<Item = L>) -> (Vec<usize>, Vec<u64>) {
    let mut number_of = HashMap::new();
    let mut sizes = Vec::new();
    let numbers = labels.map(|label| {
        let number = match number_of.entry(label) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                sizes.push(0);
                *new.insert(sizes.len() - 1)
            }
        };
        sizes[number] += 1;
        number
    });
    (numbers.collect(), sizes)
}

/// Pairs among n items.
fn pairs(n: f64) -> f64 {
    n * (n - 1.0) / 2.0
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reference/metrics.json");

    fn labels(value: &Value) -> Vec<i64> {
        value.as_array().unwrap().iter().map(|label| label.as_i64().unwrap()).collect()
    }

    fn assert_near(ours: f64, theirs: &Value, what: &str) {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() < 1e-9, "{what}: {ours}, scikit-learn has {theirs}");
    }

    #[test]
    fn equals_the_saved_reference() {
        let reference: Value = serde_json::from_str(&std::fs::read_to_string(REFERENCE).unwrap()).unwrap();
        let cases = reference["clusterings"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let scores = compare(&labels(&case["gold"]), &labels(&case["predicted"]));
            for (kind, ours) in [("pairwise", scores.pairwise), ("bcubed", scores.bcubed)] {
                assert_near(ours.precision, &case[kind]["precision"], &format!("{name} {kind} precision"));
                assert_near(ours.recall, &case[kind]["recall"], &format!("{name} {kind} recall"));
                assert_near(ours.f1, &case[kind]["f1"], &format!("{name} {kind} F1"));
            }
            assert_near(scores.adjusted_rand, &case["adjusted_rand"], &format!("{name} adjusted Rand"));
        }
    }

    /// Two gold clusters of two, one predicted cluster: of the cross pairs, as many as one times the other.
    #[test]
    fn a_gold_cluster_that_counts_twice_is_two_clusters() {
        let contingency = Contingency::new(&[1, 1, 2, 2], &[5, 5, 5, 5]);
        let scores = contingency.scores(&[2, 1]);
        // right pairs 2 + 1, wrong ones 2 · 2 · (2 · 1)
        assert_eq!(scores.pairwise, PrecisionRecall::new(3.0 / 11.0, 1.0));
        // items of the first see 2 of 4, of the other 2 of 6
        assert_eq!(scores.bcubed, PrecisionRecall::new((4.0 * 0.5 + 2.0 / 3.0) / 6.0, 1.0));
        assert_eq!(contingency.scores(&[0, 1]).pairwise, PrecisionRecall::new(1.0, 1.0));
    }

    #[test]
    fn nothing_to_get_wrong_is_perfect() {
        let perfect = PrecisionRecall { precision: 1.0, recall: 1.0, f1: 1.0 };
        for labels in [&[][..], &[7], &[7, 8, 9], &[7, 7, 7]] {
            let scores = compare::<i64, i64>(labels, labels);
            assert_eq!(scores, ClusterScores { pairwise: perfect, bcubed: perfect, adjusted_rand: 1.0 });
        }
    }

    #[test]
    fn all_apart_has_precision_but_no_recall() {
        let scores = compare(&[1, 1, 1, 1], &[0_u32, 1, 2, 3]);
        assert_eq!(scores.pairwise, PrecisionRecall { precision: 1.0, recall: 0.0, f1: 0.0 });
        assert_eq!(scores.bcubed, PrecisionRecall { precision: 1.0, recall: 0.25, f1: 0.4 });
        assert_eq!(scores.adjusted_rand, 0.0);
    }

    #[test]
    #[should_panic(expected = "same items")]
    fn labelings_of_different_items_are_refused() {
        compare(&[1, 2], &[1]);
    }

    /// By the definitions, over all n² pairs.
    fn brute(gold: &[u32], predicted: &[u32]) -> ClusterScores {
        let n = gold.len();
        let (mut both, mut only_gold, mut only_predicted, mut neither) = (0.0, 0.0, 0.0, 0.0);
        let (mut precision, mut recall) = (0.0, 0.0);
        for i in 0..n {
            for j in 0..i {
                match (gold[i] == gold[j], predicted[i] == predicted[j]) {
                    (true, true) => both += 1.0,
                    (true, false) => only_gold += 1.0,
                    (false, true) => only_predicted += 1.0,
                    (false, false) => neither += 1.0,
                }
            }
            let together = (0..n).filter(|&j| gold[i] == gold[j] && predicted[i] == predicted[j]).count() as f64;
            precision += together / predicted.iter().filter(|&&label| label == predicted[i]).count() as f64;
            recall += together / gold.iter().filter(|&&label| label == gold[i]).count() as f64;
        }
        // scikit-learn's form of the index.
        let rand = if only_gold == 0.0 && only_predicted == 0.0 {
            1.0
        } else {
            2.0 * (both * neither - only_gold * only_predicted)
                / ((both + only_gold) * (only_gold + neither) + (both + only_predicted) * (only_predicted + neither))
        };
        ClusterScores {
            pairwise: PrecisionRecall::new(ratio(both, both + only_predicted), ratio(both, both + only_gold)),
            bcubed: PrecisionRecall::new(ratio(precision, n as f64), ratio(recall, n as f64)),
            adjusted_rand: rand,
        }
    }

    proptest! {
        #[test]
        fn equals_counting_all_pairs(items in prop::collection::vec((0_u32..6, 0_u32..6), 0..40)) {
            let (gold, predicted): (Vec<u32>, Vec<u32>) = items.into_iter().unzip();
            let (fast, slow) = (compare(&gold, &predicted), brute(&gold, &predicted));
            for (fast, slow) in [(fast.pairwise, slow.pairwise), (fast.bcubed, slow.bcubed)] {
                prop_assert!((fast.precision - slow.precision).abs() < 1e-9);
                prop_assert!((fast.recall - slow.recall).abs() < 1e-9);
                prop_assert!((fast.f1 - slow.f1).abs() < 1e-9);
            }
            prop_assert!((fast.adjusted_rand - slow.adjusted_rand).abs() < 1e-9);
        }

        #[test]
        fn swapping_the_sides_swaps_precision_and_recall(items in prop::collection::vec((0_u32..6, 0_u32..6), 1..40)) {
            let (gold, predicted): (Vec<u32>, Vec<u32>) = items.into_iter().unzip();
            let (one, other) = (compare(&gold, &predicted), compare(&predicted, &gold));
            prop_assert_eq!(one.pairwise.precision, other.pairwise.recall);
            prop_assert!((one.bcubed.precision - other.bcubed.recall).abs() < 1e-12);
            prop_assert!((one.adjusted_rand - other.adjusted_rand).abs() < 1e-12);
        }
    }
}
