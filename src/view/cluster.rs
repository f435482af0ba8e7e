//! One cluster: its questions and the scores between them.

use std::collections::HashSet;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::error::hint;
use crate::progress::readable;
use crate::run::reader::FinishedRun;
use crate::run::schema::{ClusterRow, ClusterStatsRow, PairRow};
use crate::view::block::Block;
use crate::view::named::{NamedQuestion, cluster_of, shown_id, shown_text};
use crate::view::pair::{PairView, score};

/// Figures of a cluster for JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterFigures {
    pub cluster_id: i64,
    pub size: u32,
    pub edges: u64,
    pub density: f32,
    pub min_probability: f32,
    pub mean_probability: f32,
    pub needs_review: bool,
    pub representative: NamedQuestion,
}

impl ClusterFigures {
    pub fn new(run: &FinishedRun, stats: &ClusterStatsRow) -> Self {
        Self {
            cluster_id: stats.cluster,
            size: stats.size,
            edges: stats.edges,
            density: stats.density,
            min_probability: stats.min_probability,
            mean_probability: stats.mean_probability,
            needs_review: stats.needs_review,
            representative: NamedQuestion::new(run, stats.representative),
        }
    }
}

/// A cluster for JSON.
#[derive(Debug, Serialize)]
pub struct ClusterView {
    #[serde(flatten)]
    pub figures: ClusterFigures,
    pub members: Vec<MemberView>,
    /// The pairs inside, the least probable first.
    pub pairs: Vec<PairView>,
}

/// A question of a cluster for JSON.
#[derive(Debug, Serialize)]
pub struct MemberView {
    #[serde(flatten)]
    pub question: NamedQuestion,
    pub is_representative: bool,
    pub probability_to_representative: Option<f32>,
}

/// The rows of one cluster.
pub struct ClusterRows {
    stats: ClusterStatsRow,
    members: Vec<ClusterRow>,
    /// The pairs inside, the least probable first.
    pairs: Vec<PairRow>,
}

impl ClusterRows {
    /// The cluster whose id was typed. `clusters` and `stats` are all rows of the run; [`ClusterRows::add_pairs`] adds
    /// the pairs. If the id is a question's, the error says where that question is.
    pub fn find(run: &FinishedRun, typed: &str, clusters: &[ClusterRow], stats: &[ClusterStatsRow]) -> Result<Self> {
        let cluster = cluster_of(typed);
        let members: Vec<ClusterRow> = clusters.iter().filter(|row| Some(row.cluster) == cluster).copied().collect();
        let Some(cluster) = cluster.filter(|_| !members.is_empty()) else {
            let question = run.results.index().find(typed);
            let advice = match clusters.iter().find(|row| Some(row.question) == question) {
                Some(row) => format!("question {typed} is in cluster {}: --cluster {0}", row.cluster),
                None if question.is_some() => {
                    format!("question {typed} is in no cluster: mine show --question {typed} says why")
                }
                None => "cluster ids are in clusters.parquet, and mine show lists the largest clusters".into(),
            };
            return Err(hint(format!("no cluster {typed:?} in this run"), advice));
        };
        let stats = stats.iter().find(|stats| stats.cluster == cluster).copied();
        let stats = stats.context("cluster_stats.parquet lacks the cluster")?;
        Ok(Self { stats, members, pairs: Vec::new() })
    }

    /// The cluster's questions: pairs of two of them are its pairs.
    pub fn questions(&self) -> HashSet<u32> {
        self.members.iter().map(|row| row.question).collect()
    }

    /// With the pairs inside the cluster.
    pub fn add_pairs(mut self, mut pairs: Vec<PairRow>) -> Self {
        pairs.sort_by(|x, y| x.probability.unwrap_or(-1.0).total_cmp(&y.probability.unwrap_or(-1.0)));
        self.pairs = pairs;
        self
    }
}

/// The cluster for JSON.
pub fn view(run: &FinishedRun, rows: &ClusterRows) -> ClusterView {
    let member = |row: &ClusterRow| MemberView {
        question: NamedQuestion::new(run, row.question),
        is_representative: row.is_representative,
        probability_to_representative: row.probability_to_representative,
    };
    ClusterView {
        figures: ClusterFigures::new(run, &rows.stats),
        members: rows.members.iter().map(member).collect(),
        pairs: rows.pairs.iter().map(|pair| PairView::new(run, pair)).collect(),
    }
}

/// The cluster for the terminal.
pub fn lines(run: &FinishedRun, rows: &ClusterRows) -> Vec<Block> {
    let stats = &rows.stats;
    let title = format!(
        "cluster {}: {} questions, {:.0} % of the pairs match, lowest {:.4}, mean {:.4}{}",
        stats.cluster,
        readable(stats.size as usize),
        100.0 * stats.density,
        stats.min_probability,
        stats.mean_probability,
        if stats.needs_review { "; needs review" } else { "" }
    );
    let member = |row: &ClusterRow| {
        let score = if row.is_representative { "repr.".into() } else { score(row.probability_to_representative) };
        vec![shown_id(run, row.question), score, shown_text(run, row.question)]
    };
    let pair = |pair: &PairRow| {
        let ids = [pair.a, pair.b].map(|row| shown_id(run, row));
        let scores = [Some(pair.cosine), pair.logit_ab, pair.logit_ba, pair.probability].map(score);
        ids.into_iter().chain(scores).chain([pair.kind.name().to_string()]).collect()
    };
    let header = ["a", "b", "cosine", "logit ab", "logit ba", "probability", "kind"];
    vec![
        Block::line(title),
        Block::gap(),
        Block::table(&["question", "to repr.", "text"], &[1], rows.members.iter().map(member).collect()),
        Block::gap(),
        Block::table(&header, &[2, 3, 4, 5], rows.pairs.iter().map(pair).collect()),
    ]
}
