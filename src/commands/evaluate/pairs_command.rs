//! `mine evaluate --pairs`: how well scores separate duplicates from other pairs.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value};

use crate::commands::evaluate::args::EvaluateArgs;
use crate::commands::evaluate::labelled_questions;
use crate::commands::evaluate::pair_scores::{self, PairScores};
use crate::commands::evaluate::pairs_answer::{PairsAnswer, lines};
use crate::error::usage;
use crate::progress::Progress;

/// Scores the pairs and measures the scores; returns the lines for stdout.
pub(super) fn run(args: &EvaluateArgs, file: &Path, progress: &Progress) -> Result<Vec<String>> {
    let (labels, clusters, scores) = if args.score_columns.is_empty() {
        let labelled = labelled_questions::read(file, args, progress)?;
        let scores = pair_scores::score(args, &labelled.questions, progress)?;
        (labelled.labels, Some(labelled.clusters), scores)
    } else if args.bi_encoder.is_some() || args.cross_encoder.is_some() {
        return Err(usage("--score-column cannot be used with --bi-encoder or --cross-encoder"));
    } else {
        pair_scores::read_scores(file, args, progress)?
    };
    let clusters = clusters.filter(|_| args.draws(labels.len()) > 0);
    let answer = |scores: &PairScores| PairsAnswer::new(args, &labels, clusters.as_ref(), scores);
    let answers: Vec<PairsAnswer> = scores.iter().map(answer).collect();
    if args.json {
        let object: Map<String, Value> =
            answers.iter().map(|answer| (answer.scorer.name().to_string(), answer.json())).collect();
        return Ok(vec![serde_json::to_string_pretty(&object)?]);
    }
    Ok(lines(&answers, clusters.as_ref()))
}
