//! Labelled pairs as `--pairs` and `--compare` read them.

use std::path::Path;

use anyhow::{Result, bail};

use crate::commands::evaluate::args::EvaluateArgs;
use crate::metrics::bootstrap::Clusters;
use crate::mining::score_pairs::QuestionPairs;
use crate::progress::Progress;
use crate::tables::labelled_pairs;

/// If one cluster holds a larger share of the pairs than this, intervals are doubtful.
const LARGE_CLUSTER: f64 = 0.1;

/// The labelled pairs that are measured.
pub(super) struct LabelledQuestions {
    pub questions: QuestionPairs,
    pub labels: Vec<bool>,
    pub clusters: Clusters,
}

/// Reads labelled pairs. Warns about bad rows and says how many added pairs were left out.
pub(super) fn read(file: &Path, args: &EvaluateArgs, progress: &Progress) -> Result<LabelledQuestions> {
    let read = labelled_pairs::read(file, &args.columns)?;
    if let Some(warning) = read.warning() {
        progress.warn(warning);
    }
    let all = read.pairs.len();
    let kept: Vec<_> = read.pairs.into_iter().filter(|pair| pair.natural || args.include_added).collect();
    if kept.len() < all {
        progress.say(&added_note(file, all - kept.len(), kept.len()));
    }
    if kept.is_empty() {
        bail!("{}: every pair is an added one (natural is false); --include-added measures them", file.display());
    }
    let questions = QuestionPairs::new(kept.iter().map(|pair| (pair.question1.as_str(), pair.question2.as_str())));
    let clusters = questions.clusters();
    warn_of_large_cluster(args, file, &clusters, progress);
    Ok(LabelledQuestions { questions, labels: kept.iter().map(|pair| pair.is_duplicate).collect(), clusters })
}

/// Warns if one cluster holds so many pairs that intervals mean little.
pub(super) fn warn_of_large_cluster(args: &EvaluateArgs, file: &Path, clusters: &Clusters, progress: &Progress) {
    let share = clusters.largest_share();
    if share > LARGE_CLUSTER && args.draws(clusters.of_pair.len()) > 0 {
        progress.warn(format!(
            "{}: shared questions connect {:.0} % of the pairs: the intervals mean little",
            file.display(),
            100.0 * share
        ));
    }
}

/// Says how many added pairs were left out.
pub fn added_note(file: &Path, added: usize, kept: usize) -> String {
    format!("{}: {added} added pairs (natural is false) left out, {kept} measured", file.display())
}
