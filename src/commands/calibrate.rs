//! `mine calibrate`: thresholds and probabilities of a model, measured on labelled pairs and written beside the model.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::calibration::Calibrator;
use crate::calibration::choose::ScoreKind;
use crate::calibration::decision::{self, Decision};
use crate::calibration::fitted::{self, FEW_PAIRS, FitInput, Fitted, Goal, KEPT_BY_MIN_COSINE};
use crate::calibration::gain::Gain;
use crate::calibration::profile::Profile;
use crate::calibration::target::Target;
use crate::commands::corpus_profile::profile_of;
use crate::commands::device_args::DeviceArgs;
use crate::commands::evaluate::labelled_questions::added_note;
use crate::commands::fitted_lines::{at_threshold, calibration_errors, fitted_lines};
use crate::error::{hint, usage};
use crate::executor::replicas::Replicas;
use crate::metrics::calibration::{brier as brier_score, expected_calibration_error};
use crate::mining::score_pairs::{QuestionPairs, cosines, log_odds};
use crate::models::bi_encoder::{self, BiEncoder};
use crate::models::checkpoint::built_in;
use crate::models::checkpoint::calibration::{self, Calibration, CosineCalibration, ScoreFusion};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder;
use crate::models::hub;
use crate::progress::Progress;
use crate::tables::labelled_pairs::{self, LabelledPair, PairColumns};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("model").required(true).multiple(true).args(["bi_encoder", "cross_encoder"]))]
#[command(group = ArgGroup::new("target").args(["target_precision", "target_recall", "threshold"]))]
#[command(
    after_help = "Example: mine calibrate --pairs dev.parquet --cross-encoder my-cross-encoder/ --target-precision 0.95"
)]
pub struct CalibrateArgs {
    /// Labelled pairs on which the model was not trained
    #[arg(long, value_name = "FILE")]
    pairs: PathBuf,
    #[command(flatten)]
    columns: PairColumns,
    /// A bi-encoder (a folder, a hub name or `built-in`): measures its threshold and its minimum cosine
    #[arg(long, value_name = "DIR|NAME")]
    bi_encoder: Option<String>,
    /// A cross-encoder: measures its probabilities and its threshold; with --bi-encoder also how both decide together,
    /// and a target then applies to both. `none` measures the bi-encoder alone
    #[arg(long, value_name = "DIR|NAME")]
    cross_encoder: Option<String>,
    /// Choose the lowest threshold with this precision, instead of the one with the best expected F1
    #[arg(long, value_name = "SHARE")]
    target_precision: Option<f64>,
    /// Choose the highest threshold with this recall
    #[arg(long, value_name = "SHARE")]
    target_recall: Option<f64>,
    /// Use this threshold, for instance the one whose clusters are best; with --bi-encoder and --cross-encoder it is of both
    #[arg(long, value_name = "P")]
    threshold: Option<f32>,
    /// A finished run of both models over a corpus like yours: later runs warn if the scores of theirs are far from its
    #[arg(long, value_name = "DIR", requires = "bi_encoder", requires = "cross_encoder")]
    corpus: Option<PathBuf>,
    /// Also measure added pairs (column `natural` is false); they change the share of duplicates
    #[arg(long)]
    include_added: bool,
    /// Share of the duplicates that the bi-encoder's minimum cosine keeps [default: 0.99]
    #[arg(long, value_name = "SHARE")]
    keep: Option<f64>,
    /// Write the calibration to this file instead of into the model's folder
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Seed of the folds and the bootstrap
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[command(flatten)]
    devices: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Show no progress; still show warnings and errors
    #[arg(long)]
    pub quiet: bool,
}

/// Where reranking does not pay.
const NO_GAIN: &str = "these pairs do not show that the cross-encoder adds anything to the cosine: runs with --cross-encoder \
                       none take a fraction of the time";

impl CalibrateArgs {
    /// The cross-encoder's name, unless it is `none`.
    fn cross_encoder(&self) -> Option<&str> {
        self.cross_encoder.as_deref().filter(|name| *name != "none")
    }
}

/// What was measured, and the calibration that results.
struct Measured {
    calibration: Calibration,
    /// Of the one model; if there are two, of the cross-encoder.
    alone: Fitted,
    /// Of the cross-encoder and the bi-encoder together.
    together: Option<Fitted>,
    /// Probabilities before calibration: the sigmoid, or the cosine itself.
    before: Vec<f64>,
}

/// Fits and writes `dupmine.json`; returns the lines for stdout.
pub fn run(args: &CalibrateArgs, progress: &Progress) -> Result<Vec<String>> {
    let shares = [
        ("--target-precision", args.target_precision),
        ("--target-recall", args.target_recall),
        ("--threshold", args.threshold.map(f64::from)),
        ("--keep", args.keep),
    ];
    for (flag, share) in shares {
        if let Some(share) = share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            return Err(usage(format!("{flag} is {share}, expected more than 0 and at most 1")));
        }
    }
    if args.keep.is_some() && args.cross_encoder().is_some() {
        return Err(usage("--keep is of a bi-encoder alone, and cannot be used with --cross-encoder"));
    }
    let bi_encoder = args.bi_encoder.as_ref().map(|name| hub::open_or(name, built_in::BI_ENCODER, progress));
    let bi_encoder = bi_encoder.transpose()?;
    let cross_encoder = args.cross_encoder().map(|name| hub::open_or(name, built_in::CROSS_ENCODER, progress));
    let Some(folder) = cross_encoder.transpose()?.or_else(|| bi_encoder.clone()) else {
        return Err(usage("--bi-encoder or --cross-encoder is missing"));
    };
    let output = output(args, &folder)?;
    let profile = match (&args.corpus, &bi_encoder, args.cross_encoder()) {
        (Some(run), Some(bi_encoder), Some(_)) => Some(profile_of(run, [bi_encoder, &folder])?),
        (Some(_), ..) => return Err(usage("--corpus is of two models: it needs --bi-encoder and --cross-encoder")),
        (None, ..) => None,
    };
    let read = labelled_pairs::read(&args.pairs, &args.columns)?;
    if let Some(warning) = read.warning() {
        progress.warn(warning);
    }
    let (all, measured) = (read.pairs.len(), natural(args, &read.pairs).count());
    if measured == 0 {
        bail!("{}: every pair is an added one (natural is false); --include-added measures them", args.pairs.display());
    }
    if measured < all {
        progress.say(&added_note(&args.pairs, all - measured, measured));
    }
    if measured < FEW_PAIRS {
        progress.warn(format!("{measured} labelled pairs are few: thresholds and probabilities may be due to chance"));
    }
    let labels: Vec<bool> = natural(args, &read.pairs).map(|pair| pair.is_duplicate).collect();
    let questions = questions(natural(args, &read.pairs));
    let clusters = questions.clusters();
    let goal = match (args.target_precision, args.target_recall, args.threshold) {
        (Some(share), ..) => Goal::Reach(Target::Precision(share)),
        (_, Some(share), _) => Goal::Reach(Target::Recall(share)),
        (.., Some(threshold)) => Goal::Given(threshold),
        (None, None, None) => Goal::BestExpectedF1,
    };
    let input = FitInput { labels: &labels, clusters: &clusters, goal, seed: args.seed };
    let measured = match (args.cross_encoder(), &bi_encoder) {
        (Some(_), bi_encoder) => {
            measure_cross_encoder(args, &folder, (bi_encoder.as_ref(), profile), &questions, input, progress)?
        }
        (None, _) => measure_bi_encoder(args, &folder, &questions, &read.pairs, input, progress)?,
    };
    let earlier = calibration::peek(&output).and_then(|before| before.together);
    let lost = match (earlier, &measured.calibration.together) {
        (Some(_), None) => Some("calibration together with a bi-encoder is lost; add --bi-encoder to measure both"),
        (Some(earlier), Some(now)) if earlier.profile.is_some() && now.profile.is_none() => {
            Some("profile of a corpus is lost, so runs no longer say whether theirs fits; add --corpus to keep one")
        }
        _ => None,
    };
    if let Some(lost) = lost {
        progress.warn(format!("{}: the earlier {lost}", output.display()));
    }
    calibration::write(&output, &measured.calibration)?;
    progress.say(&format!("calibration written to {}", output.display()));
    if args.json { Ok(vec![measured.json(&labels)?]) } else { Ok(measured.lines(&labels)) }
}

fn output(args: &CalibrateArgs, folder: &ModelFolder) -> Result<PathBuf> {
    match (&args.output, folder) {
        (Some(output), _) => Ok(output.clone()),
        (None, ModelFolder::BuiltIn { .. }) => Err(hint(
            "the built-in model is part of the binary: its calibration cannot be replaced",
            format!(
                "mine models export --input {} --output DIR writes it to a folder; or name a file with --output",
                if args.cross_encoder().is_some() { built_in::CROSS_ENCODER_NAME } else { "built-in" }
            ),
        )),
        (None, folder) => Ok(folder.path(calibration::FILE)),
    }
}

/// The pairs that are measured. Probabilities and thresholds are for the mix of pairs that users meet, so added pairs
/// are left out.
fn natural<'a>(args: &CalibrateArgs, pairs: &'a [LabelledPair]) -> impl Iterator<Item = &'a LabelledPair> {
    let include_added = args.include_added;
    pairs.iter().filter(move |pair| pair.natural || include_added)
}

fn questions<'a>(pairs: impl Iterator<Item = &'a LabelledPair>) -> QuestionPairs {
    QuestionPairs::new(pairs.map(|pair| (pair.question1.as_str(), pair.question2.as_str())))
}

fn measure_cross_encoder(
    args: &CalibrateArgs,
    folder: &ModelFolder,
    (bi_encoder, profile): (Option<&ModelFolder>, Option<Profile>),
    questions: &QuestionPairs,
    input: FitInput,
    progress: &Progress,
) -> Result<Measured> {
    // the short work first: an error of the bi-encoder shows at once
    let of_bi_encoder = |folder| cosines(&load(args, folder, progress)?, questions, progress);
    let cosines = bi_encoder.map(of_bi_encoder).transpose()?;
    let (devices, precision) = args.devices.open(progress)?;
    let models = cross_encoder::replicas(folder, &devices, precision, progress)?;
    let scores = log_odds(&models, &questions.texts, &questions.pairs, true, progress)?;
    let of_file = |why: String| anyhow!("{}: {why}", args.pairs.display());
    let weigh =
        |cosines: &Vec<f64>| decision::fit_weight(input.labels, &scores, cosines).filter(|weight| *weight > 0.0);
    let weight = cosines.as_ref().and_then(weigh);
    // if two models decide together, the goal is theirs
    let alone = FitInput { goal: if weight.is_none() { input.goal } else { Goal::default() }, ..input };
    let mut calibration = Calibration {
        model: Some(folder.fingerprint()?),
        measured_on: Some(measured_on(args, &input)),
        ..Calibration::default()
    };
    let alone = alone.fit(&scores, ScoreKind::LogOdds).map_err(of_file)?;
    calibration.probability_threshold = Some(alone.threshold);
    calibration.calibrator = Some(alone.choice.calibrator.clone());
    let mut together = None;
    if let (Some(bi_encoder), Some(cosines)) = (bi_encoder, &cosines) {
        match weight {
            Some(cosine_weight) => {
                let pairs = scores.iter().zip(cosines);
                let sums: Vec<f64> = pairs.map(|(&z, &cosine)| decision::sum(z, cosine_weight, cosine)).collect();
                let fitted = input.fit(&sums, ScoreKind::LogOdds).map_err(of_file)?;
                let calibrator = fitted.choice.calibrator.clone();
                let threshold = fitted.threshold;
                let decision =
                    Decision { cosine_weight, calibrator, threshold, rerank_floor: None, rerank_ceiling: None };
                let rerank_floor = decision.fit_rerank_floor(&scores, cosines);
                let rerank_ceiling = decision.fit_rerank_ceiling(&scores, cosines);
                let decision = Decision { rerank_floor, rerank_ceiling, ..decision };
                let gain = Gain::of(input.labels, cosines, &sums, input.clusters, input.seed);
                if gain.is_some_and(|gain| !gain.is_sure()) {
                    progress.warn(NO_GAIN);
                }
                let bi_encoder = bi_encoder.fingerprint()?;
                calibration.together = Some(ScoreFusion { bi_encoder, decision, gain, profile });
                together = Some(fitted);
            }
            None => {
                let unused = if profile.is_some() { ", and --corpus has no effect" } else { "" };
                progress.warn(format!(
                    "the cosine adds nothing to the cross-encoder: the cross-encoder decides alone{unused}"
                ));
            }
        }
    }
    let before = scores.iter().map(|&score| Calibrator::default().probability(score)).collect();
    Ok(Measured { calibration, alone, together, before })
}

fn measure_bi_encoder(
    args: &CalibrateArgs,
    folder: &ModelFolder,
    questions: &QuestionPairs,
    pairs: &[LabelledPair],
    input: FitInput,
    progress: &Progress,
) -> Result<Measured> {
    let models = load(args, folder, progress)?;
    let scores = cosines(&models, questions, progress)?;
    // the minimum cosine depends on duplicates only, not on the mix: added pairs count too
    let duplicates = self::questions(pairs.iter().filter(|pair| pair.is_duplicate));
    let duplicates = cosines(&models, &duplicates, progress)?;
    let keep = args.keep.unwrap_or(KEPT_BY_MIN_COSINE);
    let alone = input.fit(&scores, ScoreKind::Cosine).map_err(|why| anyhow!("{}: {why}", args.pairs.display()))?;
    let floor = fitted::highest_floor(duplicates, keep, alone.threshold);
    let calibration = Calibration {
        model: Some(folder.fingerprint()?),
        cosine: Some(CosineCalibration { threshold: alone.threshold, floor }),
        measured_on: Some(format!("{}; the minimum cosine keeps {keep} of the duplicates", measured_on(args, &input))),
        ..Calibration::default()
    };
    let before = scores.iter().map(|score| score.clamp(0.0, 1.0)).collect();
    Ok(Measured { calibration, alone, together: None, before })
}

fn load(args: &CalibrateArgs, bi_encoder: &ModelFolder, progress: &Progress) -> Result<Replicas<BiEncoder>> {
    let (devices, precision) = args.devices.open(progress)?;
    bi_encoder::replicas(bi_encoder, &devices, precision, progress)
}

fn measured_on(args: &CalibrateArgs, input: &FitInput) -> String {
    let goal = match input.goal {
        Goal::Reach(Target::Precision(share)) => format!("the lowest with precision {share}"),
        Goal::Reach(Target::Recall(share)) => format!("the highest with recall {share}"),
        Goal::Given(_) => "given".into(),
        Goal::BestExpectedF1 => "of the best expected F1".into(),
    };
    let duplicates = input.labels.iter().filter(|&&label| label).count();
    // the folder means nothing on another machine
    let file = args.pairs.file_name().unwrap_or(args.pairs.as_os_str()).display();
    let pairs = input.labels.len();
    format!("{file}: {pairs} pairs, {duplicates} of them duplicates; threshold {goal}")
}

impl Measured {
    fn json(&self, labels: &[bool]) -> Result<String> {
        // through text, so that the f32 0.6 stays 0.6 and does not become 0.6000000238418579
        let calibration: Value = serde_json::from_str(&serde_json::to_string(&self.calibration)?)?;
        let [ece, brier] = calibration_errors(&self.alone).map(|(_, after)| after);
        let object = json!({
            "calibration": calibration,
            "method": self.alone.choice.calibrator.method(),
            "cross_validation": self.alone.choice.candidates,
            "expected_calibration_error": { "before": expected_calibration_error(labels, &self.before), "after": ece },
            "brier": { "before": brier_score(labels, &self.before), "after": brier },
            "at_threshold": at_threshold(&self.alone),
            "together": self.together.as_ref().map(|fitted| json!({
                "method": fitted.choice.calibrator.method(),
                "cross_validation": fitted.choice.candidates,
                "at_threshold": at_threshold(fitted),
            })),
        });
        Ok(serde_json::to_string_pretty(&object)?)
    }

    fn lines(&self, labels: &[bool]) -> Vec<String> {
        let mut lines = fitted_lines(&self.alone, labels.len());
        let before = [expected_calibration_error(labels, &self.before), brier_score(labels, &self.before)];
        lines.extend(calibration_errors(&self.alone).into_iter().zip(before).map(|((name, after), before)| {
            let shown = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
            format!("{name}: {} before, {} after, on pairs that were not fitted", shown(before), shown(after))
        }));
        if let Some(cosine) = self.calibration.cosine {
            lines.push(format!("cosine threshold {}, minimum cosine {}", cosine.threshold, cosine.floor));
            lines.push(
                "a run without a cross-encoder decides by the cosine itself: no probabilities are written".into(),
            );
        }
        if let (Some(fitted), Some(together)) = (&self.together, &self.calibration.together) {
            lines.push(String::new());
            let weight = together.decision.cosine_weight;
            lines.push(format!(
                "together with the bi-encoder, as runs with both models decide (the cosine is weighted by {weight:.1}):"
            ));
            lines.extend(fitted_lines(fitted, labels.len()));
            lines.extend(together.gain.map(|gain| {
                format!(
                    "average precision {:+.3} against the cosine alone; 95 % interval {:+.3} to {:+.3}",
                    gain.average_precision, gain.low, gain.high
                )
            }));
            lines.push(match together.decision.rerank_floor {
                Some(floor) => format!("rerank floor {floor}: pairs with a lower cosine are not reranked"),
                None => format!(
                    "no rerank floor: it needs {} labelled pairs that are called duplicates",
                    decision::ENOUGH_CALLED
                ),
            });
            lines.extend(together.decision.rerank_ceiling.map(|ceiling| {
                format!("rerank ceiling {}: pairs with a higher cosine are not reranked", ceiling.cosine)
            }));
        }
        lines
    }
}
