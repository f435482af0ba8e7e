//! `mine calibrate`: thresholds and probabilities of a model, measured on labelled pairs and kept beside it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::calibration::Calibrator;
use crate::calibration::choose::{Choice, ScoreKind, choose};
use crate::calibration::target::{Operating, Target, operating_point};
use crate::commands::Computing;
use crate::commands::evaluate::added_note;
use crate::error::{hint, usage};
use crate::metrics::bootstrap::Clusters;
use crate::metrics::calibration::{brier, expected_calibration_error};
use crate::metrics::confusion::Confusion;
use crate::metrics::pairs::best_f1;
use crate::models::bi_encoder::BiEncoder;
use crate::models::calibration::{self, Calibration, CosineCalibration};
use crate::models::cross_encoder::CrossEncoder;
use crate::models::folder::ModelFolder;
use crate::models::replicas::Replicas;
use crate::models::{built_in, hub};
use crate::progress::{Progress, readable};
use crate::stages::score_pairs::{QuestionPairs, log_odds, similarities};
use crate::tables::pairs::{self, LabelledPair, PairColumns};

const DRAWS: u64 = 1000;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("model").required(true).args(["bi_encoder", "cross_encoder"]))]
#[command(group = ArgGroup::new("target").args(["target_precision", "target_recall"]))]
#[command(
    after_help = "Example: mine calibrate --pairs dev.parquet --cross-encoder my-cross-encoder/ --target-precision 0.95"
)]
pub struct CalibrateArgs {
    /// Labelled pairs that the model was not trained on
    #[arg(long, value_name = "FILE")]
    pairs: PathBuf,
    #[command(flatten)]
    columns: PairColumns,
    /// Folder of a bi-encoder: its duplicate threshold and its candidate floor
    #[arg(long, value_name = "DIR")]
    bi_encoder: Option<String>,
    /// Folder of a cross-encoder: its probabilities and its threshold
    #[arg(long, value_name = "DIR")]
    cross_encoder: Option<String>,
    /// The lowest threshold with this precision, instead of the one with the best F1
    #[arg(long, value_name = "SHARE")]
    target_precision: Option<f64>,
    /// The highest threshold with this recall
    #[arg(long, value_name = "SHARE")]
    target_recall: Option<f64>,
    /// Measure pairs whose column `natural` is false too: added ones, which shift the share of duplicates
    #[arg(long)]
    include_added: bool,
    /// Share of the duplicates that the candidate floor keeps
    #[arg(long, default_value_t = 0.99, value_name = "SHARE")]
    keep: f64,
    /// Write the calibration here and not into the model's folder
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Of folds and bootstrap
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[command(flatten)]
    computing: Computing,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
    /// No progress; warnings and errors stay
    #[arg(long)]
    pub quiet: bool,
}

/// What was measured, and the calibration that follows.
struct Measured {
    calibration: Calibration,
    choice: Choice,
    /// Probabilities without calibration: the sigmoid, or the cosine itself.
    before: Vec<f64>,
    operating: Option<Operating>,
    /// Decisions at the threshold, on the natural pairs.
    confusion: Confusion,
}

/// Fits, writes `dupmine.json`, and says what was found; the lines are for stdout.
pub fn run(args: &CalibrateArgs, progress: &Progress) -> Result<Vec<String>> {
    for (flag, share) in [
        ("--target-precision", args.target_precision),
        ("--target-recall", args.target_recall),
        ("--keep", Some(args.keep)),
    ] {
        if let Some(share) = share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            return Err(usage(format!("{flag} is {share}, expected more than 0 and at most 1")));
        }
    }
    let (name, built_in, is_cross_encoder) = match (&args.bi_encoder, &args.cross_encoder) {
        (Some(name), _) => (name, built_in::BI_ENCODER, false),
        (None, Some(name)) => (name, built_in::CROSS_ENCODER, true),
        (None, None) => return Err(usage("--bi-encoder or --cross-encoder is needed")),
    };
    let folder = hub::open_or(name, built_in, progress)?;
    let output = output(args, &folder)?;
    let read = pairs::read(&args.pairs, &args.columns)?;
    if let Some(warning) = read.warning() {
        progress.warn(warning);
    }
    let (all, measured) = (read.pairs.len(), natural(args, &read.pairs).count());
    if measured == 0 {
        bail!("{}: every pair is marked as added (natural is false); --include-added keeps them", args.pairs.display());
    }
    if measured < all {
        progress.say(&added_note(&args.pairs, all - measured, measured));
    }
    let measured = measure(args, &folder, is_cross_encoder, &read.pairs, progress)?;
    calibration::write(&output, &measured.calibration)?;
    progress.say(&format!("calibration written to {}", output.display()));
    let labels: Vec<bool> = natural(args, &read.pairs).map(|pair| pair.is_duplicate).collect();
    if args.json { Ok(vec![measured.json(&labels)?]) } else { Ok(measured.lines(&labels)) }
}

fn output(args: &CalibrateArgs, folder: &ModelFolder) -> Result<PathBuf> {
    match (&args.output, folder) {
        (Some(output), _) => Ok(output.clone()),
        (None, ModelFolder::BuiltIn { .. }) => Err(hint(
            "the built-in model is part of the binary: its calibration cannot be replaced",
            "mine models export --input built-in --output DIR makes a folder of it; or name a file with --output",
        )),
        (None, folder) => Ok(folder.path(calibration::FILE)),
    }
}

/// The pairs that measure.
fn natural<'a>(args: &CalibrateArgs, pairs: &'a [LabelledPair]) -> impl Iterator<Item = &'a LabelledPair> {
    let include_added = args.include_added;
    pairs.iter().filter(move |pair| pair.natural || include_added)
}

fn measure(
    args: &CalibrateArgs,
    folder: &ModelFolder,
    is_cross_encoder: bool,
    pairs: &[LabelledPair],
    progress: &Progress,
) -> Result<Measured> {
    // probabilities and thresholds hold for the mix that people meet, so added pairs are left out of them
    let questions = |pairs: &mut dyn Iterator<Item = &LabelledPair>| {
        let texts: Vec<(&str, &str)> = pairs.map(|pair| (pair.question1.as_str(), pair.question2.as_str())).collect();
        QuestionPairs::new(texts.into_iter())
    };
    let measured = questions(&mut natural(args, pairs));
    let labels: Vec<bool> = natural(args, pairs).map(|pair| pair.is_duplicate).collect();
    let clusters = measured.clusters();
    let devices = args.computing.open(progress)?;
    if is_cross_encoder {
        let load = |device: &_| Ok(CrossEncoder::load(folder, device)?.in_precision(args.computing.precision));
        let models = Replicas::load(&devices, load)?;
        let scores = log_odds(&models, &measured, true, &progress.task("rerank", "pairs", measured.pairs.len()))?;
        return decide(args, folder, &labels, &scores, &clusters, ScoreKind::LogOdds, None);
    }
    let load = |device: &_| Ok(BiEncoder::load(folder, device)?.in_precision(args.computing.precision));
    let models = Replicas::load(&devices, load)?;
    let cosines = |questions: &QuestionPairs| -> Result<Vec<f64>> {
        let task = progress.task("embed", "questions", questions.texts.len());
        Ok(similarities(&models, questions, &task)?.into_iter().next().map(|(_, cosines)| cosines).unwrap_or_default())
    };
    let scores = cosines(&measured)?;
    // for the floor the mix does not matter, only duplicates do: the more the better
    let mut duplicates = cosines(&questions(&mut pairs.iter().filter(|pair| pair.is_duplicate)))?;
    duplicates.sort_unstable_by(f64::total_cmp);
    let lost = ((1.0 - args.keep) * duplicates.len() as f64).floor() as usize;
    decide(args, folder, &labels, &scores, &clusters, ScoreKind::Cosine, duplicates.get(lost).copied())
}

/// Fits the probabilities, chooses the threshold. `floor` is that of a bi-encoder.
fn decide(
    args: &CalibrateArgs,
    folder: &ModelFolder,
    labels: &[bool],
    scores: &[f64],
    clusters: &Clusters,
    kind: ScoreKind,
    floor: Option<f64>,
) -> Result<Measured> {
    let file = args.pairs.display();
    let duplicates = labels.iter().filter(|&&label| label).count();
    if duplicates == 0 || duplicates == labels.len() {
        bail!("{file}: {duplicates} of {} pairs are duplicates: a calibration needs both kinds", labels.len());
    }
    let Some(choice) = choose(labels, scores, clusters, kind, args.seed) else {
        bail!("{file}: {} pairs are too few to fit probabilities to", labels.len());
    };
    let probabilities = |map: &Calibrator| -> Vec<f64> { scores.iter().map(|&score| map.probability(score)).collect() };
    let after = probabilities(&choice.calibrator);
    let (before, decided): (Vec<f64>, &[f64]) = match kind {
        ScoreKind::LogOdds => (probabilities(&Calibrator::default()), &after),
        ScoreKind::Cosine => (scores.iter().map(|score| score.clamp(0.0, 1.0)).collect(), scores),
    };
    let target = args.target_precision.map(Target::Precision).or(args.target_recall.map(Target::Recall));
    let operating = match target {
        Some(target) => match operating_point(target, labels, decided, clusters, DRAWS, args.seed) {
            Ok(operating) => Some(operating),
            Err(why) => bail!("{file}: {why}"),
        },
        None => None,
    };
    let best = best_f1(labels, decided).map_or(0.5, |best| best.threshold);
    // a file keeps f32: the next lower one lets no pair of the labelled ones fall below its threshold
    let threshold = rounded_down(operating.map_or(best, |operating| operating.threshold));
    let confusion = Confusion::at(labels, decided, f64::from(threshold));
    let goal = match target {
        Some(Target::Precision(share)) => format!("the lowest with precision {share}"),
        Some(Target::Recall(share)) => format!("the highest with recall {share}"),
        None => "of the best F1".into(),
    };
    let measured_on = format!("{file}: {} pairs, {duplicates} of them duplicates; threshold {goal}", labels.len());
    let model = Some(folder.fingerprint()?);
    let calibration = match (kind, floor) {
        (ScoreKind::Cosine, floor) => Calibration {
            model,
            cosine: Some(CosineCalibration { threshold, floor: floor.map_or(threshold, rounded_down).min(threshold) }),
            measured_on: Some(format!("{measured_on}; floor keeps {} of the duplicates", args.keep)),
            ..Calibration::default()
        },
        (ScoreKind::LogOdds, _) => Calibration {
            model,
            probability_threshold: Some(threshold),
            calibrator: Some(choice.calibrator.clone()),
            measured_on: Some(measured_on),
            ..Calibration::default()
        },
    };
    Ok(Measured { calibration, choice, before, operating, confusion })
}

fn rounded_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

impl Measured {
    /// Error and Brier score: of the scores as they come, and calibrated, on pairs not fitted on.
    fn errors(&self, labels: &[bool]) -> [(&'static str, Option<f64>, Option<f64>); 2] {
        let chosen = self.choice.candidates.first();
        [
            (
                "expected calibration error",
                expected_calibration_error(labels, &self.before),
                chosen.map(|chosen| chosen.expected_calibration_error),
            ),
            ("Brier score", brier(labels, &self.before), chosen.map(|chosen| chosen.brier)),
        ]
    }

    fn json(&self, labels: &[bool]) -> Result<String> {
        let [(_, ece_before, ece_after), (_, brier_before, brier_after)] = self.errors(labels);
        // by way of text, so that 0.6 stays 0.6 and is not widened to 0.6000000238418579
        let calibration: Value = serde_json::from_str(&serde_json::to_string(&self.calibration)?)?;
        let object = json!({
            "calibration": calibration,
            "method": self.choice.calibrator.method(),
            "cross_validation": self.choice.candidates,
            "expected_calibration_error": { "before": ece_before, "after": ece_after },
            "brier": { "before": brier_before, "after": brier_after },
            "at_threshold": { "precision": self.confusion.precision(), "recall": self.confusion.recall(),
                              "f1": self.confusion.f1(), "interval": self.operating.map(|o| o.interval) },
        });
        Ok(serde_json::to_string_pretty(&object)?)
    }

    fn lines(&self, labels: &[bool]) -> Vec<String> {
        let mut lines = vec!["cross-validated on five folds, best first:".to_string()];
        lines.extend(self.choice.candidates.iter().map(|tried| {
            let (brier, ece) = (tried.brier, tried.expected_calibration_error);
            format!("  {:<12} Brier {brier:.4}  expected calibration error {ece:.4}", tried.method)
        }));
        lines.extend(self.errors(labels).map(|(name, before, after)| {
            let said = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
            format!("{name}: {} before, {} after, on pairs not fitted on", said(before), said(after))
        }));
        if let Some(cosine) = self.calibration.cosine {
            lines.push(format!("cosine threshold {}, candidate floor {}", cosine.threshold, cosine.floor));
            lines.push("a run without a cross-encoder decides by the cosine itself: no probabilities are kept".into());
        }
        if let Some(threshold) = self.calibration.probability_threshold {
            lines.push(format!("probability threshold {threshold}"));
        }
        let interval = self.operating.map_or(String::new(), |operating| {
            let interval = operating.interval;
            format!("; 95 % interval of the target {:.3} to {:.3}", interval.low, interval.high)
        });
        let c = self.confusion;
        lines.push(format!(
            "there: precision {:.3}, recall {:.3}, F1 {:.3} on {} pairs{interval}",
            c.precision(),
            c.recall(),
            c.f1(),
            readable(labels.len())
        ));
        lines
    }
}
