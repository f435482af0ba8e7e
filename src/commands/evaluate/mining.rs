//! What a finished run found of the known duplicates, and where it lost the others.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::commands::evaluate::EvaluateArgs;
use crate::commands::terminal::{figure, figure_table, with_interval};
use crate::error::hint;
use crate::metrics::bootstrap::{Interval, interval, resample};
use crate::metrics::clusters::{self, ClusterScores};
use crate::metrics::gold::{Fate, Funnel, Gold};
use crate::metrics::pairs::{PairFigures, Ranking};
use crate::metrics::retrieval::{self, RankedHits, RetrievalFigures};
use crate::pipeline::finished::FinishedRun;
use crate::pipeline::rescoring;
use crate::progress::{Progress, readable};
use crate::stages::collapse::{UniqueTexts, collapse};
use crate::tables::gold::{self, GoldFile};
use crate::tables::questions::Questions;
use crate::tables::results::PairKind;

/// Where retrieval is measured.
const RANKS: [usize; 5] = [1, 3, 5, 10, 100];

/// Ranks below every decided pair, by cosine: a pair that the rerank budget did not reach.
const UNDECIDED: f64 = -3.0;

/// A pair of unique texts that the run scored.
#[derive(Clone, Copy)]
struct Mined {
    a: u32,
    b: u32,
    score: f64,
    is_duplicate: Option<bool>,
}

/// Answers `mine evaluate --run --gold`.
pub(super) fn run(args: &EvaluateArgs, folder: &Path, progress: &Progress) -> Result<Vec<String>> {
    let finished = FinishedRun::open(folder)?;
    let questions = match &finished.questions {
        Ok(questions) => questions,
        Err(why) => bail!("{}: the questions of the run cannot be had: {why}", folder.display()),
    };
    let unique = collapse(&questions.texts);
    let labelled = labelled(args, &finished, questions, &unique, progress)?;
    let gold = Gold::new(unique.texts.len(), &labelled, !args.no_closure);
    if gold.duplicates.is_empty() {
        bail!("no known duplicates among the run's questions: nothing to measure");
    }
    if gold.contradictions > 0 {
        progress.warn(format!(
            "{} pairs labelled as different are connected through pairs labelled as duplicates: the latter count",
            gold.contradictions
        ));
    }
    let text_of_row = text_of_row(questions, &unique);
    let mined = mined(&finished, &text_of_row, progress)?;
    let predicted = cluster_labels(&finished, &text_of_row, unique.texts.len())?;
    let found: Vec<bool> = mined.iter().map(|pair| gold.has(pair.a, pair.b)).collect();
    let scores: Vec<f64> = mined.iter().map(|pair| pair.score).collect();
    let answer = Answer {
        pairs: Ranking::new(&found, &scores).figures_of_known(gold.duplicates.len() as u64),
        funnel: funnel(&finished, &gold, &mined, &found, &predicted, &unique, progress)?,
        retrieval: retrieval(&gold, &mined, &found, unique.texts.len()),
        clusters: ClusterAnswer::new(args, &gold, &predicted),
        gold,
    };
    if args.json { Ok(vec![serde_json::to_string_pretty(&answer.json())?]) } else { Ok(answer.lines()) }
}

/// Input row → unique text; rows without a question have none.
fn text_of_row(questions: &Questions, unique: &UniqueTexts) -> HashMap<u32, u32> {
    questions.rows.iter().copied().zip(unique.text_of.iter().copied()).collect()
}

/// Gold pairs as numbers of unique texts. Warns of questions that the run does not have.
fn labelled(
    args: &EvaluateArgs,
    finished: &FinishedRun,
    questions: &Questions,
    unique: &UniqueTexts,
    progress: &Progress,
) -> Result<Vec<(u32, u32, bool)>> {
    let text_of_row = text_of_row(questions, unique);
    let by_text: HashMap<&str, u32> = unique.texts.iter().zip(0..).collect();
    let of_text = |text: &str| by_text.get(crate::text::normalise::normalise(text).as_ref()).copied();
    let of_id = |id: &str| finished.results.index().find(id).and_then(|row| text_of_row.get(&row).copied());
    let mut labelled = Vec::new();
    for file in &args.gold {
        let (gold, warning) = gold::read(file, &args.columns)?;
        warning.into_iter().for_each(|warning| progress.warn(warning));
        let before = labelled.len();
        let all = match gold {
            GoldFile::Texts(pairs) => {
                labelled.extend(pairs.iter().filter_map(|p| Some((of_text(&p.a)?, of_text(&p.b)?, p.is_duplicate))));
                pairs.len()
            }
            GoldFile::Ids(pairs) => {
                labelled.extend(pairs.iter().filter_map(|p| Some((of_id(&p.a)?, of_id(&p.b)?, p.is_duplicate))));
                pairs.len()
            }
        };
        let kept = labelled.len() - before;
        if kept == 0 {
            return Err(hint(
                format!("{}: none of its {all} pairs is of the run's questions", file.display()),
                "gold pairs are matched by text (question1, question2) or by id (id_a, id_b; id, group)",
            ));
        }
        if kept < all {
            progress.warn(format!(
                "{}: {} of {} pairs left out: the run does not have their questions",
                file.display(),
                readable(all - kept),
                readable(all)
            ));
        }
    }
    Ok(labelled)
}

fn mined(finished: &FinishedRun, text_of_row: &HashMap<u32, u32>, progress: &Progress) -> Result<Vec<Mined>> {
    let mut mined = Vec::new();
    for batch in finished.results.pairs()? {
        progress.check()?;
        mined.extend(batch?.into_iter().filter(|pair| pair.kind == PairKind::Semantic).filter_map(|pair| {
            Some(Mined {
                a: *text_of_row.get(&pair.a)?,
                b: *text_of_row.get(&pair.b)?,
                score: pair.probability.map_or(f64::from(pair.cosine) + UNDECIDED, f64::from),
                is_duplicate: pair.is_duplicate,
            })
        }));
    }
    Ok(mined)
}

/// The cluster of every unique text, a label of its own where it is in none.
fn cluster_labels(finished: &FinishedRun, text_of_row: &HashMap<u32, u32>, texts: usize) -> Result<Vec<u32>> {
    let mut labels: Vec<u32> = (0..texts as u32).collect();
    for row in finished.results.clusters()? {
        let (text, cluster) = (text_of_row.get(&row.question), text_of_row.get(&row.cluster));
        if let (Some(&text), Some(&cluster)) = (text, cluster) {
            labels[text as usize] = cluster;
        }
    }
    Ok(labels)
}

/// What became of each known duplicate.
fn funnel(
    finished: &FinishedRun,
    gold: &Gold,
    mined: &[Mined],
    found: &[bool],
    predicted: &[u32],
    unique: &UniqueTexts,
    progress: &Progress,
) -> Result<Funnel> {
    let scored: HashMap<(u32, u32), Option<bool>> = mined
        .iter()
        .zip(found)
        .filter(|(_, found)| **found)
        .map(|(pair, _)| ((pair.a.min(pair.b), pair.a.max(pair.b)), pair.is_duplicate))
        .collect();
    let missing: Vec<(u32, u32)> = gold.duplicates.iter().copied().filter(|pair| !scored.contains_key(pair)).collect();
    let cosines = rescoring::cosines(finished, &unique.texts, &missing, progress)?;
    let floor = finished.manifest.options.get("min-cosine").and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY);
    let cosine_of: HashMap<(u32, u32), f64> = missing.into_iter().zip(cosines).collect();
    let mut funnel = Funnel::default();
    for pair in &gold.duplicates {
        let together = predicted[pair.0 as usize] == predicted[pair.1 as usize];
        let decided = scored.get(pair);
        let fate = match decided {
            _ if together => Fate::Found,
            Some(Some(true)) => Fate::LostByClustering,
            Some(Some(false)) => Fate::LostByScore,
            Some(None) => Fate::LostByBudget,
            None if cosine_of.get(pair).is_some_and(|&cosine| cosine >= floor) => Fate::LostByIndex,
            None => Fate::LostByFloor,
        };
        funnel.count(fate, decided != Some(&Some(true)));
    }
    Ok(funnel)
}

/// Candidates of every question with known duplicates, best first, at the ranks of [`RANKS`].
fn retrieval(gold: &Gold, mined: &[Mined], found: &[bool], texts: usize) -> Vec<RetrievalFigures> {
    let mut known = vec![0_usize; texts];
    gold.duplicates.iter().flat_map(|&(a, b)| [a, b]).for_each(|text| known[text as usize] += 1);
    let mut hits: HashMap<u32, Vec<(f64, u32, bool)>> = HashMap::new();
    for (pair, &found) in mined.iter().zip(found) {
        for (query, hit) in [(pair.a, pair.b), (pair.b, pair.a)] {
            if known[query as usize] > 0 {
                hits.entry(query).or_default().push((pair.score, hit, found));
            }
        }
    }
    let queries = (0..texts as u32).filter(|&query| known[query as usize] > 0);
    let ranked: Vec<RankedHits> = queries
        .map(|query| {
            let mut ranked = hits.remove(&query).unwrap_or_default();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let relevant = ranked.into_iter().map(|(_, _, found)| found).collect();
            RankedHits { relevant, known: known[query as usize] }
        })
        .collect();
    RANKS.iter().filter_map(|&k| retrieval::at(k, &ranked)).collect()
}

/// The clustering of the questions that the labels mention.
struct ClusterAnswer {
    scores: ClusterScores,
    intervals: Vec<(&'static str, Option<Interval>)>,
}

impl ClusterAnswer {
    fn new(args: &EvaluateArgs, gold: &Gold, predicted: &[u32]) -> Self {
        let gold_labels = gold.labels(predicted.len());
        let predicted: Vec<u32> = gold.mentioned.iter().map(|&text| predicted[text as usize]).collect();
        let scores = clusters::compare(&gold_labels, &predicted);
        let draws = args.draws(gold_labels.len());
        let intervals = if draws == 0 { Vec::new() } else { intervals(&gold_labels, &predicted, draws, args.seed) };
        Self { scores, intervals }
    }

    fn figures(&self) -> [(&'static str, f64); 7] {
        figures(&self.scores)
    }
}

fn figures(scores: &ClusterScores) -> [(&'static str, f64); 7] {
    [
        ("pairwise_precision", scores.pairwise.precision),
        ("pairwise_recall", scores.pairwise.recall),
        ("pairwise_f1", scores.pairwise.f1),
        ("bcubed_precision", scores.bcubed.precision),
        ("bcubed_recall", scores.bcubed.recall),
        ("bcubed_f1", scores.bcubed.f1),
        ("adjusted_rand", scores.adjusted_rand),
    ]
}

/// Draws whole gold clusters; a cluster drawn twice is two clusters, and so are the predicted ones it is part of.
fn intervals(gold: &[u32], predicted: &[u32], draws: u64, seed: u64) -> Vec<(&'static str, Option<Interval>)> {
    let mut members: HashMap<u32, Vec<usize>> = HashMap::new();
    gold.iter().enumerate().for_each(|(item, &cluster)| members.entry(cluster).or_default().push(item));
    let mut groups: Vec<Vec<usize>> = members.into_values().collect();
    groups.sort_unstable();
    let values = resample(groups.len(), draws, seed, |times| {
        let copies = groups.iter().zip(times).flat_map(|(group, &times)| (0..times).map(move |copy| (group, copy)));
        let items: Vec<(usize, u32)> =
            copies.flat_map(|(group, copy)| group.iter().map(move |&item| (item, copy))).collect();
        let labels = |of: &[u32]| -> Vec<(u32, u32)> { items.iter().map(|&(item, copy)| (of[item], copy)).collect() };
        figures(&clusters::compare(&labels(gold), &labels(predicted))).map(|(_, value)| value)
    });
    let names = figures(&clusters::compare(gold, predicted)).map(|(name, _)| name);
    names.into_iter().enumerate().map(|(at, name)| (name, interval(values.iter().map(|draw| Some(draw[at]))))).collect()
}

struct Answer {
    gold: Gold,
    pairs: PairFigures,
    funnel: Funnel,
    retrieval: Vec<RetrievalFigures>,
    clusters: ClusterAnswer,
}

impl Answer {
    fn json(&self) -> Value {
        let best = self.pairs.best_f1;
        let clusters: serde_json::Map<String, Value> =
            self.clusters.figures().iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
        let intervals: serde_json::Map<String, Value> = self
            .clusters
            .intervals
            .iter()
            .map(|(name, interval)| (name.to_string(), json!(interval.map(|i| [i.low, i.high]))))
            .collect();
        json!({
            "gold": {
                "duplicates": self.gold.duplicates.len(),
                "questions": self.gold.mentioned.len(),
                "contradictions": self.gold.contradictions,
            },
            "mining": {
                "pairs": self.pairs.pairs,
                "average_precision": self.pairs.average_precision,
                "f1": best.map(|best| best.f1),
                "f1_threshold": best.map(|best| best.threshold),
                "precision": best.map(|best| best.precision),
                "recall": best.map(|best| best.recall),
            },
            "funnel": self.funnel,
            "retrieval": self.retrieval,
            "clusters": clusters,
            "cluster_intervals": intervals,
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} known duplicates among {} labelled questions",
            readable(self.gold.duplicates.len()),
            readable(self.gold.mentioned.len())
        )];
        lines.push(String::new());
        lines.push("Where duplicates get lost".into());
        let share = |pairs: u64| format!("{:.1} %", 100.0 * pairs as f64 / self.funnel.duplicates as f64);
        let funnel = [
            ("below the candidate floor", self.funnel.lost_by_floor),
            ("not among the nearest, or overlooked by the index", self.funnel.lost_by_index),
            ("not reached by the rerank budget", self.funnel.lost_by_budget),
            ("scored below the threshold", self.funnel.lost_by_score),
            ("called duplicates, but clustered apart", self.funnel.lost_by_clustering),
            ("in one cluster", self.funnel.found),
            ("… of these mended by the clustering", self.funnel.mended_by_clustering),
        ];
        let rows = funnel.map(|(name, pairs)| vec![name.into(), readable(pairs as usize), share(pairs)]);
        lines.extend(figure_table(&["known duplicates", "pairs", "share"], rows));
        lines.push(String::new());
        lines.push("Mined pairs by score, against all known duplicates".into());
        let best = self.pairs.best_f1;
        let row = vec![
            readable(self.pairs.pairs as usize),
            figure(self.pairs.average_precision),
            figure(best.map(|best| best.f1)),
            figure(best.map(|best| best.threshold)),
            figure(best.map(|best| best.precision)),
            figure(best.map(|best| best.recall)),
        ];
        lines.extend(figure_table(&["pairs", "average precision", "best F1", "at", "precision", "recall"], [row]));
        lines.push(String::new());
        lines.push("Candidates of each question, best first".into());
        let rows = self.retrieval.iter().map(|at| {
            let figures = [at.ndcg, at.mrr, at.map, at.recall, at.precision, at.accuracy];
            std::iter::once(at.k.to_string()).chain(figures.map(|value| figure(Some(value)))).collect()
        });
        lines.extend(figure_table(&["k", "nDCG", "MRR", "MAP", "recall", "precision", "any found"], rows));
        lines.push(String::new());
        lines.push("Clusters of the labelled questions".into());
        let rows = self.clusters.figures().into_iter().enumerate().map(|(at, (name, value))| {
            let interval = self.clusters.intervals.get(at).and_then(|(_, interval)| *interval);
            vec![name.replace('_', " "), with_interval(Some(value), interval)]
        });
        lines.extend(figure_table(&["figure", "value (95 % interval)"], rows));
        lines
    }
}
