//! The page: everything it shows, collected for its template.

use std::collections::HashMap;

use anyhow::{Context, Result};
use askama::Template;

use crate::report::charts::{self, MeanLogOdds};
use crate::report::clusters::{self, Chosen, ClusterCard, PairCard};
use crate::report::format::{count, score};
use crate::report::labels::{Labels, ScoredLabels};
use crate::report::night::{self, NightView};
use crate::report::run::{self, Fact, InputView, OptionView, StageView, Step};
use crate::report::search;
use crate::report::source::Source;
use crate::report::tally::{Tally, tally};
use crate::report::thresholds::{self, Thresholds, share};
use crate::run::schema::{ClusterStatsRow, PairRow};
use crate::text::visible::visible;

/// File name in the output folder.
pub const FILE: &str = "report.html";

/// A chart under its heading, with a sentence on how to read it.
struct Figure {
    title: &'static str,
    svg: String,
    about: String,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    nonce: String,
    title: String,
    started: String,
    headline: Vec<Fact>,
    warnings: Vec<String>,
    no_texts: Option<String>,
    funnel: [Vec<Step>; 2],
    stages: Vec<StageView>,
    figures: Vec<Figure>,
    label_figures: Vec<Figure>,
    label_facts: Vec<Fact>,
    thresholds: Option<Thresholds>,
    audit: Vec<Fact>,
    night: Option<NightView>,
    clusters: Vec<ClusterCard>,
    above: Vec<PairCard>,
    below: Vec<PairCard>,
    threshold: String,
    score_name: &'static str,
    has_cross_encoder: bool,
    facts: Vec<Fact>,
    options: Vec<OptionView>,
    inputs: Vec<InputView>,
    search_json: String,
    search_held: String,
    search_left_out: Option<String>,
}

/// Makes the page. `pairs` are the rows of `pairs.parquet`, in batches.
pub fn render(source: &Source, pairs: impl Iterator<Item = Result<Vec<PairRow>>>) -> Result<String> {
    let groups = clusters::groups(source.clusters, source.stats)?;
    let chosen = Chosen::new(source.stats);
    let shown = chosen.all(source.stats);
    let slot_of: HashMap<u32, u32> =
        shown.iter().zip(0..).flat_map(|(&at, slot)| groups[at].iter().map(move |row| (row.question, slot))).collect();
    let thresholds = [source.min_cosine(), source.threshold()];
    let tally = tally(pairs, thresholds, (shown.len(), &slot_of), source.labels)?;
    let card = |(&at, inside): (&usize, &Vec<PairRow>)| {
        let stats = &source.stats[at];
        clusters::view(source, stats, groups[at], inside, chosen.marks(at, stats))
    };
    let search = search::data(source, &groups);
    let left_out = groups.len() - search.clusters;
    let LabelSection { figures: label_figures, facts: label_facts, thresholds } = match source.labels {
        Some(labels) => label_section(labels, &tally, source)?,
        None => LabelSection::default(),
    };
    let inputs = run::inputs(source);
    let title = match inputs.as_slice() {
        [file] => file.path.rsplit(['/', '\\']).next().unwrap_or_default().to_string(),
        files => format!("{} files", files.len()),
    };
    let pair = |pair: &PairRow| PairCard::new(source, pair);
    let page = Page {
        nonce: nonce(source),
        title: visible(&title, 120),
        started: source.manifest.started.chars().take(16).collect::<String>().replace('T', " "),
        headline: run::headline(source),
        warnings: source.manifest.warnings.iter().map(|warning| visible(warning, 400)).collect(),
        no_texts: source.questions.err().map(String::from),
        funnel: run::funnel(source),
        stages: run::stages(source),
        figures: figures(source, &tally)?,
        label_figures,
        label_facts,
        thresholds,
        audit: run::audit(source),
        night: night::view(source)?,
        clusters: shown.iter().zip(&tally.inside).map(card).collect(),
        above: tally.above.iter().rev().map(pair).collect(),
        below: tally.below.iter().map(pair).collect(),
        threshold: score(source.threshold()),
        score_name: if source.has_cross_encoder() { "probability" } else { "cosine" },
        has_cross_encoder: source.has_cross_encoder(),
        facts: run::facts(source),
        options: run::options(source)?,
        inputs,
        search_json: search.json,
        search_held: count(search.clusters as f64),
        search_left_out: (left_out > 0).then(|| count(left_out as f64)),
    };
    page.render().context("the report's template")
}

/// Allows the page's own script and style, and no others. No text of the input can contain it: it is a hash over a hash
/// of the whole input.
fn nonce(source: &Source) -> String {
    let seed = format!("report of run {}, started {}", source.manifest.run_id, source.manifest.started);
    blake3::hash(seed.as_bytes()).to_hex()[..32].to_string()
}

fn figures(source: &Source, tally: &Tally) -> Result<Vec<Figure>> {
    let min_cosine = score(source.min_cosine());
    let mut figures = Vec::new();
    if source.has_cross_encoder() {
        figures.push(Figure {
            title: "Cosine of the candidates",
            svg: charts::histogram(&tally.cosine, None, "cosine")?,
            about: format!("Bi-encoder similarity of every candidate pair, from the minimum cosine {min_cosine} up."),
        });
        figures.push(Figure {
            title: "Probability of a duplicate",
            svg: charts::histogram(&tally.probability, Some(source.threshold()), "probability")?,
            about: "The calibrated probability of every scored pair.".into(),
        });
    } else {
        figures.push(Figure {
            title: "Cosine of the candidates",
            svg: charts::histogram(&tally.cosine, Some(source.threshold()), "cosine")?,
            about: format!(
                "Every candidate pair from the minimum cosine {min_cosine} up. Without a cross-encoder, the cosine decides."
            ),
        });
    }
    if let Some(fit) = &source.manifest.fit {
        let parts = fit.parts.iter().map(|part| (part.cosine, part.expected, part.found));
        let points: Vec<MeanLogOdds> = parts
            .map(|(cosine, expected, found)| MeanLogOdds {
                cosine: cosine.into(),
                expected: expected.into(),
                found: found.into(),
            })
            .collect();
        figures.push(Figure {
            title: "Fit of the calibration",
            svg: charts::fit(&points)?,
            about: format!(
                "What the cross-encoder says of pairs with the same cosine, in the corpus that it was calibrated for and in \
                 this one: {:.1} apart on average{}.",
                fit.apart,
                if fit.is_good() { "" } else { ", so thresholds and probabilities may be wrong here" }
            ),
        });
    }
    figures.push(Figure {
        title: "Cluster sizes",
        svg: charts::sizes(&sizes(source.stats))?,
        about: "How many clusters hold how many questions, copies counted.".into(),
    });
    Ok(figures)
}

/// Clusters by their number of questions.
fn sizes(stats: &[ClusterStatsRow]) -> Vec<(String, u64)> {
    let bounds = [2, 3, 4, 5, 10, 20, 50, 100];
    let mut counts = vec![0; bounds.len()];
    for cluster in stats {
        let at = bounds.partition_point(|&bound| bound <= cluster.size);
        counts[at.saturating_sub(1)] += 1;
    }
    let label = |at: usize| match bounds.get(at + 1) {
        Some(&next) if next == bounds[at] + 1 => bounds[at].to_string(),
        Some(next) => format!("{}–{}", bounds[at], next - 1),
        None => format!("{}+", bounds[at]),
    };
    let filled = counts.iter().rposition(|&count| count > 0).unwrap_or(0).max(3);
    counts.into_iter().enumerate().map(|(at, count)| (label(at), count)).take(filled + 1).collect()
}

/// Bins of the calibration curve: few enough to see each of them.
const CURVE_BINS: usize = 10;

/// What the page says about the labels.
#[derive(Default)]
struct LabelSection {
    figures: Vec<Figure>,
    facts: Vec<Fact>,
    thresholds: Option<Thresholds>,
}

fn label_section(labels: &Labels, tally: &Tally, source: &Source) -> Result<LabelSection> {
    let threshold = source.threshold();
    let scored = ScoredLabels::new(&tally.labelled);
    let (curve, bins) = (scored.curve(), scored.reliability(CURVE_BINS));
    let (at_threshold, best) = (curve.at(f64::from(threshold)), curve.best_f1());
    let unscored = tally.labelled.iter().filter(|pair| pair.probability.is_none()).count();
    let fact = |name: &str, value: String| Fact { name: name.into(), value };
    let figure = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.3}"));
    let estimates = scored.figures_at(f64::from(threshold));
    let (precision, recall) = (estimates.and_then(|f| f.precision), estimates.and_then(|f| f.recall));
    let mut facts = vec![
        fact("labelled pairs", count(tally.labelled.len() as f64)),
        fact("precision at the threshold", share(at_threshold.map(|point| point.precision), precision)),
        fact("recall at the threshold", share(at_threshold.map(|point| point.recall), recall)),
        fact("average precision", figure(curve.average_precision)),
        fact("best F1", best.map_or("–".into(), |p| format!("{:.3} at {:.3}", p.f1(), p.threshold))),
        fact("expected calibration error", figure(scored.expected_calibration_error())),
        fact("labelled pairs that the run did not score", count(unscored as f64)),
    ];
    if labels.unlabelled + labels.unknown > 0 {
        let value = format!(
            "{} without a label, {} with unknown ids",
            count(labels.unlabelled as f64),
            count(labels.unknown as f64)
        );
        facts.push(fact("rows left out", value));
    }
    let figures = vec![
        Figure {
            title: "Precision and recall",
            svg: charts::precision_recall(&curve.points, at_threshold)?,
            about: "Against the labels. A labelled duplicate that the run did not score counts as missed.".into(),
        },
        Figure {
            title: "Calibration",
            svg: charts::calibration(&bins)?,
            about: "On the straight line, pairs called 0.8 are duplicates eight times in ten.".into(),
        },
    ];
    let thresholds = thresholds::view(source.outcomes, &scored, threshold)?;
    Ok(LabelSection { figures, facts, thresholds })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::run::manifest::Manifest;
    use crate::run::options::Options;
    use crate::run::schema::ClusterRow;
    use crate::tables::ids::Ids;
    use crate::tables::questions::Questions;
    use crate::tables::texts::Texts;

    /// Clusters of a hundred questions, then a million pairs of questions.
    fn clusters() -> (Vec<ClusterRow>, Vec<ClusterStatsRow>) {
        let (mut rows, mut stats, mut next) = (Vec::new(), Vec::new(), 0u32);
        for number in 0..1_000_050i64 {
            let size = if number < 50 { 100 } else { 2 };
            rows.extend((next..next + size).map(|question| ClusterRow {
                question,
                cluster: number,
                is_representative: question == next,
                is_reference: false,
                probability_to_representative: Some(0.9),
                size,
            }));
            stats.push(ClusterStatsRow {
                cluster: number,
                size,
                edges: 1,
                density: 0.1,
                min_probability: 0.2,
                mean_probability: 0.5,
                representative: next,
                needs_review: true,
                ..ClusterStatsRow::default()
            });
            next += size;
        }
        (rows, stats)
    }

    #[test]
    fn a_million_clusters_of_hostile_text_stay_under_ten_megabytes() {
        let (clusters, stats) = clusters();
        let mut texts = Texts::default();
        let hostile = "<&'\">".repeat(20_000);
        (0..1000).for_each(|_| texts.push(&hostile));
        (1000..60_000).for_each(|_| texts.push(&hostile[..100]));
        let ids = Ids::row_numbers(clusters.len());
        let rows = (0..60_000).collect();
        let (skipped, is_reference, content) = (Vec::new(), Vec::new(), String::new());
        let questions = Questions { ids: ids.clone(), texts, rows, skipped, is_reference, ranking: None, content };
        let defaults = Manifest::default_options().unwrap();
        let options = Options { min_cosine: Some(0.6), threshold: Some(0.8), ..defaults.clone() };
        let manifest: Manifest = serde_json::from_value(json!({
            "run_id": "r", "version": "0", "started": "2026-11-22T03:00:00Z", "seconds": 1.0, "inputs": [],
            "options": options, "models": { "bi-encoder": { "name": "b", "hash": "h" }, "cross-encoder": null },
            "device": "cpu", "threads": 1,
            "stages": [], "warnings": ["w"],
        }))
        .unwrap();
        let source = Source {
            manifest: &manifest,
            defaults: &defaults,
            metrics: &BTreeMap::new(),
            ids: &ids,
            questions: Ok(&questions),
            clusters: &clusters,
            stats: &stats,
            labels: None,
            outcomes: &[],
            night: None,
        };
        let pair = |a: u32| PairRow {
            a,
            b: a + 1,
            cosine: 0.7,
            probability: Some(0.7 + a as f32 / 5000.0),
            is_duplicate: Some(a >= 500),
            ..PairRow::default()
        };
        let page = render(&source, std::iter::once(Ok((0..999).map(pair).collect()))).unwrap();
        assert!(page.len() < 10_000_000, "{}", page.len());
        assert!(page.contains("smaller ones are left out") && page.contains("60 more questions are not shown here"));
        let held =
            page.split("The ").find_map(|rest| rest.split(" largest clusters").next()?.replace(',', "").parse().ok());
        assert!(held.is_some_and(|held: usize| held > 1000 && held < 1_000_050), "{held:?}");
    }
}
