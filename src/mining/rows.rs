//! From scored pairs and clusters of texts to rows about questions.

use std::collections::HashMap;

use rayon::slice::ParallelSliceMut;

use crate::clustering::stats::{ClusterStats, stats};
use crate::clustering::{Clustering, Edge};
use crate::mining::candidates::Candidate;
use crate::mining::collapse::{CopyPair, UniqueTexts};
use crate::mining::log::Log;
use crate::nightly::ids::Named;
use crate::run::decision::{Rule, Scores, Verdict};
use crate::run::schema::{ClusterRow, ClusterStatsRow, PairKind, PairRow, SkippedRow};
use crate::tables::questions::Questions;

/// A candidate with its decision.
pub struct DecidedPair {
    pub candidate: Candidate,
    pub scores: Scores,
    pub verdict: Verdict,
}

/// Rows of the result files.
pub struct Tables {
    pub pairs: Vec<PairRow>,
    pub clusters: Vec<ClusterRow>,
    pub stats: Vec<ClusterStatsRow>,
    pub skipped: Vec<SkippedRow>,
}

/// Probability and decision of every candidate.
pub fn decide(candidates: Vec<Candidate>, scores: Vec<Scores>, rule: &Rule) -> Vec<DecidedPair> {
    let decided = |(candidate, scores): (Candidate, Scores)| DecidedPair {
        candidate,
        scores,
        verdict: rule.decide(candidate.cosine, scores),
    };
    candidates.into_iter().zip(scores).map(decided).collect()
}

/// Rows of all result files.
pub fn assemble(
    questions: &Questions,
    unique: &UniqueTexts,
    copies: &[CopyPair],
    decided: &[DecidedPair],
    (edges, clustering): (&[Edge], &Clustering),
    (groups, named): (&[Group], &[Named]),
    threshold: f32,
) -> Tables {
    let row = |question: u32| questions.rows[question as usize];
    let first_row = |text: u32| row(unique.first_question[text as usize]);
    let semantic = |DecidedPair { candidate, scores, verdict }: &DecidedPair| {
        // texts are in the order of their keys, questions in the order of their ids
        let (a, b) = (first_row(candidate.a), first_row(candidate.b));
        let scores = if a < b { *scores } else { scores.swapped() };
        PairRow {
            a: a.min(b),
            b: a.max(b),
            cosine: candidate.cosine,
            logit_ab: scores.logit_ab,
            logit_ba: scores.logit_ba,
            probability: verdict.probability,
            is_duplicate: verdict.is_duplicate,
            kind: PairKind::Semantic,
        }
    };
    let copy = |copy: &CopyPair| PairRow {
        a: row(copy.a),
        b: row(copy.b),
        cosine: 1.0,
        logit_ab: None,
        logit_ba: None,
        probability: Some(1.0),
        is_duplicate: Some(true),
        kind: if copy.same_bytes { PairKind::Exact } else { PairKind::Normalised },
    };
    let mut pairs: Vec<PairRow> = decided.iter().map(semantic).chain(copies.iter().map(copy)).collect();
    pairs.par_sort_unstable_by_key(|pair| (pair.a, pair.b));
    let (clusters, stats) = cluster_rows(questions, unique, (edges, clustering), (groups, named), threshold);
    let skipped = questions.skipped.iter().map(|skipped| SkippedRow {
        question: skipped.row,
        input_row: skipped.input_row,
        reason: skipped.reason.name().into(),
    });
    Tables { pairs, clusters, stats, skipped: skipped.collect() }
}

/// A cluster of two questions or more.
pub struct Group {
    /// Its number in the [`Clustering`].
    pub number: u32,
    /// Ascending.
    pub questions: Vec<u32>,
    /// Ascending.
    pub texts: Vec<u32>,
    /// The question that represents it: the first with the text that the clustering chose, unless `--keep` chooses another.
    pub representative: u32,
}

/// The clusters that the result files have, in the order of their first questions: of two questions or more, not all of the
/// reference.
pub fn groups(questions: &Questions, unique: &UniqueTexts, clustering: &Clustering) -> Vec<Group> {
    let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
    for (question, &text) in unique.text_of.iter().enumerate() {
        members.entry(clustering.cluster_of[text as usize]).or_default().push(question as u32);
    }
    let is_new = |question: &u32| questions.is_reference.get(*question as usize) != Some(&true);
    let mut groups: Vec<Group> = members
        .into_iter()
        .filter(|(_, questions)| questions.len() > 1 && questions.iter().any(is_new))
        .map(|(number, questions)| {
            let mut texts: Vec<u32> = questions.iter().map(|&at| unique.text_of[at as usize]).collect();
            texts.sort_unstable();
            texts.dedup();
            let representative = unique.first_question[clustering.representative[number as usize] as usize];
            Group { number, questions, texts, representative }
        })
        .collect();
    groups.sort_unstable_by_key(|group| group.questions[0]);
    groups
}

fn cluster_rows(
    questions: &Questions,
    unique: &UniqueTexts,
    (edges, clustering): (&[Edge], &Clustering),
    (groups, named): (&[Group], &[Named]),
    threshold: f32,
) -> (Vec<ClusterRow>, Vec<ClusterStatsRow>) {
    let cluster_of = |text: u32| clustering.cluster_of[text as usize];
    let text_of = |question: u32| unique.text_of[question as usize];
    // cluster → the text that represents it
    let representative: HashMap<u32, u32> =
        groups.iter().map(|group| (group.number, text_of(group.representative))).collect();
    let mut to_representative: HashMap<u32, f32> = HashMap::new();
    for edge in edges.iter().filter(|edge| cluster_of(edge.a) == cluster_of(edge.b)) {
        let Some(&centre) = representative.get(&cluster_of(edge.a)) else { continue };
        if edge.a == centre || edge.b == centre {
            to_representative.insert(edge.a + edge.b - centre, edge.probability);
        }
    }
    let row = |question: u32| questions.rows[question as usize];
    let by_cluster: HashMap<u32, ClusterStats> =
        stats(clustering, edges, threshold).into_iter().map(|stats| (stats.cluster, stats)).collect();
    let (mut clusters, mut table) = (Vec::new(), Vec::new());
    for (group, named) in groups.iter().zip(named) {
        let (number, cluster, size) = (group.number, named.id as i64, group.questions.len() as u32);
        let centre = group.representative;
        clusters.extend(group.questions.iter().map(|&question| {
            let text = text_of(question);
            let own = (text == text_of(centre)).then_some(1.0);
            ClusterRow {
                question: row(question),
                cluster,
                is_representative: question == centre,
                is_reference: questions.is_reference.get(question as usize) == Some(&true),
                probability_to_representative: own.or(to_representative.get(&text).copied()),
                size,
            }
        }));
        let stats = by_cluster.get(&number);
        table.push(ClusterStatsRow {
            cluster,
            size,
            edges: stats.map_or(0, |s| s.edges as u64),
            density: stats.map_or(1.0, |s| s.density as f32),
            min_probability: stats.map_or(1.0, |s| s.min_probability),
            mean_probability: stats.map_or(1.0, |s| s.mean_probability as f32),
            representative: row(centre),
            needs_review: stats.is_some_and(|s| s.needs_review),
            first_seen: named.first_seen.version,
            first_seen_at: named.first_seen.time,
            // the changes of this version say which clusters stayed as they were
            ..ClusterStatsRow::default()
        });
    }
    (clusters, table)
}

/// Figures of the results.
pub fn log(log: &mut Log, tables: &Tables) {
    let kind = |kind| tables.pairs.iter().filter(|pair| pair.kind == kind).count() as f64;
    log.count("pairs", "exact", kind(PairKind::Exact));
    log.count("pairs", "normalised", kind(PairKind::Normalised));
    log.count("pairs", "semantic", kind(PairKind::Semantic));
    let decided = |is| tables.pairs.iter().filter(|pair| pair.is_duplicate == is).count() as f64;
    log.count("pairs", "duplicates", decided(Some(true)));
    log.count("pairs", "undecided", decided(None));
    log.count("cluster", "clusters", tables.stats.len() as f64);
    log.count("cluster", "questions_in_clusters", tables.clusters.len() as f64);
    log.count("cluster", "largest", tables.stats.iter().map(|s| s.size).max().unwrap_or(0).into());
    log.count("cluster", "needs_review", tables.stats.iter().filter(|s| s.needs_review).count() as f64);
}
