//! How well scores tell labelled pairs apart: models' scores, or columns of the user's own.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use crate::commands::evaluate::EvaluateArgs;
use crate::commands::evaluate::pairs_answer::{Answer, lines};
use crate::labels::pairs;
use crate::labels::score_pairs::{QuestionPairs, Scorer, log_odds, similarities};
use crate::metrics::bootstrap::Clusters;
use crate::models::bi_encoder;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::calibration::{self, Calibration};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder;
use crate::models::hub;
use crate::progress::Progress;
use crate::tables::columns::{self, CellKind, Wanted};

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
        (labelled.labels, Some(labelled.clusters), scored)
    } else if args.bi_encoder.is_some() || args.cross_encoder.is_some() {
        return Err(crate::error::usage("--score-column and models are two questions: ask one at a time"));
    } else {
        read_scores(file, args, progress)?
    };
    let clusters = clusters.filter(|_| args.draws(labels.len()) > 0);
    let answer = |scored: &Scored| Answer::new(args, &labels, clusters.as_ref(), scored);
    let answers: Vec<Answer> = scored.iter().map(answer).collect();
    if args.json {
        let object: Map<String, Value> =
            answers.iter().map(|answer| (answer.scorer.name().to_string(), answer.json())).collect();
        return Ok(vec![serde_json::to_string_pretty(&object)?]);
    }
    Ok(lines(&answers, clusters.as_ref()))
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
    warn_of_large_cluster(args, file, &clusters, progress);
    Ok(Labelled { questions, labels: kept.iter().map(|pair| pair.is_duplicate).collect(), clusters })
}

fn warn_of_large_cluster(args: &EvaluateArgs, file: &Path, clusters: &Clusters, progress: &Progress) {
    let share = clusters.largest_share();
    if share > LARGE_CLUSTER && args.draws(clusters.of_pair.len()) > 0 {
        progress.warn(format!(
            "{}: {:.0} % of the pairs are connected through shared questions: intervals say little",
            file.display(),
            100.0 * share
        ));
    }
}

pub(in crate::commands) fn added_note(file: &Path, added: usize, kept: usize) -> String {
    format!("{}: {added} added pairs (natural is false) left out, {kept} measured", file.display())
}

/// Labels, score columns and, for intervals, clusters of a file; texts are not needed.
fn read_scores(
    file: &Path,
    args: &EvaluateArgs,
    progress: &Progress,
) -> Result<(Vec<bool>, Option<Clusters>, Vec<Scored>)> {
    let required = |name, flag| Wanted { name, kind: CellKind::Number, flag: Some(flag) };
    let mut wanted = vec![
        required(args.columns.label_column.as_str(), "--label-column"),
        Wanted { name: "natural", kind: CellKind::Number, flag: None },
    ];
    wanted.extend(args.score_columns.iter().map(|name| required(name.as_str(), "--score-column")));
    let table = columns::read(file, &wanted)?;
    let added = |row: usize| !args.include_added && table.number(1, row) == Some(0.0);
    let mut rows = Vec::with_capacity(table.rows());
    let (mut bad, mut left_out) = (Vec::new(), 0);
    for row in 0..table.rows() {
        let label = matches!(table.number(0, row), Some(0.0 | 1.0));
        let finite = (2..wanted.len()).all(|column| table.number(column, row).is_some_and(f64::is_finite));
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
    let clusters = if args.draws(rows.len()) > 0 { Some(clusters_of(file, args, &rows, progress)?) } else { None };
    let scored = args.score_columns.iter().enumerate().map(|(at, name)| Scored {
        scorer: Scorer::Column(name.clone()),
        scores: rows.iter().filter_map(|&row| table.number(2 + at, row)).collect(),
        calibrated: None,
    });
    Ok((labels, clusters, scored.collect()))
}

/// Clusters of the pairs in `rows` by their ids, else by their texts; without either every pair is one of its own.
fn clusters_of(file: &Path, args: &EvaluateArgs, rows: &[usize], progress: &Progress) -> Result<Clusters> {
    let text = |name| Wanted { name, kind: CellKind::Text, flag: None };
    let (question1, question2) = (args.columns.question1_column.as_str(), args.columns.question2_column.as_str());
    for names in [["qid1", "qid2"], ["id_a", "id_b"], [question1, question2]] {
        let table = columns::read(file, &names.map(text))?;
        if !(table.has(0) && table.has(1)) {
            continue;
        }
        let (mut numbers, mut count): (HashMap<&str, u32>, u32) = (HashMap::new(), 0);
        let mut number = |column, row| {
            // what has no id is like nothing else
            let known = table.text(column, row).map(|id| *numbers.entry(id).or_insert(count));
            let number = known.unwrap_or(count);
            count = count.max(number + 1);
            number
        };
        let pairs: Vec<(u32, u32)> = rows.iter().map(|&row| (number(0, row), number(1, row))).collect();
        let clusters = Clusters::new(count as usize, &pairs);
        warn_of_large_cluster(args, file, &clusters, progress);
        return Ok(clusters);
    }
    progress.warn(format!("{}: neither ids nor texts: intervals take pairs as independent", file.display()));
    Ok(Clusters::singletons(rows.len()))
}

/// Scores by the models that the flags name, the built-in bi-encoder when they name none.
pub(super) fn score(args: &EvaluateArgs, questions: &QuestionPairs, progress: &Progress) -> Result<Vec<Scored>> {
    let bi_encoder = args.bi_encoder.as_deref().or(args.cross_encoder.is_none().then_some(built_in::NAME));
    let mut scored = Vec::new();
    if let Some(name) = bi_encoder {
        scored.extend(score_bi_encoder(args, name, questions, progress)?);
    }
    if let Some(name) = &args.cross_encoder {
        let folder = hub::open_or(name, built_in::CROSS_ENCODER, progress)?;
        let (calibration, logits) = (calibration::read(&folder)?, logits(args, &folder, questions, progress)?);
        scored.push(alone(&calibration, &logits));
        if let Some(name) = bi_encoder {
            let bi_encoder = hub::open_or(name, built_in::BI_ENCODER, progress)?.fingerprint()?;
            let cosines = scored.iter().find(|scored| scored.scorer == Scorer::Cosine);
            let both = cosines.and_then(|cosines| together(&calibration, &bi_encoder, &logits, &cosines.scores));
            scored.extend(both);
        }
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
    let folder = hub::open_or(name, built_in::BI_ENCODER, progress)?;
    let models = bi_encoder::replicas(&folder, &args.devices.open(progress)?, args.devices.precision)?;
    let threshold = calibration::read(&folder)?.cosine.map(|cosine| f64::from(cosine.threshold));
    let scores = similarities(&models, questions, progress)?;
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
    let folder = hub::open_or(name, built_in::CROSS_ENCODER, progress)?;
    Ok(alone(&calibration::read(&folder)?, &logits(args, &folder, questions, progress)?))
}

fn logits(
    args: &EvaluateArgs,
    cross_encoder: &ModelFolder,
    questions: &QuestionPairs,
    progress: &Progress,
) -> Result<Vec<f64>> {
    let models = cross_encoder::replicas(cross_encoder, &args.devices.open(progress)?, args.devices.precision)?;
    log_odds(&models, &questions.texts, &questions.pairs, !args.one_order, progress)
}

/// Probabilities by the cross-encoder alone.
fn alone(calibration: &Calibration, logits: &[f64]) -> Scored {
    let calibrator = calibration.calibrator.clone().unwrap_or_default();
    Scored {
        scorer: Scorer::CrossEncoder,
        scores: logits.iter().map(|&logit| calibrator.probability(logit)).collect(),
        calibrated: calibration.probability_threshold.map(f64::from),
    }
}

/// Probabilities by the cross-encoder beside the bi-encoder of this fingerprint, if they were measured together.
fn together(calibration: &Calibration, bi_encoder: &str, logits: &[f64], cosines: &[f64]) -> Option<Scored> {
    let decision = calibration.beside(bi_encoder)?;
    let pairs = logits.iter().zip(cosines);
    Some(Scored {
        scorer: Scorer::Together,
        scores: pairs.map(|(&logit, &cosine)| decision.probability(logit, cosine)).collect(),
        calibrated: Some(f64::from(decision.threshold)),
    })
}
