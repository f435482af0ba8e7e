//! The run itself: headline figures, the funnel, the cost of every stage, options, inputs, models, audit of the index.

use anyhow::Result;
use serde_json::Value;

use crate::report::format::{bytes, count, percent, seconds};
use crate::report::source::Source;
use crate::run::input::InputFile;
use crate::run::manifest::{ModelRecord, StageRecord, shown};
use crate::run::options::Declared;

/// A name and its value.
pub struct Fact {
    pub name: String,
    pub value: String,
}

impl Fact {
    fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A step of the funnel.
pub struct Step {
    pub name: &'static str,
    pub count: String,
    /// Width of the bar, 0 to 100.
    pub width: String,
    pub note: String,
}

/// A stage with its cost.
pub struct StageView {
    pub name: String,
    pub seconds: String,
    pub width: String,
    pub cached: bool,
    pub rows_in: String,
    pub rows_out: String,
    pub dropped: String,
}

/// An option, and whether it has the value of a run without flags.
pub struct OptionView {
    pub name: String,
    pub value: String,
    pub is_default: bool,
    pub default: String,
}

/// An input file.
pub struct InputView {
    pub path: String,
    pub bytes: String,
}

fn width(part: f64, whole: f64) -> String {
    format!("{:.1}", if whole > 0.0 { 100.0 * part / whole } else { 0.0 })
}

/// The figures that a reader wants first.
pub fn headline(source: &Source) -> Vec<Fact> {
    let figure = |name| count(source.metric(name));
    let (questions, clustered) = (source.metric("read.rows_out"), source.metric("cluster.questions_in_clusters"));
    let share = if questions > 0.0 { percent(clustered / questions) } else { "–".into() };
    vec![
        Fact::new("questions", figure("read.rows_out")),
        Fact::new("duplicate pairs", figure("pairs.duplicates")),
        Fact::new("clusters", figure("cluster.clusters")),
        Fact::new("of questions in clusters", share),
        Fact::new("clusters to review", figure("cluster.needs_review")),
    ]
}

/// From rows to questions in clusters, and from candidates to duplicates.
pub fn funnel(source: &Source) -> [Vec<Step>; 2] {
    let metric = |name: &str| source.metric(name);
    let noted = |parts: &[(&str, &str)]| {
        let parts = parts.iter().filter(|(name, _)| metric(name) > 0.0);
        parts.map(|(name, what)| format!("{} {what}", count(metric(name)))).collect::<Vec<_>>().join(", ")
    };
    let questions = [
        ("Rows in the input", "read.rows_in", String::new()),
        ("Questions", "read.rows_out", noted(&[("read.null_text", "null"), ("read.blank_text", "blank")])),
        ("Distinct texts", "collapse.rows_out", noted(&[("collapse.copies", "copies joined")])),
        ("Questions in clusters", "cluster.questions_in_clusters", noted(&[("cluster.clusters", "clusters")])),
    ];
    let mut pairs = vec![(
        "Candidate pairs",
        "candidates.rows_out",
        noted(&[("candidates.neighbours_below_floor", "nearest neighbours were below the minimum cosine")]),
    )];
    if source.has_cross_encoder() {
        let note = noted(&[
            ("rerank.both_orders", "in both orders"),
            ("rerank.below_rerank_floor", "below the rerank floor"),
            ("rerank.above_rerank_ceiling", "above the rerank ceiling"),
            ("rerank.not_asked", "decided by the cosine"),
            ("rerank.not_reranked", "left by the budget"),
        ]);
        pairs.push(("Scored by the cross-encoder", "rerank.rows_out", note));
    }
    let copies = format!(
        "copies included: {} exact, {} normalised",
        count(metric("pairs.exact")),
        count(metric("pairs.normalised"))
    );
    pairs.push(("Duplicate pairs", "pairs.duplicates", copies));
    let steps = |rows: Vec<(&'static str, &str, String)>| {
        let most = rows.iter().map(|(_, name, _)| metric(name)).fold(0.0, f64::max);
        let step = |(name, key, note)| Step { name, count: count(metric(key)), width: width(metric(key), most), note };
        rows.into_iter().map(step).collect()
    };
    [steps(questions.to_vec()), steps(pairs)]
}

/// Every stage with its seconds.
pub fn stages(source: &Source) -> Vec<StageView> {
    let all = &source.manifest.stages;
    let most = all.iter().map(|stage| stage.seconds).fold(0.0, f64::max);
    let view = |stage: &StageRecord| {
        let dropped = stage.dropped.iter().filter(|(_, count)| **count > 0);
        StageView {
            name: stage.stage.clone(),
            seconds: seconds(stage.seconds),
            width: width(stage.seconds, most),
            cached: stage.cached,
            rows_in: count(stage.rows_in as f64),
            rows_out: count(stage.rows_out as f64),
            dropped: dropped
                .map(|(name, rows)| format!("{} {}", count(*rows as f64), name.replace('_', " ")))
                .collect::<Vec<_>>()
                .join(", "),
        }
    };
    all.iter().map(view).collect()
}

/// How much the index found of the questions that were also searched exhaustively.
pub fn audit(source: &Source) -> Vec<Fact> {
    let share = |name: &str| source.metrics.get(name).map(|share| format!("{:.2} %", 100.0 * share));
    let mut facts = Vec::new();
    facts.extend(share("candidates.recall_above_floor").map(|v| Fact::new("pairs above the minimum cosine found", v)));
    facts.extend(share("candidates.recall_at_k").map(|v| Fact::new("of all k nearest found", v)));
    let cut = source.metrics.get("candidates.texts_with_more_than_k_above_floor");
    facts.extend(
        cut.map(|&texts| Fact::new("texts with more than k neighbours above the minimum cosine", count(texts))),
    );
    let unusable = source.metric("candidates.unusable_vectors");
    if unusable > 0.0 {
        facts.push(Fact::new("texts without a usable vector", count(unusable)));
    }
    facts
}

/// Every option that affects the results; those that differ from the default first.
pub fn options(source: &Source) -> Result<Vec<OptionView>> {
    let pairs = source.manifest.options.values()?.into_iter().zip(source.defaults.values()?);
    let view = |((option, value), (_, default)): ((&Declared, Value), (&Declared, Value))| {
        // the user or the model decides these: they have no fixed default
        let has_default = !matches!(option.flag, "input" | "min-cosine" | "threshold");
        let written = shown(&value);
        OptionView {
            name: option.flag.into(),
            value: effective(source, option.flag, &value).unwrap_or(written),
            is_default: value == default && has_default,
            default: if has_default { shown(&default) } else { String::new() },
        }
    };
    let mut views: Vec<OptionView> = pairs.map(view).collect();
    views.sort_by_key(|option| option.is_default);
    Ok(views)
}

/// What the run took, if nobody set the option or its value names a rule.
fn effective(source: &Source, flag: &str, value: &Value) -> Option<String> {
    let (options, models) = (&source.manifest.options, &source.manifest.models);
    Some(match (flag, value) {
        ("rerank-floor", Value::Null) if source.manifest.lowered_rerank_floor.is_some() => {
            format!("{}, lowered for this corpus", source.manifest.lowered_rerank_floor.unwrap_or_default())
        }
        ("rerank-floor", Value::Null) => match &models.decision {
            Some(decision) => match decision.rerank_floor {
                Some(floor) => format!("{floor}, measured for the two models"),
                None => "none: every candidate is reranked".into(),
            },
            None => "none: there is no cross-encoder".into(),
        },
        ("rerank-ceiling", Value::Null) => match models.decision.as_ref().map(|decision| decision.rerank_ceiling) {
            Some(Some(ceiling)) => format!("{}, measured for the two models", ceiling.cosine),
            Some(None) => "none".into(),
            None => "none: there is no cross-encoder".into(),
        },
        ("rerank-share", Value::Null) => match (models.decision.is_some(), options.rerank_budget) {
            (false, _) => "none: there is no cross-encoder".into(),
            (true, Some(_)) => "none: there is a budget".into(),
            (true, None) => {
                let (asked, unasked) = (source.metric("rerank.rows_out"), source.metric("rerank.not_asked"));
                format!("{:.0}%", 100.0 * asked / (asked + unasked).max(1.0))
            }
        },
        ("rerank-budget", Value::Null) => "none".into(),
        ("reference", Value::Null) => "none".into(),
        ("text-column", Value::Null) => "text".into(),
        ("index", Value::String(written)) if written == "auto" => {
            let texts = source.metric("collapse.rows_out") as usize;
            format!("{}, chosen by auto", options.index.resolve(texts).name())
        }
        _ => return None,
    })
}

/// The files that were mined.
pub fn inputs(source: &Source) -> Vec<InputView> {
    let view = |file: &InputFile| InputView { path: file.path.display().to_string(), bytes: bytes(file.bytes) };
    source.manifest.inputs.iter().map(view).collect()
}

/// Version, models, device, time.
pub fn facts(source: &Source) -> Vec<Fact> {
    let manifest = source.manifest;
    let cross_encoder = manifest.models.cross_encoder.as_ref();
    vec![
        Fact::new("run", manifest.run_id.clone()),
        Fact::new("version", format!("mine {}", manifest.version)),
        Fact::new(
            "started",
            format!("{} UTC", manifest.started.chars().take(19).collect::<String>().replace('T', " ")),
        ),
        Fact::new("took", seconds(manifest.seconds)),
        Fact::new("device", format!("{}, {} threads", manifest.device, manifest.threads)),
        Fact::new("questions as read", manifest.content.clone()),
        Fact::new("bi-encoder", manifest.models.bi_encoder.describe()),
        Fact::new("cross-encoder", cross_encoder.map_or("none: the cosine decides".into(), ModelRecord::describe)),
    ]
}
