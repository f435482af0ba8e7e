//! `mine explain`: whether a run would call two texts duplicates, and why.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail, ensure};
use clap::{ArgGroup, Args};

use crate::commands::output::{print_json, print_lines};
use crate::commands::run_models;
use crate::commands::terminal::fit;
use crate::device::{DeviceChoice, DeviceKind, plain_cpu};
use crate::error::usage;
use crate::mining::plan::Plan;
use crate::models::bi_encoder::BiEncoder;
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder::CrossEncoder;
use crate::models::network::precision::{Precision, PrecisionChoice};
use crate::progress::Progress;
use crate::run::decision::{Rule, Scores};
use crate::run::flags::{self, RawOptions};
use crate::run::options;
use crate::run::reader::FinishedRun;
use crate::search::dot::dot;
use crate::text::normalise::normalise;
use crate::text::tokenizer::Tokenizer;
use crate::view::decided::{DecidedPair, SoughtPair};
use crate::view::explanation::{self, Explanation, ReadText, ScoredTexts};
use crate::view::named::row_of;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which_run").args(["run", "run_flag"]))]
#[command(after_help = "Examples:
  mine explain --a \"How do I learn Rust?\" --b \"Best way to learn Rust?\"
  mine explain mined --a 12 --b 99")]
pub struct ExplainArgs {
    /// Output folder of a finished run: --a and --b are then ids of its questions, and its models and options decide
    #[arg(conflicts_with_all = OF_TEXTS)]
    run: Option<PathBuf>,
    /// The same
    #[arg(
        long = "run",
        value_name = "DIR",
        conflicts_with_all = OF_TEXTS
    )]
    run_flag: Option<PathBuf>,
    /// The first text; with a run, the id of the first question
    #[arg(long, value_name = "TEXT|ID", allow_hyphen_values = true)]
    a: String,
    /// The second text; with a run, the id of the second question
    #[arg(long, value_name = "TEXT|ID", allow_hyphen_values = true)]
    b: String,
    /// A bi-encoder: a folder, a hub name or `built-in` [default: built-in]
    #[arg(long, value_name = "DIR|NAME")]
    bi_encoder: Option<String>,
    /// A cross-encoder: a folder, a hub name, `built-in` or `none` [default: built-in]
    #[arg(long, value_name = "DIR|NAME")]
    cross_encoder: Option<String>,
    /// Minimum cosine of a candidate pair [default: from the bi-encoder's dupmine.json]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    min_cosine: Option<f32>,
    /// Lowest probability of a duplicate; without a cross-encoder, lowest cosine [default: from dupmine.json]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Skip reranking below this cosine and call the pair different [default: from dupmine.json]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    rerank_floor: Option<f32>,
    /// Skip reranking above this cosine and let the cosine decide; 1 for none [default: from dupmine.json]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    rerank_ceiling: Option<f32>,
    /// Number format of the encoders: auto, f32, bf16, f16, int8 [default: auto]
    #[arg(long, value_name = "FORMAT")]
    precision: Option<PrecisionChoice>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Flags that only two typed texts need: a run has its own values.
const OF_TEXTS: [&str; 7] =
    ["bi_encoder", "cross_encoder", "precision", "min_cosine", "threshold", "rerank_floor", "rerank_ceiling"];

/// What decides about the two texts.
struct Deciders {
    bi_encoder: ModelFolder,
    cross_encoder: Option<ModelFolder>,
    precision: Precision,
    min_cosine: f32,
    rule: Rule,
}

/// Scores the two texts and prints the explanation.
pub fn run(args: ExplainArgs, progress: &Progress) -> Result<()> {
    let json = args.json;
    if let Some(folder) = args.run.clone().or(args.run_flag.clone()) {
        let (explanation, decided) = explain_ids(&args, &folder, progress)?;
        return match json {
            true => print_json(&decided.json(&explanation)?),
            false => print_lines(fit([explanation::lines(&explanation), decided.lines()].concat())),
        };
    }
    let explanation = explain_texts(args, progress)?;
    print_lines(match json {
        true => vec![serde_json::to_string_pretty(&explanation)?],
        false => fit(explanation::lines(&explanation)),
    })
}

/// Two questions of a run, by its models and options, and what the run decided about them.
fn explain_ids(args: &ExplainArgs, folder: &Path, progress: &Progress) -> Result<(Explanation, DecidedPair)> {
    let finished = FinishedRun::open(folder)?;
    if let Err(why) = &finished.questions {
        bail!("{}: the texts of the run are not available: {why}", folder.display());
    }
    let row = |typed: &str| row_of(&finished, typed, "question");
    let (a, b) = (row(&args.a)?, row(&args.b)?);
    if a == b {
        return Err(usage(format!("--a and --b are both question {}", args.a)));
    }
    let text = |row: u32, typed: &str| {
        let text = finished.text(row).map(String::from);
        text.ok_or_else(|| anyhow!("{}: question {typed} has no text: its row was skipped", folder.display()))
    };
    let (text_a, text_b) = (text(a, &args.a)?, text(b, &args.b)?);
    let manifest = &finished.manifest;
    let deciders = Deciders {
        bi_encoder: run_models::bi_encoder(manifest, progress)?,
        cross_encoder: run_models::cross_encoder(manifest, progress)?,
        precision: manifest.options.precision.on(DeviceKind::Cpu),
        min_cosine: manifest.options.min_cosine.unwrap_or_default(),
        rule: manifest.rule(),
    };
    let explanation = explain(&text_a, &text_b, &deciders)?;
    let clusters = finished.results.clusters()?;
    let mut sought = SoughtPair::new(&finished, [a, b], &clusters);
    for batch in finished.results.pairs()? {
        progress.check()?;
        batch?.iter().for_each(|pair| sought.see(pair));
    }
    let decided = sought.finish(&finished, explanation.cosine);
    Ok((explanation, decided))
}

fn explain_texts(args: ExplainArgs, progress: &Progress) -> Result<Explanation> {
    for (flag, text) in [("--a", &args.a), ("--b", &args.b)] {
        if text.trim().is_empty() {
            return Err(usage(format!("{flag} is blank: a run skips such a row")));
        }
    }
    let typed = RawOptions {
        input: vec![String::new()],
        bi_encoder: args.bi_encoder,
        cross_encoder: args.cross_encoder,
        min_cosine: args.min_cosine,
        threshold: args.threshold,
        rerank_floor: args.rerank_floor,
        rerank_ceiling: args.rerank_ceiling,
        precision: args.precision,
        device: Some(DeviceChoice::Cpu),
        ..RawOptions::default()
    };
    let base = flags::defaults()?;
    let plan = Plan::of_inputs(options::check(&flags::overlay(&base, &typed)?)?, Vec::new(), progress)?;
    let Plan { bi_encoder, cross_encoder, precision, min_cosine, rule, .. } = plan;
    explain(&args.a, &args.b, &Deciders { bi_encoder, cross_encoder, precision, min_cosine, rule })
}

fn explain(text_a: &str, text_b: &str, deciders: &Deciders) -> Result<Explanation> {
    let device = plain_cpu();
    let normal = [normalise(text_a), normalise(text_b)];
    let [normal_a, normal_b] = normal.each_ref().map(AsRef::as_ref);
    let model = BiEncoder::load(&deciders.bi_encoder, &device)?.for_inference(deciders.precision);
    let tokenized = model.tokenizer.tokenize(&[normal_a, normal_b])?;
    let vectors = model.embed(&[tokenized.ids(0), tokenized.ids(1)])?;
    let (a, b) = vectors.split_at(model.dimensions());
    let cosine = dot(a, b);
    ensure!(cosine.is_finite(), "{} gives no usable vector for these texts", deciders.bi_encoder.name());
    let mut scores = Scores::default();
    if let Some(folder) = &deciders.cross_encoder {
        let model = CrossEncoder::load(folder, &device)?.for_inference(deciders.precision);
        let pairs = model.tokenizer.tokenize_pairs(&[(normal_a, normal_b), (normal_b, normal_a)])?;
        let logit = |at: usize| -> Result<Option<f32>> { Ok(model.logits(&[&pairs[at]])?.first().copied()) };
        scores = Scores { logit_ab: logit(0)?, logit_ba: logit(1)? };
    }
    let read = |text: &str, normalised: &str| read_text(&model.tokenizer, text, normalised);
    let (a, b) = (read(text_a, normal_a)?, read(text_b, normal_b)?);
    Ok(explanation::explain(ScoredTexts { a, b, cosine, scores }, deciders.min_cosine, &deciders.rule))
}

fn read_text(tokenizer: &Tokenizer, text: &str, normalised: &str) -> Result<ReadText> {
    let tokens = tokenizer.tokens(normalised)?;
    let tokenized = tokenizer.tokenize(&[normalised])?;
    let (truncated, unknown) = (!tokenized.truncated.is_empty(), !tokenized.unknown.is_empty());
    Ok(ReadText { text: text.into(), normalised: normalised.into(), tokens, truncated, unknown })
}
