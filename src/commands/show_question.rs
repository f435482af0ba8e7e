//! `mine show --question`: a question's cluster, its candidate pairs, and why it is in a cluster or in none.

use anyhow::Result;
use serde_json::{Value, json};

use crate::commands::show::{id, pair_json, pairs, question_json, row_of, score, text};
use crate::commands::terminal::table;
use crate::progress::{Progress, readable};
use crate::run::reader::FinishedRun;
use crate::run::schema::{ClusterRow, PairKind, PairRow};

/// Pairs listed in the terminal; JSON has all.
const LISTED: usize = 25;

/// The question as lines and as JSON.
pub fn show(run: &FinishedRun, typed: &str, progress: &Progress) -> Result<(Vec<String>, Value)> {
    let typed_row = run.results.index().find(typed);
    if let Some(skipped) = run.results.skipped()?.into_iter().find(|row| Some(row.question) == typed_row) {
        let why = format!("its row was skipped: {}", skipped.reason);
        let object = json!({ "id": typed, "text": null, "cluster": null, "pairs": [], "why": why });
        return Ok((vec![format!("question  {typed}"), format!("why       {why}")], object));
    }
    let row = row_of(run, typed, "question")?;
    let mut own = pairs(run, progress, |pair| pair.a == row || pair.b == row)?;
    let key = |pair: &PairRow| (pair.probability.unwrap_or(-1.0), pair.cosine);
    own.sort_by(|x, y| key(y).0.total_cmp(&key(x).0).then(key(y).1.total_cmp(&key(x).1)));
    let clusters = run.results.clusters()?;
    let member = clusters.iter().find(|member| member.question == row);
    let centre = member.and_then(|member| {
        clusters.iter().find(|other| other.cluster == member.cluster && other.is_representative).map(|r| r.question)
    });
    let why = why(run, row, member.zip(centre), &own);
    let mut lines = vec![
        format!("question  {}", id(run, row)),
        format!("text      {}", text(run, row)),
        match member {
            Some(member) => {
                format!("cluster   {} ({} questions)", id(run, member.cluster), readable(member.size as usize))
            }
            None => "cluster   none".into(),
        },
        format!("why       {why}"),
    ];
    if !own.is_empty() {
        let other = |pair: &PairRow| if pair.a == row { pair.b } else { pair.a };
        let listed = |pair: &PairRow| {
            let verdict = match pair.is_duplicate {
                Some(true) => "duplicate",
                Some(false) => "different",
                None => "undecided",
            };
            let other = other(pair);
            vec![id(run, other), score(Some(pair.cosine)), score(pair.probability), verdict.into(), text(run, other)]
        };
        lines.push(String::new());
        let rows = own.iter().take(LISTED).map(listed).collect();
        lines.extend(table(&["with", "cosine", "probability", "verdict", "text"], &[1, 2], rows));
    }
    if own.len() > LISTED {
        lines.push(format!("… and {} more pairs", readable(own.len() - LISTED)));
    }
    let mut object = question_json(run, row);
    object["cluster"] = member.map_or(Value::Null, |member| {
        json!({
            "cluster_id": run.results.index().ids().json(member.cluster as usize),
            "size": member.size,
            "is_representative": member.is_representative,
            "probability_to_representative": member.probability_to_representative,
            "representative": centre.map(|centre| run.results.index().ids().json(centre as usize)),
        })
    });
    object["pairs"] = own.iter().map(|pair| pair_json(run, pair)).collect();
    object["why"] = why.into();
    Ok((lines, object))
}

/// Why the question is where it is. `own` are its pairs, the best first.
fn why(run: &FinishedRun, row: u32, member: Option<(&ClusterRow, u32)>, own: &[PairRow]) -> String {
    let options = &run.manifest.options;
    let threshold = run.manifest.rule().threshold;
    if let Some((member, centre)) = member {
        let centre = id(run, centre);
        return match member.probability_to_representative {
            _ if member.is_representative => "it represents its cluster".into(),
            Some(p) => format!("it reaches {p:.4} with the representative {centre}; the threshold is {threshold}"),
            None => format!("duplicates connect it to the representative {centre}, with which it was not compared"),
        };
    }
    let Some(best) = own.first() else {
        return format!(
            "it has no candidate pair: none of its {} nearest questions reached the minimum cosine {}",
            options.top_k,
            options.min_cosine.unwrap_or_default()
        );
    };
    let other = id(run, if best.a == row { best.b } else { best.a });
    match (best.probability, best.kind) {
        (None, _) if best.is_duplicate.is_some() => {
            format!("its best pair, with {other}, has too low a cosine to be reranked: {:.4}", best.cosine)
        }
        (None, _) => "the rerank budget ended before any of its pairs: none is decided".into(),
        (Some(p), PairKind::Semantic) if best.is_duplicate != Some(true) => {
            format!("its best pair, with {other}, has {p:.4}, below the threshold {threshold}")
        }
        (Some(p), _) => format!(
            "it matches {other} with {p:.4}, but the clustering ({}) kept it out: it fits no representative without a pair \
             that is ruled out",
            options.clustering.name()
        ),
    }
}
