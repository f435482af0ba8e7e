//! `mine explain`: whether a run would call two texts duplicates, and what decides.

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::commands::print_lines;
use crate::commands::terminal::{CHARACTERS, table};
use crate::device::plain_cpu;
use crate::error::usage;
use crate::mining::plan::Plan;
use crate::models::bi_encoder::BiEncoder;
use crate::models::cross_encoder::CrossEncoder;
use crate::progress::Progress;
use crate::run::decision::Scores;
use crate::run::flags::{self, RawOptions};
use crate::run::options;
use crate::search::dot::dot;
use crate::text::key::TextKey;
use crate::text::normalise::normalise;
use crate::text::tokenizer::Tokenizer;
use crate::text::visible::visible;

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The first text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    a: String,
    /// The second text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    b: String,
    /// Bi-encoder: a folder, a hub name or `built-in` [default: built-in]
    #[arg(long, value_name = "DIR|NAME")]
    bi_encoder: Option<String>,
    /// Cross-encoder: a folder, a hub name, `built-in` or `none` [default: built-in]
    #[arg(long, value_name = "DIR|NAME")]
    cross_encoder: Option<String>,
    /// Candidate floor [default: from the bi-encoder's dupmine.json]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    min_cosine: Option<f32>,
    /// Probability, or cosine without a cross-encoder, of a duplicate [default: from dupmine.json]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Cosine below which a run does not rerank [default: from dupmine.json]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    rerank_floor: Option<f32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A text as the models see it.
#[derive(Debug, Serialize)]
struct Seen {
    text: String,
    normalised: String,
    tokens: Vec<String>,
    truncated: bool,
    /// Whether the vocabulary has nothing of it.
    unknown: bool,
}

/// Everything that decides about one pair.
#[derive(Debug, Serialize)]
struct Explanation {
    a: Seen,
    b: Seen,
    /// `exact` or `normalised` when both are one text.
    same: Option<&'static str>,
    cosine: f32,
    floor: f32,
    is_candidate: bool,
    score_ab: Option<f32>,
    score_ba: Option<f32>,
    /// Of the orders that a run would score.
    probability: Option<f32>,
    threshold: f32,
    is_duplicate: bool,
    why: Vec<String>,
}

/// Scores the two texts and prints the explanation.
pub fn run(args: ExplainArgs, progress: &Progress) -> Result<()> {
    let json = args.json;
    let explanation = explain(args, progress)?;
    print_lines(if json { vec![serde_json::to_string_pretty(&explanation)?] } else { lines(&explanation) })
}

fn explain(args: ExplainArgs, progress: &Progress) -> Result<Explanation> {
    for (flag, text) in [("--a", &args.a), ("--b", &args.b)] {
        if text.trim().is_empty() {
            return Err(usage(format!("{flag} is blank: a run skips such a row")));
        }
    }
    let typed = RawOptions {
        input: Some(String::new()),
        bi_encoder: args.bi_encoder,
        cross_encoder: args.cross_encoder,
        min_cosine: args.min_cosine,
        threshold: args.threshold,
        rerank_floor: args.rerank_floor,
        ..RawOptions::default()
    };
    let base = flags::defaults()?;
    let plan = Plan::of_inputs(options::check(&flags::overlay(&base, &typed)?)?, Vec::new(), progress)?;
    let device = plain_cpu();

    let normal = [normalise(&args.a), normalise(&args.b)];
    let [text_a, text_b] = normal.each_ref().map(AsRef::as_ref);
    let model = BiEncoder::load(&plan.bi_encoder, &device)?;
    let tokenized = model.tokenizer.tokenize(&[text_a, text_b])?;
    let vectors = model.embed(&[tokenized.ids(0), tokenized.ids(1)])?;
    let (a, b) = vectors.split_at(model.dimensions());
    let cosine = dot(a, b);
    ensure!(cosine.is_finite(), "{} gives no usable vector for these texts", plan.bi_encoder.name());
    let mut scores = Scores::default();
    if let Some(folder) = &plan.cross_encoder {
        let model = CrossEncoder::load(folder, &device)?;
        let pairs = model.tokenizer.tokenize_pairs(&[(text_a, text_b), (text_b, text_a)])?;
        let logit = |at: usize| -> Result<Option<f32>> { Ok(model.logits(&[&pairs[at]])?.first().copied()) };
        scores = Scores { logit_ab: logit(0)?, logit_ba: logit(1)? };
    }
    let same = match (args.a == args.b, text_a == text_b) {
        (true, _) => Some("exact"),
        (false, true) => Some("normalised"),
        (false, false) => None,
    };
    let seen = |text: &str, normalised: &str| see(&model.tokenizer, text, normalised);
    let (a, b) = (seen(&args.a, text_a)?, seen(&args.b, text_b)?);
    Ok(decide(&plan, a, b, same, cosine, scores))
}

fn see(tokenizer: &Tokenizer, text: &str, normalised: &str) -> Result<Seen> {
    let tokens = tokenizer.tokens(normalised)?;
    let tokenized = tokenizer.tokenize(&[normalised])?;
    let (truncated, unknown) = (!tokenized.truncated.is_empty(), !tokenized.unknown.is_empty());
    Ok(Seen { text: text.into(), normalised: normalised.into(), tokens, truncated, unknown })
}

/// What a run would say, step by step.
fn decide(plan: &Plan, a: Seen, b: Seen, same: Option<&'static str>, cosine: f32, scores: Scores) -> Explanation {
    let (floor, rule) = (plan.min_cosine, &plan.rule);
    let (threshold, margin) = (rule.threshold, rule.swap_margin);
    let is_unknown = a.unknown || b.unknown;
    let is_candidate = cosine >= floor && !is_unknown;
    let mut why = Vec::new();
    let mut probability = rule.decide(cosine, Scores::default()).probability;
    // a run scores the text with the smaller key first
    let first_only = match TextKey::of(&a.normalised) <= TextKey::of(&b.normalised) {
        true => Scores { logit_ba: None, ..scores },
        false => Scores { logit_ab: None, ..scores },
    };
    if let Some(first) = first_only.logit() {
        let both = rule.is_open(first, cosine);
        let read = if both { scores } else { first_only };
        probability = rule.decide(cosine, read).probability.filter(|_| rule.should_rerank(cosine));
        if let Some(weight) = rule.calibrated.as_ref().map(|decision| decision.cosine_weight).filter(|w| *w > 0.0) {
            why.push(format!("beside the logit the cosine counts {weight:.1} times"));
        }
        why.push(if both {
            format!(
                "the first order leaves it open (within {margin} logits of the threshold): the mean of both decides"
            )
        } else {
            format!("the first order is more than {margin} logits from the threshold: a run would not score the second")
        });
    }
    let p = probability.unwrap_or(0.0);
    let is_duplicate = same.is_some() || (is_candidate && p >= threshold);
    match (same, is_candidate) {
        (Some("exact"), _) => {
            why = vec!["the texts are the same bytes: a run joins them without asking a model".into()]
        }
        (Some(_), _) => {
            why = vec!["the texts are the same after normalisation: a run joins them without asking a model".into()];
        }
        (None, false) if is_unknown => {
            why = vec!["the vocabulary knows no word of a text: a run gives it no candidates".into()];
        }
        (None, false) => {
            why = vec![format!("the cosine is below the minimum {floor}: a run would not look at the pair")];
        }
        (None, true) if probability.is_none() => {
            let floor = rule.calibrated.as_ref().and_then(|decision| decision.rerank_floor).unwrap_or_default();
            why = vec![format!(
                "the cosine is below the rerank floor {floor}: a run does not ask the cross-encoder, and calls it no duplicate"
            )];
        }
        (None, true) => {
            why.insert(0, format!("the cosine reaches the minimum {floor}: a candidate, if among the k nearest"));
            let name = if plan.cross_encoder.is_some() { "probability" } else { "cosine, which decides alone," };
            let side = if p >= threshold { "reaches" } else { "is below" };
            why.push(format!("the {name} {side} the threshold {threshold}"));
        }
    }
    let Scores { logit_ab: score_ab, logit_ba: score_ba } = scores;
    let probability = if same.is_some() { Some(1.0) } else { probability };
    Explanation {
        a,
        b,
        same,
        cosine,
        floor,
        is_candidate,
        score_ab,
        score_ba,
        probability,
        threshold,
        is_duplicate,
        why,
    }
}

fn lines(explained: &Explanation) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_string(), value]);
    for (name, seen) in [("a", &explained.a), ("b", &explained.b)] {
        row(name, visible(&seen.normalised, CHARACTERS));
        let cut = if seen.truncated { ", the rest is cut" } else { "" };
        row("", format!("{} tokens{cut}: {}", seen.tokens.len(), visible(&seen.tokens.join(" "), 2 * CHARACTERS)));
    }
    row("cosine", format!("{:.4}", explained.cosine));
    if let (Some(ab), Some(ba)) = (explained.score_ab, explained.score_ba) {
        row("cross-encoder", format!("logits {ab:.4} (a, b) and {ba:.4} (b, a)"));
    }
    if let Some(p) = explained.probability {
        row("probability", format!("{p:.4}, threshold {}", explained.threshold));
    }
    row("verdict", if explained.is_duplicate { "duplicates" } else { "not duplicates" }.into());
    for (at, why) in explained.why.iter().enumerate() {
        row(if at == 0 { "why" } else { "" }, why.clone());
    }
    table(&[], &[], rows)
}
