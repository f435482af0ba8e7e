//! The figures of a finished run against gold, with their intervals, as JSON and as tables.
//!
//! The bootstrap draws gold clusters; a question without known duplicates is its own cluster. A pair of questions of
//! two clusters counts as often as one was drawn times as often as the other was drawn (the vertex bootstrap of
//! Snijders and Borgatti 1999). Mined pairs connect nearly all questions, so their connected parts cannot be drawn
//! instead.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::commands::terminal::{figure_table, with_interval};
use crate::metrics::bootstrap::{Interval, centred_interval, resample};
use crate::metrics::clusters::{ClusterScores, Contingency};
use crate::metrics::gold::{Coverage, Fate, Funnel, Gold};
use crate::metrics::ranking::Ranking;
use crate::metrics::retrieval::{self, RankedHits};
use crate::progress::readable;

/// The k at which retrieval is measured.
const RANKS: [usize; 5] = [1, 3, 5, 10, 100];

/// A pair of unique texts that the run kept.
#[derive(Clone, Copy)]
pub(super) struct MinedPair {
    pub a: u32,
    pub b: u32,
    pub score: f64,
    pub is_scored: bool,
    pub is_duplicate: Option<bool>,
}

/// How many bootstrap draws, and their seed.
pub(super) struct Draws {
    pub count: u64,
    pub seed: u64,
}

/// A value with its interval.
struct Figure {
    name: &'static str,
    value: Option<f64>,
    interval: Option<Interval>,
}

/// The figures of the run.
pub(super) struct RunAnswer {
    duplicates: usize,
    questions: usize,
    contradictions: u64,
    pairs: usize,
    funnel: Funnel,
    funnel_shares: Vec<Figure>,
    called_duplicates: Coverage,
    in_one_cluster: Coverage,
    threshold: Option<f64>,
    mining: Vec<Figure>,
    retrieval: Vec<(usize, Vec<Figure>)>,
    clusters: Vec<Figure>,
}

/// The gold cluster of every text, numbered from 0.
struct Units {
    of_text: Vec<u32>,
    count: usize,
}

impl Units {
    fn new(gold: &Gold, texts: usize) -> Self {
        let mut of_text: Vec<u32> = (0..texts as u32).collect();
        gold.mentioned.iter().zip(gold.labels(texts)).for_each(|(&text, label)| of_text[text as usize] = label);
        Self { of_text, count: texts }
    }

    fn times(&self, times: &[u32], text: u32) -> u64 {
        u64::from(times[self.of_text[text as usize] as usize])
    }

    /// How often a pair counts in a draw.
    fn pair_times(&self, times: &[u32], a: u32, b: u32) -> u64 {
        let same = self.of_text[a as usize] == self.of_text[b as usize];
        self.times(times, a) * if same { 1 } else { self.times(times, b) }
    }
}

impl RunAnswer {
    pub(super) fn new(
        gold: &Gold,
        mined: &[MinedPair],
        found: &[bool],
        fates: &[(Fate, bool)],
        predicted: &[u32],
        draws: &Draws,
    ) -> Self {
        let units = Units::new(gold, predicted.len());
        let mut funnel = Funnel::default();
        fates.iter().for_each(|&(fate, mended)| funnel.count(fate, mended, 1));
        let (threshold, mining) = mining_figures(gold, mined, found, &units, draws);
        let called = mined.iter().filter(|pair| pair.is_duplicate == Some(true)).map(|pair| (pair.a, pair.b));
        Self {
            duplicates: gold.duplicates.len(),
            questions: gold.mentioned.len(),
            contradictions: gold.contradictions,
            pairs: mined.len(),
            funnel_shares: funnel_shares(gold, fates, &funnel, &units, draws),
            funnel,
            called_duplicates: Coverage::of_pairs(gold, called),
            in_one_cluster: Coverage::of_clusters(gold, predicted),
            threshold,
            mining,
            retrieval: retrieval_figures(gold, mined, found, &units, draws),
            clusters: cluster_figures(gold, predicted, draws),
        }
    }

    pub(super) fn json(&self) -> Value {
        let values = |figures: &[Figure]| -> Map<String, Value> {
            let intervals: Map<String, Value> = figures
                .iter()
                .filter_map(|figure| Some((figure.name, figure.interval?)))
                .map(|(name, interval)| (name.to_string(), json!([interval.low, interval.high])))
                .collect();
            let mut object: Map<String, Value> =
                figures.iter().map(|figure| (figure.name.to_string(), json!(figure.value))).collect();
            if !intervals.is_empty() {
                object.insert("intervals".into(), Value::Object(intervals));
            }
            object
        };
        let mut mining = values(&self.mining);
        mining.insert("pairs".into(), json!(self.pairs));
        mining.insert("f1_threshold".into(), json!(self.threshold));
        let retrieval: Vec<Value> = self
            .retrieval
            .iter()
            .map(|(k, figures)| {
                let mut object = values(figures);
                object.insert("k".into(), json!(k));
                Value::Object(object)
            })
            .collect();
        json!({
            "gold": {
                "duplicates": self.duplicates,
                "questions": self.questions,
                "contradictions": self.contradictions,
            },
            "funnel": self.funnel,
            "funnel_shares": values(&self.funnel_shares),
            "called_duplicates": self.called_duplicates,
            "in_one_cluster": self.in_one_cluster,
            "mining": mining,
            "retrieval": retrieval,
            "clusters": values(&self.clusters),
        })
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let shown = |figure: &Figure| with_interval(figure.value, figure.interval);
        let mut lines = vec![
            format!("{} known duplicates, {} labelled questions", readable(self.duplicates), readable(self.questions)),
            String::new(),
            "Where known duplicates are lost".into(),
        ];
        let funnel = &self.funnel;
        let counts = [
            ("below the minimum cosine", funnel.lost_by_min_cosine),
            ("not among the k nearest, or missed by the index", funnel.lost_by_index),
            ("below the rerank floor", funnel.lost_by_rerank_floor),
            ("not reached by the rerank budget", funnel.lost_by_budget),
            ("below the threshold", funnel.lost_by_score),
            ("called duplicates, but in different clusters", funnel.lost_by_clustering),
            ("in one cluster", funnel.found),
            ("… of these joined only by the clustering", funnel.mended_by_clustering),
        ];
        let rows = counts.into_iter().zip(&self.funnel_shares);
        let rows = rows.map(|((name, pairs), share)| vec![name.into(), readable(pairs as usize), shown(share)]);
        lines.extend(figure_table(&["known duplicates", "pairs", "share"], rows));
        lines.extend([String::new(), "What the run joined, and what the labels say about it".into()]);
        let rows = [("called duplicates", self.called_duplicates), ("in one cluster", self.in_one_cluster)];
        let rows = rows.map(|(name, Coverage { pairs, known_duplicates, not_known, unlabelled })| {
            let counts = [pairs, known_duplicates, not_known, unlabelled].map(|pairs| readable(pairs as usize));
            std::iter::once(name.to_string()).chain(counts).collect()
        });
        let header = [
            "pairs",
            "all",
            "known duplicates",
            "other pairs of labelled questions",
            "with a question without a label",
        ];
        lines.extend(figure_table(&header, rows));
        lines.extend([String::new(), "Mined pairs by score, against all known duplicates".into()]);
        let at = self.threshold.map_or(String::new(), |threshold| format!(" at {threshold:.3}"));
        let headings = [
            "pairs".to_string(),
            "average precision".into(),
            format!("best F1{at}"),
            "precision".into(),
            "recall".into(),
        ];
        let row = std::iter::once(readable(self.pairs)).chain(self.mining.iter().map(shown)).collect();
        lines.extend(figure_table(&headings.each_ref().map(String::as_str), [row]));
        lines.extend([String::new(), "Candidates of each question, the best first".into()]);
        let rows = self
            .retrieval
            .iter()
            .map(|(k, figures)| std::iter::once(k.to_string()).chain(figures.iter().map(shown)).collect());
        lines.extend(figure_table(&["k", "nDCG", "MRR", "MAP", "recall", "precision", "any found"], rows));
        lines.extend([String::new(), "Clusters of the labelled questions".into()]);
        let rows = self.clusters.iter().map(|figure| vec![figure.name.replace('_', " "), shown(figure)]);
        lines.extend(figure_table(&["figure", "value (95 % interval)"], rows));
        lines
    }
}

/// Figures with these values, and the intervals of `drawn`.
fn figures<const N: usize>(
    names: [&'static str; N],
    values: [Option<f64>; N],
    drawn: &[[Option<f64>; N]],
) -> Vec<Figure> {
    let figure = |(at, name): (usize, &'static str)| {
        let interval = values[at].and_then(|value| centred_interval(value, drawn.iter().map(|draw| draw[at])));
        Figure { name, value: values[at], interval }
    };
    names.into_iter().enumerate().map(figure).collect()
}

fn funnel_shares(gold: &Gold, fates: &[(Fate, bool)], funnel: &Funnel, units: &Units, draws: &Draws) -> Vec<Figure> {
    let names = [
        "lost_by_floor",
        "lost_by_index",
        "lost_by_rerank_floor",
        "lost_by_budget",
        "lost_by_score",
        "lost_by_clustering",
        "found",
        "mended_by_clustering",
    ];
    let drawn = resample(units.count, draws.count, draws.seed, |times| {
        let mut funnel = Funnel::default();
        for (&(a, _), &(fate, mended)) in gold.duplicates.iter().zip(fates) {
            funnel.count(fate, mended, units.times(times, a));
        }
        funnel.shares()
    });
    figures(names, funnel.shares(), &drawn)
}

/// The threshold of the best F1; and average precision, F1, precision and recall of the mined pairs, the last three at
/// that threshold.
fn mining_figures(
    gold: &Gold,
    mined: &[MinedPair],
    found: &[bool],
    units: &Units,
    draws: &Draws,
) -> (Option<f64>, Vec<Figure>) {
    let scores: Vec<f64> = mined.iter().map(|pair| pair.score).collect();
    let ranking = Ranking::new(found, &scores);
    let known = gold.duplicates.len() as u64;
    let all = ranking.figures_of_known(known);
    // only scored pairs can have a threshold
    let scored = mined.iter().zip(found).filter(|(pair, _)| pair.is_scored);
    let (scores, labels): (Vec<f64>, Vec<bool>) = scored.map(|(pair, &found)| (pair.score, found)).unzip();
    let best = Ranking::new(&labels, &scores).figures_of_known(known).best_f1;
    let threshold = best.map(|best| best.threshold);
    let drawn = resample(units.count, draws.count, draws.seed, |times| {
        let weight = |rank: usize| {
            let pair = &mined[ranking.order()[rank] as usize];
            units.pair_times(times, pair.a, pair.b)
        };
        let known: u64 = gold.duplicates.iter().map(|&(a, _)| units.times(times, a)).sum();
        let precision = ranking.weighted_figures(weight, Some(known)).average_precision;
        let mut at_threshold = threshold.map(|threshold| ranking.weighted_confusion(threshold, weight));
        if let Some(at_threshold) = &mut at_threshold {
            at_threshold.false_negatives = known - at_threshold.true_positives;
        }
        [precision, at_threshold.map(|c| c.f1()), at_threshold.map(|c| c.precision()), at_threshold.map(|c| c.recall())]
    });
    let values = [
        all.average_precision,
        best.map(|best| best.f1),
        best.map(|best| best.precision),
        best.map(|best| best.recall),
    ];
    (threshold, figures(["average_precision", "f1", "precision", "recall"], values, &drawn))
}

/// The candidates of every question with known duplicates, the best first.
fn retrieval_figures(
    gold: &Gold,
    mined: &[MinedPair],
    found: &[bool],
    units: &Units,
    draws: &Draws,
) -> Vec<(usize, Vec<Figure>)> {
    let mut known = vec![0_usize; units.of_text.len()];
    gold.duplicates.iter().flat_map(|&(a, b)| [a, b]).for_each(|text| known[text as usize] += 1);
    let mut hits: HashMap<u32, Vec<(f64, u32, bool)>> = HashMap::new();
    for (pair, &found) in mined.iter().zip(found) {
        for (query, hit) in [(pair.a, pair.b), (pair.b, pair.a)] {
            if known[query as usize] > 0 {
                hits.entry(query).or_default().push((pair.score, hit, found));
            }
        }
    }
    let queries: Vec<u32> = (0..known.len() as u32).filter(|&query| known[query as usize] > 0).collect();
    let ranked: Vec<RankedHits> = queries
        .iter()
        .map(|query| {
            let mut ranked = hits.remove(query).unwrap_or_default();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let relevant = ranked.into_iter().map(|(_, _, found)| found).collect();
            RankedHits { relevant, known: known[*query as usize] }
        })
        .collect();
    let at = |k: usize| {
        let of_query: Vec<[f64; 6]> = ranked.iter().map(|query| retrieval::of_query(k, query)).collect();
        let mean = |weight: &dyn Fn(usize) -> f64| match retrieval::mean(&of_query, weight) {
            Some(figures) => figures.map(Some),
            None => [None; 6],
        };
        let drawn = resample(units.count, draws.count, draws.seed, |times| {
            mean(&|query| units.times(times, queries[query]) as f64)
        });
        (k, figures(retrieval::NAMES, mean(&|_| 1.0), &drawn))
    };
    RANKS.into_iter().map(at).collect()
}

/// The clustering of the questions that the labels mention.
fn cluster_figures(gold: &Gold, predicted: &[u32], draws: &Draws) -> Vec<Figure> {
    let names = [
        "pairwise_precision",
        "pairwise_recall",
        "pairwise_f1",
        "bcubed_precision",
        "bcubed_recall",
        "bcubed_f1",
        "adjusted_rand",
    ];
    let values = |scores: ClusterScores| {
        let (pairwise, bcubed) = (scores.pairwise, scores.bcubed);
        [
            pairwise.precision,
            pairwise.recall,
            pairwise.f1,
            bcubed.precision,
            bcubed.recall,
            bcubed.f1,
            scores.adjusted_rand,
        ]
        .map(Some)
    };
    let gold_labels = gold.labels(predicted.len());
    let predicted: Vec<u32> = gold.mentioned.iter().map(|&text| predicted[text as usize]).collect();
    let contingency = Contingency::new(&gold_labels, &predicted);
    let drawn =
        resample(contingency.gold_clusters(), draws.count, draws.seed, |times| values(contingency.scores(times)));
    let all = vec![1; contingency.gold_clusters()];
    figures(names, values(contingency.scores(&all)), &drawn)
}
