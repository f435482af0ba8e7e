//! `mine evaluate --run --gold`: which known duplicates a finished run found, and where it lost the others.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};

use crate::commands::evaluate::args::EvaluateArgs;
use crate::commands::evaluate::missing_cosines;
use crate::commands::evaluate::run_answer::{Draws, MinedPair, RunAnswer};
use crate::error::hint;
use crate::metrics::gold::{Fate, Gold};
use crate::mining::collapse::{UniqueTexts, collapse};
use crate::progress::{Progress, readable};
use crate::run::reader::FinishedRun;
use crate::run::schema::PairKind;
use crate::tables::gold_file::{self, Named};
use crate::tables::questions::Questions;
use crate::tables::texts::Texts;

/// Added to the cosine of a pair without a probability, so that it ranks below every scored pair.
const UNSCORED: f64 = -3.0;

/// Compares the run with the gold; returns the lines for stdout.
pub(super) fn run(args: &EvaluateArgs, folder: &Path, progress: &Progress) -> Result<Vec<String>> {
    let finished = FinishedRun::open(folder)?;
    let questions = match &finished.questions {
        Ok(questions) => questions,
        Err(why) => bail!("{}: the questions of the run are not available: {why}", folder.display()),
    };
    let unique = collapse(&questions.texts, &questions.is_reference);
    let labelled = gold_pairs(args, &finished, questions, &unique, progress)?;
    let gold = Gold::new(unique.texts.len(), &labelled, !args.no_closure)
        .map_err(|why| hint(why, "--no-closure takes the labels as they are"))?;
    if gold.duplicates.is_empty() {
        bail!("the run's questions hold no known duplicates: there is nothing to measure");
    }
    if gold.contradictions > 0 {
        progress.warn(format!(
            "{} pairs labelled as different are connected by pairs labelled as duplicates: they count as duplicates",
            gold.contradictions
        ));
    }
    let text_of_row = text_of_row(questions, &unique);
    let mined = mined_pairs(&finished, &text_of_row, progress)?;
    let predicted = cluster_labels(&finished, &text_of_row, unique.texts.len())?;
    let found: Vec<bool> = mined.iter().map(|pair| gold.has(pair.a, pair.b)).collect();
    let fates = fates(args, &finished, &gold, (&mined, &found), &predicted, &unique.texts, progress)?;
    let draws = args.draws(mined.len());
    let answer = RunAnswer::new(&gold, &mined, &found, &fates, &predicted, &Draws { count: draws, seed: args.seed });
    if args.json { Ok(vec![serde_json::to_string_pretty(&answer.json())?]) } else { Ok(answer.lines()) }
}

/// Row of an id → unique text; rows without a question have none.
fn text_of_row(questions: &Questions, unique: &UniqueTexts) -> HashMap<u32, u32> {
    questions.rows.iter().copied().zip(unique.text_of.iter().copied()).collect()
}

/// Gold pairs as numbers of unique texts. Warns about questions that the run does not have.
fn gold_pairs(
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
        let (gold, warning) = gold_file::read(file, &args.columns)?;
        warning.into_iter().for_each(|warning| progress.warn(warning));
        let (before, all) = (labelled.len(), gold.pairs.len());
        let find = |name: &str| match gold.named {
            Named::ByText => of_text(name),
            Named::ById => of_id(name),
        };
        labelled.extend(gold.pairs.iter().filter_map(|p| Some((find(&p.a)?, find(&p.b)?, p.is_duplicate))));
        let kept = labelled.len() - before;
        if kept == 0 {
            return Err(hint(
                format!("{}: none of its {all} pairs is among the run's questions", file.display()),
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

/// The pairs of unique texts that the run kept; copies are left out.
fn mined_pairs(finished: &FinishedRun, text_of_row: &HashMap<u32, u32>, progress: &Progress) -> Result<Vec<MinedPair>> {
    let mut mined = Vec::new();
    for batch in finished.results.pairs()? {
        progress.check()?;
        mined.extend(batch?.into_iter().filter(|pair| pair.kind == PairKind::Semantic).filter_map(|pair| {
            Some(MinedPair {
                a: *text_of_row.get(&pair.a)?,
                b: *text_of_row.get(&pair.b)?,
                score: pair.probability.map_or(f64::from(pair.cosine) + UNSCORED, f64::from),
                is_scored: pair.probability.is_some(),
                is_duplicate: pair.is_duplicate,
            })
        }));
    }
    Ok(mined)
}

/// The cluster of every unique text; a text that is in no cluster has a label of its own.
fn cluster_labels(finished: &FinishedRun, text_of_row: &HashMap<u32, u32>, texts: usize) -> Result<Vec<u32>> {
    let mut labels: Vec<u32> = (0..texts as u32).collect();
    let mut label_of: HashMap<i64, u32> = HashMap::new();
    for row in finished.results.clusters()? {
        if let Some(&text) = text_of_row.get(&row.question) {
            labels[text as usize] = *label_of.entry(row.cluster).or_insert(text);
        }
    }
    Ok(labels)
}

/// What happened to each known duplicate, and whether only the clustering joined it.
fn fates(
    args: &EvaluateArgs,
    finished: &FinishedRun,
    gold: &Gold,
    (mined, found): (&[MinedPair], &[bool]),
    predicted: &[u32],
    texts: &Texts,
    progress: &Progress,
) -> Result<Vec<(Fate, bool)>> {
    let scored: HashMap<(u32, u32), &MinedPair> = mined
        .iter()
        .zip(found)
        .filter(|(_, found)| **found)
        .map(|(pair, _)| ((pair.a.min(pair.b), pair.a.max(pair.b)), pair))
        .collect();
    let missing: Vec<(u32, u32)> = gold.duplicates.iter().copied().filter(|pair| !scored.contains_key(pair)).collect();
    let cosines = missing_cosines::cosines(finished, texts, &missing, args.devices.device, progress)?;
    let min_cosine = finished.manifest.options.min_cosine.map_or(f64::NEG_INFINITY, f64::from);
    let cosine_of: HashMap<(u32, u32), f64> = missing.into_iter().zip(cosines).collect();
    let fate = |pair: &(u32, u32)| {
        let in_one_cluster = predicted[pair.0 as usize] == predicted[pair.1 as usize];
        let decided = scored.get(pair).map(|pair| (pair.is_duplicate, pair.is_scored));
        let fate = match decided {
            _ if in_one_cluster => Fate::Found,
            Some((Some(true), _)) => Fate::LostByClustering,
            Some((Some(false), true)) => Fate::LostByScore,
            Some((Some(false), false)) => Fate::LostByRerankFloor,
            Some((None, _)) => Fate::LostByBudget,
            None if cosine_of.get(pair).is_some_and(|&cosine| cosine >= min_cosine) => Fate::LostByIndex,
            None => Fate::LostByMinCosine,
        };
        (fate, decided.is_none_or(|(is_duplicate, _)| is_duplicate != Some(true)))
    };
    Ok(gold.duplicates.iter().map(fate).collect())
}
