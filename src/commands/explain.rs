//! `mine explain`: whether a run would call two texts duplicates, and why.

use anyhow::{Result, ensure};
use clap::Args;

use crate::commands::output::print_lines;
use crate::commands::terminal::fit;
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
use crate::text::normalise::normalise;
use crate::text::tokenizer::Tokenizer;
use crate::view::explanation::{self, Explanation, ReadText, ScoredTexts};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The first text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    a: String,
    /// The second text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
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
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Scores the two texts and prints the explanation.
pub fn run(args: ExplainArgs, progress: &Progress) -> Result<()> {
    let json = args.json;
    let explanation = explain(args, progress)?;
    print_lines(match json {
        true => vec![serde_json::to_string_pretty(&explanation)?],
        false => fit(explanation::lines(&explanation)),
    })
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
    let read = |text: &str, normalised: &str| read_text(&model.tokenizer, text, normalised);
    let (a, b) = (read(&args.a, text_a)?, read(&args.b, text_b)?);
    Ok(explanation::explain(ScoredTexts { a, b, cosine, scores }, plan.min_cosine, &plan.rule))
}

fn read_text(tokenizer: &Tokenizer, text: &str, normalised: &str) -> Result<ReadText> {
    let tokens = tokenizer.tokens(normalised)?;
    let tokenized = tokenizer.tokenize(&[normalised])?;
    let (truncated, unknown) = (!tokenized.truncated.is_empty(), !tokenized.unknown.is_empty());
    Ok(ReadText { text: text.into(), normalised: normalised.into(), tokens, truncated, unknown })
}
