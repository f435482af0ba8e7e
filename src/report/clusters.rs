//! The clusters that the page shows one by one: which ones, their members and the scores between them.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use crate::report::format::{count, optional_score, percent, score};
use crate::report::source::{QuestionCard, Source};
use crate::run::schema::{ClusterRow, ClusterStatsRow, PairKind, PairRow};

/// Clusters that are shown for each reason.
const LISTED: usize = 15;
/// Members shown of one cluster.
const MEMBERS: usize = 40;
/// For up to this many members, a table shows the scores of all pairs.
const TABLE_MEMBERS: usize = 10;
/// Lowest pairs that are shown of a larger cluster.
const LOWEST: usize = 12;

/// Rows of `clusters.parquet` by cluster, in the order of `cluster_stats.parquet`.
pub fn groups<'a>(rows: &'a [ClusterRow], stats: &[ClusterStatsRow]) -> Result<Vec<&'a [ClusterRow]>> {
    let groups: Vec<&[ClusterRow]> = rows.chunk_by(|x, y| x.cluster == y.cluster).collect();
    let same = groups.iter().map(|group| group[0].cluster).eq(stats.iter().map(|stats| stats.cluster));
    ensure!(same, "clusters.parquet and cluster_stats.parquet do not hold the same clusters in the same order");
    Ok(groups)
}

/// Positions of the clusters to show, by why they are shown.
pub struct Chosen {
    biggest: Vec<usize>,
    least_cohesive: Vec<usize>,
    to_review: Vec<usize>,
}

impl Chosen {
    pub fn new(stats: &[ClusterStatsRow]) -> Self {
        let first = |mut order: Vec<usize>, by: &dyn Fn(&ClusterStatsRow) -> (f32, f32)| {
            let key = |at: &usize| (by(&stats[*at]), *at);
            let compare = |x: &usize, y: &usize| {
                let (((x1, x2), x3), ((y1, y2), y3)) = (key(x), key(y));
                x1.total_cmp(&y1).then(x2.total_cmp(&y2)).then(x3.cmp(&y3))
            };
            if order.len() > LISTED {
                order.select_nth_unstable_by(LISTED, compare);
                order.truncate(LISTED);
            }
            order.sort_unstable_by(compare);
            order
        };
        let every = |keep: &dyn Fn(&ClusterStatsRow) -> bool| (0..stats.len()).filter(|&at| keep(&stats[at])).collect();
        Self {
            biggest: first(every(&|_| true), &|s| (-(s.size as f32), s.density)),
            least_cohesive: first(every(&|s| s.density < 1.0), &|s| (s.density, s.min_probability)),
            to_review: first(every(&|s| s.needs_review), &|s| (s.min_probability, s.density)),
        }
    }

    /// Every chosen cluster once, the biggest first.
    pub fn all(&self, stats: &[ClusterStatsRow]) -> Vec<usize> {
        let mut all = [&self.biggest[..], &self.least_cohesive, &self.to_review].concat();
        all.sort_unstable_by_key(|&at| (std::cmp::Reverse(stats[at].size), at));
        all.dedup();
        all
    }

    /// Why a cluster is shown. A cluster to review is marked even if it is shown for another reason.
    pub fn marks(&self, at: usize, stats: &ClusterStatsRow) -> Vec<&'static str> {
        let marks = [
            ("biggest", self.biggest.contains(&at)),
            ("least cohesive", self.least_cohesive.contains(&at)),
            ("review", stats.needs_review),
        ];
        marks.into_iter().filter(|(_, is_marked)| *is_marked).map(|(mark, _)| mark).collect()
    }
}

/// A cluster on the page.
pub struct ClusterCard {
    pub id: String,
    pub size: String,
    pub density: String,
    pub lowest: String,
    pub mean: String,
    pub marks: Vec<&'static str>,
    pub representative: QuestionCard,
    pub members: Vec<Member>,
    pub members_left_out: Option<String>,
    /// Scores between members, of a small cluster.
    pub table: Vec<TableRow>,
    /// The lowest pairs, of a large one.
    pub lowest_pairs: Vec<PairCard>,
}

/// A question of a cluster.
#[derive(Clone)]
pub struct Member {
    pub number: usize,
    pub question: QuestionCard,
    pub is_representative: bool,
    pub score: String,
}

/// Scores of one member with those before it.
#[derive(Clone)]
pub struct TableRow {
    pub number: usize,
    pub cells: Vec<Cell>,
}

/// A score, and the style class of its colour.
#[derive(Clone)]
pub struct Cell {
    pub text: String,
    pub class: &'static str,
}

/// A pair with its scores.
#[derive(Clone)]
pub struct PairCard {
    pub a: QuestionCard,
    pub b: QuestionCard,
    pub cosine: String,
    pub probability: String,
}

impl PairCard {
    pub fn new(source: &Source, pair: &PairRow) -> Self {
        Self {
            a: source.question(pair.a),
            b: source.question(pair.b),
            cosine: score(pair.cosine),
            // one more digit: with three, scores near the threshold would often look equal to it
            probability: pair.probability.map_or("–".into(), |p| format!("{p:.4}")),
        }
    }
}

/// Describes a cluster from its rows, the pairs inside it, and why it is shown.
pub fn view(
    source: &Source,
    stats: &ClusterStatsRow,
    rows: &[ClusterRow],
    pairs: &[PairRow],
    marks: Vec<&'static str>,
) -> ClusterCard {
    let member = |(at, row): (usize, &ClusterRow)| Member {
        number: at + 1,
        question: source.question(row.question),
        is_representative: row.is_representative,
        score: optional_score(row.probability_to_representative),
    };
    // the representative comes first: all scores are compared with it
    let mut rows: Vec<&ClusterRow> = rows.iter().collect();
    rows.sort_by_key(|row| !row.is_representative);
    let left_out = rows.len().saturating_sub(MEMBERS);
    let small = rows.len() <= TABLE_MEMBERS;
    ClusterCard {
        id: stats.cluster.to_string(),
        size: count(stats.size.into()),
        density: percent(stats.density.into()),
        lowest: score(stats.min_probability),
        mean: score(stats.mean_probability),
        marks,
        representative: source.question(stats.representative),
        members: rows.iter().copied().enumerate().take(MEMBERS).map(member).collect(),
        members_left_out: (left_out > 0).then(|| count(left_out as f64)),
        table: if small { table(&rows, pairs) } else { Vec::new() },
        lowest_pairs: match small {
            true => Vec::new(),
            false => pairs.iter().take(LOWEST).map(|pair| PairCard::new(source, pair)).collect(),
        },
    }
}

fn table(rows: &[&ClusterRow], pairs: &[PairRow]) -> Vec<TableRow> {
    let known: HashMap<(u32, u32), &PairRow> = pairs.iter().map(|pair| ((pair.a, pair.b), pair)).collect();
    let cell = |x: u32, y: u32| match known.get(&(x.min(y), x.max(y))) {
        None => Cell { text: "·".into(), class: "unscored" },
        Some(pair) => match (pair.kind, pair.probability) {
            (PairKind::Exact | PairKind::Normalised, _) => Cell { text: "copy".into(), class: "copy" },
            (_, None) => Cell { text: "?".into(), class: "unscored" },
            (_, Some(p)) => {
                let class = if pair.is_duplicate == Some(true) { "high" } else { "low" };
                Cell { text: format!("{p:.2}"), class }
            }
        },
    };
    let cells = |at: usize| rows[..at].iter().map(|other| cell(rows[at].question, other.question)).collect();
    (1..rows.len()).map(|at| TableRow { number: at + 1, cells: cells(at) }).collect()
}
