//! How well scores tell labelled pairs apart: models' scores, or columns of the user's own.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::commands::evaluate::EvaluateArgs;
use crate::commands::model;
use crate::commands::terminal::{figure, figure_table, with_interval};
use crate::metrics::bootstrap::{Clusters, Interval, interval, resample};
use crate::metrics::pairs::{Confusion, PairFigures, Ranking, grid_best_f1};
use crate::models::bi_encoder::BiEncoder;
use crate::models::calibration;
use crate::models::cross_encoder::CrossEncoder;
use crate::models::replicas::Replicas;
use crate::progress::Progress;
use crate::stages::score_pairs::{QuestionPairs, Scorer, log_odds, similarities};
use crate::tables::columns::{self, Kind, Wanted};
use crate::tables::pairs;

/// A cluster with more of the pairs than this makes intervals doubtful.
const LARGE_CLUSTER: f64 = 0.1;

/// Scores of labelled pairs by one scorer.
pub(super) struct Scored {
    pub scorer: Scorer,
    pub scores: Vec<f64>,
    /// The threshold that the model's calibration asks for.
    pub calibrated: Option<f64>,
}

/// Labelled pairs, without what was left out.
pub(super) struct Labelled {
    pub questions: QuestionPairs,
    pub labels: Vec<bool>,
    pub clusters: Clusters,
}

/// Answers `mine evaluate --pairs`.
pub(super) fn run(args: &EvaluateArgs, file: &Path, progress: &Progress) -> Result<Vec<String>> {
    let (labels, clusters, scored) = if args.score_columns.is_empty() {
        let labelled = read(file, args, progress)?;
        let scored = score(args, &labelled.questions, progress)?;
        (labelled.labels, labelled.clusters, scored)
    } else if args.bi_encoder.is_some() || args.cross_encoder.is_some() {
        return Err(crate::error::usage("--score-column and models are two questions: ask one at a time"));
    } else {
        read_scores(file, args, progress)?
    };
    if clusters.largest_share() > LARGE_CLUSTER && args.draws(labels.len()) > 0 {
        progress.warn(format!(
            "{:.0} % of the pairs are connected through shared questions: the intervals say little",
            100.0 * clusters.largest_share()
        ));
    }
    let answers: Vec<Answer> = scored.iter().map(|scored| Answer::new(args, &labels, &clusters, scored)).collect();
    if args.json {
        let object: Map<String, Value> =
            answers.iter().map(|answer| (answer.scorer.name().to_string(), answer.json())).collect();
        return Ok(vec![serde_json::to_string_pretty(&object)?]);
    }
    Ok(lines(&answers, clusters.count))
}

/// Reads labelled pairs, warns of bad rows, says how many added ones were left out.
pub(super) fn read(file: &Path, args: &EvaluateArgs, progress: &Progress) -> Result<Labelled> {
    let read = pairs::read(file, &args.columns)?;
    if let Some(warning) = read.warning() {
        progress.warn(warning);
    }
    let all = read.pairs.len();
    let kept: Vec<_> = read.pairs.into_iter().filter(|pair| pair.natural || args.include_added).collect();
    if kept.len() < all {
        progress.say(&added_note(file, all - kept.len(), kept.len()));
    }
    if kept.is_empty() {
        bail!("{}: every pair is marked as added (natural is false); --include-added keeps them", file.display());
    }
    let questions = QuestionPairs::new(kept.iter().map(|pair| (pair.question1.as_str(), pair.question2.as_str())));
    let clusters = questions.clusters();
    Ok(Labelled { questions, labels: kept.iter().map(|pair| pair.is_duplicate).collect(), clusters })
}

fn added_note(file: &Path, added: usize, kept: usize) -> String {
    format!("{}: {added} added pairs (natural is false) left out, {kept} measured", file.display())
}

/// Labels, clusters and score columns of a file; texts are not needed.
fn read_scores(file: &Path, args: &EvaluateArgs, progress: &Progress) -> Result<(Vec<bool>, Clusters, Vec<Scored>)> {
    let required = |name, flag| Wanted { name, kind: Kind::Number, flag: Some(flag) };
    let id = |name| Wanted { name, kind: Kind::Text, flag: None };
    let mut wanted = vec![
        required(args.columns.label_column.as_str(), "--label-column"),
        Wanted { name: "natural", kind: Kind::Number, flag: None },
        id("qid1"),
        id("qid2"),
        id("id_a"),
        id("id_b"),
    ];
    wanted.extend(args.score_columns.iter().map(|name| required(name.as_str(), "--score-column")));
    let table = columns::read(file, &wanted)?;
    let added = |row: usize| !args.include_added && table.number(1, row) == Some(0.0);
    let mut rows = Vec::with_capacity(table.rows());
    let (mut bad, mut left_out) = (Vec::new(), 0);
    for row in 0..table.rows() {
        let label = matches!(table.number(0, row), Some(0.0 | 1.0));
        let finite = (6..wanted.len()).all(|column| table.number(column, row).is_some_and(f64::is_finite));
        match (added(row), label && finite) {
            (true, _) => left_out += 1,
            (false, true) => rows.push(row),
            (false, false) => bad.push(row),
        }
    }
    if left_out > 0 {
        progress.say(&added_note(file, left_out, rows.len()));
    }
    if let Some(&first) = bad.first() {
        progress.warn(format!(
            "{}: {} rows left out, the first is {}: label not 0 or 1, or a score that is no number",
            file.display(),
            bad.len(),
            table.place(first)
        ));
    }
    if rows.is_empty() {
        bail!("{}: no row with a label of 0 or 1 and a score", file.display());
    }
    let labels = rows.iter().map(|&row| table.number(0, row) == Some(1.0)).collect();
    let ids = [(2, 3), (4, 5)].into_iter().find(|&(a, b)| table.has(a) && table.has(b));
    let clusters = match ids {
        Some((a, b)) => {
            let text = |column, row| table.text(column, row).unwrap_or_default();
            QuestionPairs::new(rows.iter().map(|&row| (text(a, row), text(b, row)))).clusters()
        }
        None => Clusters::singletons(rows.len()),
    };
    let scored = args.score_columns.iter().enumerate().map(|(at, name)| Scored {
        scorer: Scorer::Column(name.clone()),
        scores: rows.iter().filter_map(|&row| table.number(6 + at, row)).collect(),
        calibrated: None,
    });
    Ok((labels, clusters, scored.collect()))
}

/// Scores by the models that the flags name, the built-in bi-encoder when they name none.
pub(super) fn score(args: &EvaluateArgs, questions: &QuestionPairs, progress: &Progress) -> Result<Vec<Scored>> {
    let bi_encoder = args.bi_encoder.as_deref().or(args.cross_encoder.is_none().then_some("built-in"));
    let mut scored = Vec::new();
    if let Some(name) = bi_encoder {
        scored.extend(score_bi_encoder(args, name, questions, progress)?);
    }
    if let Some(name) = &args.cross_encoder {
        scored.push(score_cross_encoder(args, name, questions, progress)?);
    }
    Ok(scored)
}

/// Cosine, dot product and distances by the bi-encoder that `name` names.
pub(super) fn score_bi_encoder(
    args: &EvaluateArgs,
    name: &str,
    questions: &QuestionPairs,
    progress: &Progress,
) -> Result<Vec<Scored>> {
    let folder = model(name, progress)?;
    let models = Replicas::load(&args.device.open(progress)?, |device| BiEncoder::load(&folder, device))?;
    let threshold = calibration::read(&folder)?.cosine.map(|cosine| f64::from(cosine.threshold));
    let task = progress.task("embed", "questions", questions.texts.len());
    let scores = similarities(&models, questions, &task)?;
    let scored = scores.into_iter().map(|(scorer, scores)| {
        let calibrated = threshold.filter(|_| scorer == Scorer::Cosine);
        Scored { scorer, scores, calibrated }
    });
    Ok(scored.collect())
}

/// Probabilities by the cross-encoder that `name` names.
pub(super) fn score_cross_encoder(
    args: &EvaluateArgs,
    name: &str,
    questions: &QuestionPairs,
    progress: &Progress,
) -> Result<Scored> {
    let folder = model(name, progress)?;
    let models = Replicas::load(&args.device.open(progress)?, |device| CrossEncoder::load(&folder, device))?;
    let calibration = calibration::read(&folder)?;
    let task = progress.task("rerank", "pairs", questions.pairs.len());
    let logits = log_odds(&models, questions, !args.one_order, &task)?;
    let calibrator = calibration.calibrator.unwrap_or_default();
    Ok(Scored {
        scorer: Scorer::CrossEncoder,
        scores: logits.into_iter().map(|logit| calibrator.probability(logit)).collect(),
        calibrated: calibration.probability_threshold.map(f64::from),
    })
}

/// Everything said of one scorer. Scores and thresholds are in the scorer's own direction.
struct Answer {
    scorer: Scorer,
    figures: PairFigures,
    intervals: Vec<(&'static str, Option<Interval>)>,
    /// Where decisions were counted, and why there.
    threshold: Option<(f64, &'static str, Confusion)>,
    grid: Option<(f64, f64)>,
}

impl Answer {
    fn new(args: &EvaluateArgs, labels: &[bool], clusters: &Clusters, scored: &Scored) -> Self {
        let sign = scored.scorer.sign();
        let scores: Vec<f64> = scored.scores.iter().map(|score| sign * score).collect();
        let ranking = Ranking::new(labels, &scores);
        let figures = ranking.figures();
        let wished = [
            (args.threshold.filter(|_| sign > 0.0), "--threshold"),
            (scored.calibrated, "the model's calibration"),
            (figures.best_f1.map(|best| best.threshold), "the best F1 on these pairs"),
        ];
        let threshold = wished
            .into_iter()
            .find_map(|(threshold, why)| Some((threshold?, why)))
            .map(|(threshold, why)| (threshold, why, Confusion::at(labels, &scores, threshold)));
        let intervals = intervals(&ranking, &figures, clusters, args.draws(labels.len()), args.seed);
        let grid = args.grid.filter(|_| sign > 0.0).map(|step| grid_best_f1(labels, &scores, step));
        Self { scorer: scored.scorer.clone(), figures, intervals, threshold, grid }
    }

    fn json(&self) -> Value {
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

/// 95 % intervals of the figures; thresholds stay as they were chosen on all pairs. Empty without draws.
fn intervals(
    ranking: &Ranking,
    figures: &PairFigures,
    clusters: &Clusters,
    draws: u64,
    seed: u64,
) -> Vec<(&'static str, Option<Interval>)> {
    const NAMES: [&str; 7] = ["f1", "precision", "recall", "mcc", "accuracy", "average_precision", "roc_auc"];
    if draws == 0 {
        return Vec::new();
    }
    let cluster_of: Vec<u32> = ranking.order().iter().map(|&pair| clusters.of_pair[pair as usize]).collect();
    let values = resample(clusters.count, draws, seed, |times| {
        let weight = |rank: usize| u64::from(times[cluster_of[rank] as usize]);
        let drawn = ranking.weighted_figures(weight);
        let best = figures.best_f1.map(|best| ranking.weighted_confusion(best.threshold, weight));
        let accurate = figures.best_accuracy.map(|best| ranking.weighted_confusion(best.threshold, weight));
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

fn lines(answers: &[Answer], clusters: usize) -> Vec<String> {
    let headings = ["scorer", "F1", "at", "precision", "recall", "average precision", "ROC AUC", "accuracy", "MCC"];
    let rows = answers.iter().map(|answer| {
        let (best, figures) = (answer.figures.best_f1, answer.figures);
        let said = |name, value| with_interval(value, answer.interval(name));
        vec![
            answer.scorer.name().to_string(),
            said("f1", best.map(|best| best.f1)),
            figure(best.map(|best| answer.scorer.sign() * best.threshold)),
            said("precision", best.map(|best| best.precision)),
            said("recall", best.map(|best| best.recall)),
            said("average_precision", figures.average_precision),
            said("roc_auc", figures.roc_auc),
            said("accuracy", figures.best_accuracy.map(|best| best.accuracy)),
            said("mcc", best.map(|best| best.mcc)),
        ]
    });
    let mut lines = figure_table(&headings, rows);
    if let Some(answer) = answers.first() {
        let figures = &answer.figures;
        lines.push(format!(
            "{} pairs, {} of them duplicates, in {clusters} clusters of connected questions",
            figures.pairs, figures.positives
        ));
    }
    for answer in answers {
        if let Some((threshold, source, confusion)) = &answer.threshold {
            lines.push(format!(
                "{} at {:.4} ({source}): {} true and {} false positives, {} false and {} true negatives; F1 {:.3}, \
                 precision {:.3}, recall {:.3}",
                answer.scorer.name(),
                answer.scorer.sign() * threshold,
                confusion.true_positives,
                confusion.false_positives,
                confusion.false_negatives,
                confusion.true_negatives,
                confusion.f1(),
                confusion.precision(),
                confusion.recall(),
            ));
        }
        if let Some((f1, threshold)) = answer.grid {
            lines.push(format!("{} on the grid: F1 {f1:.4} at {threshold:.4}", answer.scorer.name()));
        }
    }
    lines
}
