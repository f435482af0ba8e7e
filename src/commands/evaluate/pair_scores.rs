//! Scores of labelled pairs: by models, or from columns of the user's own.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::commands::evaluate::args::EvaluateArgs;
use crate::commands::evaluate::labelled_questions::{added_note, warn_of_large_cluster};
use crate::error::usage;
use crate::metrics::bootstrap::Clusters;
use crate::mining::score_pairs::{QuestionPairs, Scorer, log_odds, similarities};
use crate::models::bi_encoder;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::calibration::{self, Calibration};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder;
use crate::models::hub;
use crate::progress::Progress;
use crate::tables::columns::{self, CellKind, Wanted};

/// The name of no cross-encoder, as in a run.
const NONE: &str = "none";

/// Scores of labelled pairs by one scorer.
pub(super) struct PairScores {
    pub scorer: Scorer,
    pub scores: Vec<f64>,
    /// The threshold of the model's calibration.
    pub calibrated: Option<f64>,
}

/// Scores by the models that the flags name; by both built-in models, as a run uses them, if the flags name none. With
/// `--cross-encoder none` the cosine decides alone.
pub(super) fn score(args: &EvaluateArgs, questions: &QuestionPairs, progress: &Progress) -> Result<Vec<PairScores>> {
    let is_named = args.bi_encoder.is_some() || args.cross_encoder.is_some();
    let built_in = (!is_named).then_some(built_in::NAME);
    let cross_encoder = args.cross_encoder.as_deref().or(built_in).filter(|name| *name != NONE);
    if cross_encoder.is_none() && args.one_order {
        return Err(usage("--one-order needs a cross-encoder, and --cross-encoder is none"));
    }
    let bi_encoder = args.bi_encoder.as_deref().or(built_in);
    let bi_encoder = bi_encoder.or(cross_encoder.is_none().then_some(built_in::NAME));
    let mut scored = Vec::new();
    if let Some(name) = bi_encoder {
        scored.extend(score_bi_encoder(args, name, questions, progress)?);
    }
    if let Some(name) = cross_encoder {
        let folder = hub::open_or(name, built_in::CROSS_ENCODER, progress)?;
        let (calibration, logits) = (calibration::read(&folder)?, logits(args, &folder, questions, progress)?);
        scored.push(alone(&calibration, &logits));
        if let Some(name) = bi_encoder {
            let bi_encoder = hub::open_or(name, built_in::BI_ENCODER, progress)?.fingerprint()?;
            let cosines = scored.iter().find(|scored| scored.scorer == Scorer::Cosine);
            let both = cosines.and_then(|cosines| fused(&calibration, &bi_encoder, &logits, &cosines.scores));
            scored.extend(both);
        }
    }
    if !is_named {
        // what a run decides with comes first
        scored.sort_by_key(|scored| scored.scorer != Scorer::Fused);
    }
    Ok(scored)
}

/// Cosine, dot product and distances by the bi-encoder that `name` names.
pub(super) fn score_bi_encoder(
    args: &EvaluateArgs,
    name: &str,
    questions: &QuestionPairs,
    progress: &Progress,
) -> Result<Vec<PairScores>> {
    let folder = hub::open_or(name, built_in::BI_ENCODER, progress)?;
    let (devices, precision) = args.devices.open(progress)?;
    let models = bi_encoder::replicas(&folder, &devices, precision, progress)?;
    let threshold = calibration::read(&folder)?.cosine.map(|cosine| f64::from(cosine.threshold));
    let scores = similarities(&models, questions, progress)?;
    let scored = scores.into_iter().map(|(scorer, scores)| {
        let calibrated = threshold.filter(|_| scorer == Scorer::Cosine);
        PairScores { scorer, scores, calibrated }
    });
    Ok(scored.collect())
}

/// Probabilities by the cross-encoder that `name` names.
pub(super) fn score_cross_encoder(
    args: &EvaluateArgs,
    name: &str,
    questions: &QuestionPairs,
    progress: &Progress,
) -> Result<PairScores> {
    let folder = hub::open_or(name, built_in::CROSS_ENCODER, progress)?;
    Ok(alone(&calibration::read(&folder)?, &logits(args, &folder, questions, progress)?))
}

fn logits(
    args: &EvaluateArgs,
    cross_encoder: &ModelFolder,
    questions: &QuestionPairs,
    progress: &Progress,
) -> Result<Vec<f64>> {
    let (devices, precision) = args.devices.open(progress)?;
    let models = cross_encoder::replicas(cross_encoder, &devices, precision, progress)?;
    log_odds(&models, &questions.texts, &questions.pairs, !args.one_order, progress)
}

/// Probabilities by the cross-encoder alone.
fn alone(calibration: &Calibration, logits: &[f64]) -> PairScores {
    let calibrator = calibration.calibrator.clone().unwrap_or_default();
    PairScores {
        scorer: Scorer::CrossEncoder,
        scores: logits.iter().map(|&logit| calibrator.probability(logit)).collect(),
        calibrated: calibration.probability_threshold.map(f64::from),
    }
}

/// Probabilities by the cross-encoder and the bi-encoder of this fingerprint, if they were calibrated together.
fn fused(calibration: &Calibration, bi_encoder: &str, logits: &[f64], cosines: &[f64]) -> Option<PairScores> {
    let decision = calibration.beside(bi_encoder)?;
    let pairs = logits.iter().zip(cosines);
    Some(PairScores {
        scorer: Scorer::Fused,
        scores: pairs.map(|(&logit, &cosine)| decision.probability(logit, cosine)).collect(),
        calibrated: Some(f64::from(decision.threshold)),
    })
}

/// Labels and score columns of a file, and clusters if intervals need them. The file needs no texts.
pub(super) fn read_scores(
    file: &Path,
    args: &EvaluateArgs,
    progress: &Progress,
) -> Result<(Vec<bool>, Option<Clusters>, Vec<PairScores>)> {
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
            "{}: {} rows left out, the first is {}: the label is not 0 or 1, or a score is not a number",
            file.display(),
            bad.len(),
            table.place(first)
        ));
    }
    if rows.is_empty() {
        bail!("{}: no row has a label of 0 or 1 and a score", file.display());
    }
    let labels = rows.iter().map(|&row| table.number(0, row) == Some(1.0)).collect();
    let clusters = if args.draws(rows.len()) > 0 { Some(clusters_of(file, args, &rows, progress)?) } else { None };
    let scored = args.score_columns.iter().enumerate().map(|(at, name)| PairScores {
        scorer: Scorer::Column(name.clone()),
        scores: rows.iter().filter_map(|&row| table.number(2 + at, row)).collect(),
        calibrated: None,
    });
    Ok((labels, clusters, scored.collect()))
}

/// Clusters of the pairs in `rows` by their ids, or by their texts. Without either, every pair is its own cluster.
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
            // a question without an id is like no other
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
    progress.warn(format!(
        "{}: the file has neither ids nor texts: the intervals treat the pairs as independent",
        file.display()
    ));
    Ok(Clusters::singletons(rows.len()))
}
