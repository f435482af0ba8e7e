//! `mine show --cluster`: a cluster's questions and the scores between them.

use std::collections::HashSet;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::commands::show::{id, pair_json, pairs, question_json, row_of, score, text};
use crate::commands::terminal::table;
use crate::error::hint;
use crate::progress::{Progress, readable};
use crate::run::reader::FinishedRun;
use crate::run::schema::{ClusterRow, ClusterStatsRow, PairRow};

/// Figures of a cluster for JSON.
pub fn stats_json(run: &FinishedRun, stats: &ClusterStatsRow) -> Value {
    json!({
        "cluster_id": run.results.index().ids().json(stats.cluster as usize),
        "size": stats.size,
        "edges": stats.edges,
        "density": stats.density,
        "min_probability": stats.min_probability,
        "mean_probability": stats.mean_probability,
        "needs_review": stats.needs_review,
        "representative": question_json(run, stats.representative),
    })
}

/// The cluster as lines and as JSON.
pub fn show(run: &FinishedRun, typed: &str, progress: &Progress) -> Result<(Vec<String>, Value)> {
    let cluster = row_of(run, typed, "cluster")?;
    let rows = run.results.clusters()?;
    let members: Vec<ClusterRow> = rows.iter().filter(|row| row.cluster == cluster).copied().collect();
    if members.is_empty() {
        let advice = match rows.iter().find(|row| row.question == cluster) {
            Some(row) => format!("question {typed} is in cluster {}: --cluster {0}", id(run, row.cluster)),
            None => format!("question {typed} is in no cluster: mine show --question {typed} says why"),
        };
        return Err(hint(format!("no cluster {typed:?} in this run"), advice));
    }
    let stats = run.results.cluster_stats()?;
    let stats =
        stats.iter().find(|stats| stats.cluster == cluster).context("cluster_stats.parquet lacks the cluster")?;
    let questions: HashSet<u32> = members.iter().map(|row| row.question).collect();
    let mut inside = pairs(run, progress, |pair| questions.contains(&pair.a) && questions.contains(&pair.b))?;
    inside.sort_by(|x, y| x.probability.unwrap_or(-1.0).total_cmp(&y.probability.unwrap_or(-1.0)));
    Ok((lines(run, stats, &members, &inside), object(run, stats, &members, &inside)))
}

fn lines(run: &FinishedRun, stats: &ClusterStatsRow, members: &[ClusterRow], inside: &[PairRow]) -> Vec<String> {
    let mut lines = vec![
        format!(
            "cluster {}: {} questions, {} of the pairs match, lowest {:.4}, mean {:.4}{}",
            id(run, stats.cluster),
            readable(stats.size as usize),
            format_args!("{:.0} %", 100.0 * stats.density),
            stats.min_probability,
            stats.mean_probability,
            if stats.needs_review { "; needs review" } else { "" }
        ),
        String::new(),
    ];
    let member = |row: &ClusterRow| {
        let score = if row.is_representative { "repr.".into() } else { score(row.probability_to_representative) };
        vec![id(run, row.question), score, text(run, row.question)]
    };
    lines.extend(table(&["question", "to repr.", "text"], &[1], members.iter().map(member).collect()));
    lines.push(String::new());
    let pair = |pair: &PairRow| {
        let scores = [Some(pair.cosine), pair.logit_ab, pair.logit_ba, pair.probability].map(score);
        [vec![id(run, pair.a), id(run, pair.b)], scores.to_vec(), vec![pair.kind.name().to_string()]].concat()
    };
    let header = ["a", "b", "cosine", "logit ab", "logit ba", "probability", "kind"];
    lines.extend(table(&header, &[2, 3, 4, 5], inside.iter().map(pair).collect()));
    lines
}

fn object(run: &FinishedRun, stats: &ClusterStatsRow, members: &[ClusterRow], inside: &[PairRow]) -> Value {
    let member = |row: &ClusterRow| {
        let mut member = question_json(run, row.question);
        member["is_representative"] = row.is_representative.into();
        member["probability_to_representative"] = json!(row.probability_to_representative);
        member
    };
    let mut object = stats_json(run, stats);
    object["members"] = members.iter().map(member).collect();
    object["pairs"] = inside.iter().map(|pair| pair_json(run, pair)).collect();
    object
}
