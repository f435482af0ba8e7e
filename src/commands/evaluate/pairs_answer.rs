//! The figures of labelled pairs by each scorer, with their intervals, as JSON and as a table.

use serde_json::{Map, Value, json};

use crate::commands::evaluate::args::EvaluateArgs;
use crate::commands::evaluate::pair_scores::PairScores;
use crate::commands::terminal::{figure_table, with_interval};
use crate::metrics::bootstrap::{Clusters, Interval, interval, resample};
use crate::metrics::confusion::{Confusion, grid_best_f1};
use crate::metrics::pair_figures::PairFigures;
use crate::metrics::ranking::Ranking;
use crate::mining::score_pairs::Scorer;
use crate::progress::readable;

/// The figures of one scorer. Scores and thresholds are in the scorer's own direction.
pub(super) struct PairsAnswer {
    pub scorer: Scorer,
    figures: PairFigures,
    intervals: Vec<(&'static str, Option<Interval>)>,
    /// The threshold at which decisions were counted, where it comes from, and the counts.
    threshold: Option<(f64, &'static str, Confusion)>,
    grid: Option<(f64, f64)>,
}

impl PairsAnswer {
    pub(super) fn new(args: &EvaluateArgs, labels: &[bool], clusters: Option<&Clusters>, scores: &PairScores) -> Self {
        let sign = scores.scorer.sign();
        let signed: Vec<f64> = scores.scores.iter().map(|score| sign * score).collect();
        let ranking = Ranking::new(labels, &signed);
        let figures = ranking.figures();
        let choices = [
            (args.threshold.filter(|_| sign > 0.0), "--threshold"),
            (scores.calibrated, "the model's calibration"),
            (figures.best_f1.map(|best| best.threshold), "the best F1 on these pairs"),
        ];
        let threshold = choices
            .into_iter()
            .find_map(|(threshold, why)| Some((threshold?, why)))
            .map(|(threshold, why)| (threshold, why, Confusion::at(labels, &signed, threshold)));
        let draws = args.draws(labels.len());
        let intervals = clusters
            .filter(|clusters| clusters.count > 1)
            .map(|clusters| intervals(&ranking, &figures, clusters, draws, args.seed))
            .unwrap_or_default();
        let grid = args.grid.filter(|_| sign > 0.0).and_then(|step| grid_best_f1(labels, &signed, step));
        Self { scorer: scores.scorer.clone(), figures, intervals, threshold, grid }
    }

    pub(super) fn json(&self) -> Value {
        let (sign, best, accuracy) = (self.scorer.sign(), self.figures.best_f1, self.figures.best_accuracy);
        let mut object = json!({
            "f1": best.map(|best| best.f1),
            "f1_threshold": best.map(|best| sign * best.threshold),
            "precision": best.map(|best| best.precision),
            "recall": best.map(|best| best.recall),
            "mcc": best.map(|best| best.mcc),
            "average_precision": self.figures.average_precision,
            "roc_auc": self.figures.roc_auc,
            "accuracy": accuracy.map(|accuracy| accuracy.accuracy),
            "accuracy_threshold": accuracy.map(|accuracy| sign * accuracy.threshold),
            "pairs": self.figures.pairs,
            "duplicates": self.figures.positives,
        });
        if !self.intervals.is_empty() {
            let pair = |interval: &Interval| [interval.low, interval.high];
            let intervals: Map<String, Value> =
                self.intervals.iter().map(|(name, i)| (name.to_string(), json!(i.as_ref().map(pair)))).collect();
            object["intervals"] = Value::Object(intervals);
        }
        if let Some((threshold, source, confusion)) = &self.threshold {
            object["at_threshold"] = json!({
                "threshold": sign * threshold,
                "source": source,
                "true_positives": confusion.true_positives,
                "false_positives": confusion.false_positives,
                "false_negatives": confusion.false_negatives,
                "true_negatives": confusion.true_negatives,
                "f1": confusion.f1(),
                "precision": confusion.precision(),
                "recall": confusion.recall(),
                "accuracy": confusion.accuracy(),
                "mcc": confusion.mcc(),
            });
        }
        if let Some((f1, threshold)) = self.grid {
            object["grid"] = json!({ "f1": f1, "threshold": threshold });
        }
        object
    }

    fn interval(&self, name: &str) -> Option<Interval> {
        self.intervals.iter().find(|(known, _)| *known == name).and_then(|(_, interval)| *interval)
    }
}

/// 95 % intervals of the figures; thresholds stay as they were chosen on all pairs.
fn intervals(
    ranking: &Ranking,
    figures: &PairFigures,
    clusters: &Clusters,
    draws: u64,
    seed: u64,
) -> Vec<(&'static str, Option<Interval>)> {
    const NAMES: [&str; 7] = ["f1", "precision", "recall", "mcc", "accuracy", "average_precision", "roc_auc"];
    let cluster_of: Vec<u32> = ranking.order().iter().map(|&pair| clusters.of_pair[pair as usize]).collect();
    let values = resample(clusters.count, draws, seed, |times| {
        // collected once: the figures below read every weight several times
        let weights: Vec<u32> = cluster_of.iter().map(|&cluster| times[cluster as usize]).collect();
        let weight = |rank: usize| u64::from(weights[rank]);
        let drawn = ranking.weighted_figures(weight, None);
        let best = figures.best_f1.map(|best| ranking.weighted_confusion(best.threshold, weight));
        let accurate = figures.best_accuracy.map(|best| ranking.weighted_confusion(best.threshold, weight));
        // a draw without duplicates has no F1; it must not count as perfect
        let best = best.filter(|best| best.true_positives + best.false_negatives > 0);
        let of = |figure: fn(&Confusion) -> f64| best.as_ref().map(figure);
        [
            of(Confusion::f1),
            of(Confusion::precision),
            of(Confusion::recall),
            of(Confusion::mcc),
            accurate.as_ref().map(Confusion::accuracy),
            drawn.average_precision,
            drawn.roc_auc,
        ]
    });
    NAMES.into_iter().enumerate().map(|(at, name)| (name, interval(values.iter().map(|draw| draw[at])))).collect()
}

/// Tables and decisions of all scorers. The intervals were drawn from `clusters`.
pub(super) fn lines(answers: &[PairsAnswer], clusters: Option<&Clusters>) -> Vec<String> {
    type Figure = fn(&PairsAnswer) -> Option<f64>;
    let figures: [(&str, &str, Figure); 9] = [
        ("best F1", "f1", |answer| Some(answer.figures.best_f1?.f1)),
        ("  at", "", |answer| Some(answer.scorer.sign() * answer.figures.best_f1?.threshold)),
        ("  precision", "precision", |answer| Some(answer.figures.best_f1?.precision)),
        ("  recall", "recall", |answer| Some(answer.figures.best_f1?.recall)),
        ("  Matthews correlation", "mcc", |answer| Some(answer.figures.best_f1?.mcc)),
        ("average precision", "average_precision", |answer| answer.figures.average_precision),
        ("area under ROC", "roc_auc", |answer| answer.figures.roc_auc),
        ("best accuracy", "accuracy", |answer| Some(answer.figures.best_accuracy?.accuracy)),
        ("  at", "", |answer| Some(answer.scorer.sign() * answer.figures.best_accuracy?.threshold)),
    ];
    let rows = figures.map(|(title, name, value)| {
        let cells = answers.iter().map(|answer| with_interval(value(answer), answer.interval(name)));
        std::iter::once(title.to_string()).chain(cells).collect()
    });
    let headings: Vec<&str> = std::iter::once("").chain(answers.iter().map(|answer| answer.scorer.name())).collect();
    let mut lines = figure_table(&headings, rows);
    if let Some(PairFigures { pairs, positives, .. }) = answers.first().map(|answer| answer.figures) {
        let counted =
            format!("{} pairs, {} of them duplicates", readable(pairs as usize), readable(positives as usize));
        lines.push(match clusters {
            Some(clusters) => format!("{counted}, in {} clusters of connected questions", readable(clusters.count)),
            None => counted,
        });
    }
    for answer in answers {
        if let Some((threshold, source, c)) = &answer.threshold {
            lines.push(format!(
                "{} at {:.4} ({source}): {} true and {} false positives, {} false and {} true negatives; F1 {:.3}, \
                 precision {:.3}, recall {:.3}",
                answer.scorer.name(),
                answer.scorer.sign() * threshold,
                readable(c.true_positives as usize),
                readable(c.false_positives as usize),
                readable(c.false_negatives as usize),
                readable(c.true_negatives as usize),
                c.f1(),
                c.precision(),
                c.recall(),
            ));
        }
        if let Some((f1, threshold)) = answer.grid {
            lines.push(format!("{} on the grid: F1 {f1:.4} at {threshold:.4}", answer.scorer.name()));
        }
    }
    lines
}
