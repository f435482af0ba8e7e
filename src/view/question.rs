//! One question: its cluster, its candidate pairs, and why it is in a cluster or in none.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::progress::readable;
use crate::run::reader::FinishedRun;
use crate::run::schema::{ClusterRow, PairKind, PairRow, SkippedRow};
use crate::view::apart::{Between, Places};
use crate::view::block::Block;
use crate::view::named::{NamedQuestion, id, row_of, shown_id, shown_text};
use crate::view::pair::{PairView, score, verdict};

/// Pairs that the terminal lists; JSON has all.
const LISTED: usize = 25;

/// A question for JSON.
#[derive(Debug, Serialize)]
pub struct QuestionView {
    #[serde(flatten)]
    pub question: NamedQuestion,
    /// `None` if it is in no cluster.
    pub cluster: Option<Membership>,
    /// Its pairs, the most probable first.
    pub pairs: Vec<PlacedPair>,
    /// Its duplicates that are in another cluster or in none.
    pub apart: Vec<ApartView>,
    pub why: String,
}

/// A pair for JSON, with the cluster of the other question.
#[derive(Debug, Serialize)]
pub struct PlacedPair {
    #[serde(flatten)]
    pub pair: PairView,
    pub other_cluster_id: Option<i64>,
    pub in_same_cluster: bool,
}

/// A duplicate in another cluster, for JSON.
#[derive(Debug, Serialize)]
pub struct ApartView {
    pub id: Value,
    pub cluster_id: Option<i64>,
    pub why: String,
    /// The pair of the run that rules out a common cluster, if there is one.
    pub ruled_out_by: Option<PairView>,
}

/// A question's cluster for JSON.
#[derive(Debug, Serialize)]
pub struct Membership {
    pub cluster_id: i64,
    pub size: u32,
    pub is_representative: bool,
    pub probability_to_representative: Option<f32>,
    pub representative: Option<Value>,
}

/// The rows of one question.
pub struct QuestionRows {
    question: u32,
    /// Its row of `clusters.parquet`, and the representative of that cluster.
    member: Option<ClusterRow>,
    representative: Option<u32>,
    /// Its pairs, the most probable first.
    pairs: Vec<PairRow>,
    places: Places,
    between: Between,
}

impl QuestionRows {
    /// The question whose id was typed. `clusters` are all rows of the run; [`QuestionRows::add_pairs`] adds the pairs.
    pub fn find(run: &FinishedRun, typed: &str, clusters: &[ClusterRow]) -> Result<Self> {
        let question = row_of(run, typed, "question")?;
        let member = clusters.iter().find(|row| row.question == question).copied();
        let representative = member.and_then(|member| {
            let is_representative = |row: &&ClusterRow| row.cluster == member.cluster && row.is_representative;
            clusters.iter().find(is_representative).map(|row| row.question)
        });
        let places = Places::new(clusters);
        let between = Between::new(question, &[], &places);
        Ok(Self { question, member, representative, pairs: Vec::new(), places, between })
    }

    /// Whether the question is one of the pair's.
    pub fn is_in(&self, pair: &PairRow) -> bool {
        pair.a == self.question || pair.b == self.question
    }

    /// With the pairs that the question is in.
    pub fn add_pairs(mut self, mut pairs: Vec<PairRow>) -> Self {
        let key = |pair: &PairRow| (pair.probability.unwrap_or(-1.0), pair.cosine);
        pairs.sort_by(|x, y| key(y).0.total_cmp(&key(x).0).then(key(y).1.total_cmp(&key(x).1)));
        self.between = Between::new(self.question, &pairs, &self.places);
        self.pairs = pairs;
        self
    }

    /// Whether a duplicate of the question is in another cluster: then [`QuestionRows::explain_apart`] needs the pairs for
    /// which [`QuestionRows::is_between`] holds.
    pub fn has_apart(&self) -> bool {
        !self.between.is_empty()
    }

    /// Whether a pair lies between the question's cluster and that of a duplicate elsewhere.
    pub fn is_between(&self, pair: &PairRow) -> bool {
        self.between.is_between(pair, &self.places)
    }

    /// With the pairs between the clusters.
    pub fn explain_apart(mut self, pairs: Vec<PairRow>) -> Self {
        self.between = self.between.add_pairs(pairs);
        self
    }

    /// Whether the pair's other question is in the question's own cluster.
    fn in_same_cluster(&self, pair: &PairRow) -> bool {
        self.places.of(self.other(pair)) == self.places.of(self.question)
    }

    /// The duplicates in another cluster or in none, the most probable first.
    fn apart(&self) -> impl Iterator<Item = u32> {
        let duplicates =
            self.pairs.iter().filter(|pair| pair.is_duplicate == Some(true) && !self.in_same_cluster(pair));
        duplicates.map(|pair| self.other(pair))
    }

    /// The other question of a pair.
    fn other(&self, pair: &PairRow) -> u32 {
        if pair.a == self.question { pair.b } else { pair.a }
    }

    /// Why the question is where it is.
    fn why(&self, run: &FinishedRun) -> String {
        let options = &run.manifest.options;
        let threshold = run.manifest.rule().threshold;
        if let Some((member, representative)) = self.member.zip(self.representative) {
            let representative = shown_id(run, representative);
            return match member.probability_to_representative {
                _ if member.is_representative => "it represents its cluster".into(),
                Some(p) if p < threshold => format!(
                    "duplicates connect it to the representative {representative}, with which it reaches {p:.4}; the \
                     threshold is {threshold}"
                ),
                Some(p) => {
                    format!("it reaches {p:.4} with the representative {representative}; the threshold is {threshold}")
                }
                None => format!(
                    "duplicates connect it to the representative {representative}, with which it was not compared"
                ),
            };
        }
        let Some(best) = self.pairs.first() else {
            return format!(
                "it has no candidate pair: no question that the search found reaches the minimum cosine {}, or the model \
                 knows no word of its text",
                options.min_cosine.unwrap_or_default()
            );
        };
        let other = shown_id(run, self.other(best));
        match (best.probability, best.kind) {
            (None, _) if best.is_duplicate.is_some() => {
                format!("its best pair, with {other}, is below the rerank floor: its cosine is {:.4}", best.cosine)
            }
            (None, _) => format!("the rerank budget ended before its best pair, with {other}"),
            (Some(p), PairKind::Semantic) if best.is_duplicate != Some(true) => {
                format!("its best pair, with {other}, has {p:.4}, below the threshold {threshold}")
            }
            (Some(p), _) => format!(
                "it matches {other} with {p:.4}, but the clustering ({}) kept it out: {}",
                options.clustering.name(),
                self.between.why(run, self.other(best), &self.places)
            ),
        }
    }
}

/// The question for JSON.
pub fn view(run: &FinishedRun, rows: &QuestionRows) -> QuestionView {
    let membership = |member: ClusterRow| Membership {
        cluster_id: member.cluster,
        size: member.size,
        is_representative: member.is_representative,
        probability_to_representative: member.probability_to_representative,
        representative: rows.representative.map(|row| id(run, row)),
    };
    let placed = |pair: &PairRow| PlacedPair {
        pair: PairView::new(run, pair),
        other_cluster_id: rows.places.cluster(rows.other(pair)),
        in_same_cluster: rows.in_same_cluster(pair),
    };
    let apart = |other: u32| ApartView {
        id: id(run, other),
        cluster_id: rows.places.cluster(other),
        why: rows.between.why(run, other, &rows.places),
        ruled_out_by: rows.between.ruled_out_by(run, other, &rows.places).map(|pair| PairView::new(run, pair)),
    };
    QuestionView {
        question: NamedQuestion::new(run, rows.question),
        cluster: rows.member.map(membership),
        pairs: rows.pairs.iter().map(placed).collect(),
        apart: rows.apart().map(apart).collect(),
        why: rows.why(run),
    }
}

/// The question for the terminal.
pub fn lines(run: &FinishedRun, rows: &QuestionRows) -> Vec<Block> {
    let cluster = rows
        .member
        .map_or("none".into(), |member| format!("{} ({} questions)", member.cluster, readable(member.size as usize)));
    let mut lines = vec![
        Block::line(format!("question  {}", shown_id(run, rows.question))),
        Block::line(format!("text      {}", shown_text(run, rows.question))),
        Block::line(format!("cluster   {cluster}")),
        Block::line(format!("why       {}", rows.why(run))),
    ];
    if rows.pairs.is_empty() {
        return lines;
    }
    let cluster_name = |other: u32| rows.places.cluster(other).map_or("none".into(), |cluster| cluster.to_string());
    let listed = |pair: &PairRow| {
        let other = rows.other(pair);
        vec![
            shown_id(run, other),
            score(Some(pair.cosine)),
            score(pair.probability),
            verdict(pair.is_duplicate).into(),
            if rows.in_same_cluster(pair) { "same".into() } else { cluster_name(other) },
            shown_text(run, other),
        ]
    };
    let header = ["with", "cosine", "probability", "verdict", "cluster", "text"];
    lines.push(Block::gap());
    lines.push(Block::table(&header, &[1, 2], rows.pairs.iter().take(LISTED).map(listed).collect()));
    if rows.pairs.len() > LISTED {
        lines.push(Block::line(format!("… and {} more pairs", readable(rows.pairs.len() - LISTED))));
    }
    let apart: Vec<u32> = rows.apart().take(LISTED).collect();
    if !apart.is_empty() {
        lines.extend([Block::gap(), Block::line("duplicates that are not in its cluster, and why")]);
        let row = |other: &u32| {
            let why = rows.between.why(run, *other, &rows.places);
            vec![shown_id(run, *other), cluster_name(*other), why]
        };
        lines.push(Block::table(&["with", "cluster", "why"], &[], apart.iter().map(row).collect()));
    }
    lines
}

/// The input row without a question whose id was typed, if there is one.
pub fn find_skipped<'a>(run: &FinishedRun, typed: &str, skipped: &'a [SkippedRow]) -> Option<&'a SkippedRow> {
    let row = run.results.index().find(typed)?;
    skipped.iter().find(|skipped| skipped.question == row)
}

/// A skipped row for JSON.
pub fn skipped_view(typed: &str, skipped: &SkippedRow) -> QuestionView {
    let question = NamedQuestion { id: typed.into(), text: None };
    QuestionView { question, cluster: None, pairs: Vec::new(), apart: Vec::new(), why: skipped_why(skipped) }
}

/// A skipped row for the terminal.
pub fn skipped_lines(typed: &str, skipped: &SkippedRow) -> Vec<Block> {
    vec![Block::line(format!("question  {typed}")), Block::line(format!("why       {}", skipped_why(skipped)))]
}

fn skipped_why(skipped: &SkippedRow) -> String {
    format!("its row was skipped: {}", skipped.reason)
}
