//! `mine evaluate --compare`: several models on the same pairs, with thresholds chosen on other pairs.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::commands::evaluate::args::EvaluateArgs;
use crate::commands::evaluate::labelled_questions::{self, LabelledQuestions};
use crate::commands::evaluate::pair_scores;
use crate::commands::terminal::{figure_table, with_interval};
use crate::error::usage;
use crate::metrics::bootstrap::{Interval, interval, resample};
use crate::metrics::confusion::{Confusion, grid_best_f1};
use crate::metrics::ranking::Ranking;
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::models::hub;
use crate::progress::Progress;
use crate::tables::comparison::{ComparisonRow, prepare, write};

/// Compares the models; returns the lines for stdout.
pub(super) fn run(args: &EvaluateArgs, progress: &Progress) -> Result<Vec<String>> {
    let (Some(valid_file), Some(test_file)) = (&args.valid, &args.test) else {
        return Err(usage("--compare needs --valid and --test"));
    };
    if let Some(output) = &args.output {
        prepare(output)?;
    }
    let valid = labelled_questions::read(valid_file, args, progress)?;
    let test = labelled_questions::read(test_file, args, progress)?;
    let mut compared = Vec::new();
    for name in &args.compare {
        progress.say(&format!("scoring with {name}"));
        compared.push(compare(args, name, &valid, &test, progress)?);
    }
    let differences = differences(args, &compared, &test);
    let rows: Vec<ComparisonRow> = compared.iter().map(|model| model.row.clone()).collect();
    if let Some(output) = &args.output {
        write(output, &rows)?;
        progress.say(&format!("table written to {}", output.display()));
    }
    if args.json {
        let models = rows.iter().zip(&differences).map(|(row, difference)| {
            json!({ "model": row.model, "kind": row.kind, "loss": row.loss, "valid_f1": row.valid_f1,
                    "threshold": row.threshold, "test_f1": row.test_f1, "test_best_f1": row.test_best_f1,
                    "test_best_threshold": row.test_best_threshold,
                    "test_average_precision": row.test_average_precision,
                    "difference_to_first": difference.as_ref().map(Difference::json) })
        });
        return Ok(vec![serde_json::to_string_pretty(&json!({ "models": models.collect::<Vec<_>>() }))?]);
    }
    Ok(lines(&rows, &differences))
}

/// One model on both files.
struct Compared {
    row: ComparisonRow,
    /// Scores of the test pairs.
    scores: Vec<f64>,
}

fn compare(
    args: &EvaluateArgs,
    name: &str,
    valid: &LabelledQuestions,
    test: &LabelledQuestions,
    progress: &Progress,
) -> Result<Compared> {
    let folder = hub::open_or(name, built_in::BI_ENCODER, progress)?;
    let kind = Kind::of(&folder)?;
    if kind == Kind::Siamese {
        bail!("{} is a siamese classifier; --compare takes bi-encoders and cross-encoders", folder.name());
    }
    let scores = |labelled: &LabelledQuestions| -> Result<Vec<f64>> {
        let scored = if kind == Kind::Cross {
            pair_scores::score_cross_encoder(args, name, &labelled.questions, progress)?
        } else {
            let cosine = pair_scores::score_bi_encoder(args, name, &labelled.questions, progress)?.into_iter().next();
            cosine.context("the bi-encoder returned no cosines")?
        };
        Ok(scored.scores)
    };
    let (valid_scores, test_scores) = (scores(valid)?, scores(test)?);
    let no_duplicate = |which: &str| format!("no pair of the {which} file is a duplicate: there is no F1");
    let (valid_f1, threshold) = match args.grid {
        Some(step) => grid_best_f1(&valid.labels, &valid_scores, step).with_context(|| no_duplicate("--valid"))?,
        None => {
            let best = Ranking::new(&valid.labels, &valid_scores).figures().best_f1;
            best.map(|best| (best.f1, best.threshold)).with_context(|| no_duplicate("--valid"))?
        }
    };
    let figures = Ranking::new(&test.labels, &test_scores).figures();
    let (Some(best), Some(average_precision)) = (figures.best_f1, figures.average_precision) else {
        bail!(no_duplicate("--test"));
    };
    let (test_best_f1, test_best_threshold) = match args.grid {
        Some(step) => grid_best_f1(&test.labels, &test_scores, step).with_context(|| no_duplicate("--test"))?,
        None => (best.f1, best.threshold),
    };
    let row = ComparisonRow {
        model: folder.name(),
        kind: kind.name(),
        loss: loss(&folder)?,
        valid_f1,
        threshold,
        test_f1: Confusion::at(&test.labels, &test_scores, threshold).f1(),
        test_best_f1,
        test_best_threshold,
        test_average_precision: average_precision,
    };
    Ok(Compared { row, scores: test_scores })
}

/// The loss that `mine train` recorded in the folder.
fn loss(folder: &ModelFolder) -> Result<Option<String>> {
    let training: Option<Value> = folder.json("training.json")?;
    Ok(training.and_then(|training| training.get("loss")?.as_str().map(String::from)))
}

/// How much better a model is than the first one on the test pairs, each at its own threshold, on the same bootstrap
/// draws.
struct Difference {
    f1: (f64, Option<Interval>),
    average_precision: (f64, Option<Interval>),
}

impl Difference {
    fn json(&self) -> Value {
        let of = |(value, interval): (f64, Option<Interval>)| json!({ "value": value, "interval": interval });
        json!({ "f1": of(self.f1), "average_precision": of(self.average_precision) })
    }
}

/// The differences of all models; the first has none.
fn differences(args: &EvaluateArgs, compared: &[Compared], test: &LabelledQuestions) -> Vec<Option<Difference>> {
    let rankings: Vec<Ranking> = compared.iter().map(|model| Ranking::new(&test.labels, &model.scores)).collect();
    let figures = |model: usize, times: &dyn Fn(u32) -> u64| {
        let ranking = &rankings[model];
        let weight = |rank: usize| times(test.clusters.of_pair[ranking.order()[rank] as usize]);
        let decisions = ranking.weighted_confusion(compared[model].row.threshold, weight);
        Some((decisions.f1(), ranking.weighted_figures(weight, None).average_precision?))
    };
    let difference = |model: usize, times: &dyn Fn(u32) -> u64| {
        let ((f1, precision), (first_f1, first_precision)) = (figures(model, times)?, figures(0, times)?);
        Some((f1 - first_f1, precision - first_precision))
    };
    let (draws, clusters) = (args.draws(test.labels.len()), test.clusters.count);
    let of = |model: usize| {
        let drawn = resample(clusters, draws, args.seed, |times| {
            difference(model, &|cluster: u32| u64::from(times[cluster as usize]))
        });
        let interval =
            |of: fn((f64, f64)) -> f64| interval(drawn.iter().map(|draw| draw.map(of))).filter(|_| clusters > 1);
        let (f1, average_precision) = difference(model, &|_| 1)?;
        Some(Difference {
            f1: (f1, interval(|draw| draw.0)),
            average_precision: (average_precision, interval(|draw| draw.1)),
        })
    };
    (0..compared.len()).map(|model| if model > 0 { of(model) } else { None }).collect()
}

fn lines(rows: &[ComparisonRow], differences: &[Option<Difference>]) -> Vec<String> {
    let headings = [
        "model",
        "loss",
        "valid F1",
        "threshold",
        "test F1 at it",
        "own best",
        "at",
        "test AP",
        "F1 − first's",
        "AP − first's",
    ];
    figure_table(
        &headings,
        rows.iter().zip(differences).map(|(row, difference)| {
            let beyond = |of: fn(&Difference) -> (f64, Option<Interval>)| {
                difference.as_ref().map(of).map_or_else(String::new, |(value, i)| with_interval(Some(value), i))
            };
            vec![
                row.model.clone(),
                row.loss.clone().unwrap_or_else(|| "–".into()),
                format!("{:.4}", row.valid_f1),
                format!("{:.3}", row.threshold),
                format!("{:.4}", row.test_f1),
                format!("{:.4}", row.test_best_f1),
                format!("{:.3}", row.test_best_threshold),
                format!("{:.4}", row.test_average_precision),
                beyond(|difference| difference.f1),
                beyond(|difference| difference.average_precision),
            ]
        }),
    )
}
