//! From scored pairs and clusters of texts to the result files about questions, complete or absent.

use rayon::slice::ParallelSliceMut;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::calibration::decision::Decision;
use crate::clustering::stats::{ClusterStats, stats};
use crate::clustering::{Clustering, Edge};
use crate::error::{hint, usage};
use crate::mining::artifact::Workspace;
use crate::mining::candidates::Candidate;
use crate::mining::collapse::{CopyPair, UniqueTexts};
use crate::mining::embedding::Embedded;
use crate::mining::log::Log;
use crate::mining::plan::Plan;
use crate::mining::rerank::Scores;
use crate::report;
use crate::run::manifest::{self, Manifest};
use crate::tables::questions::Questions;
use crate::tables::results::{self, ClusterRow, ClusterStatsRow, Metric, PairKind, PairRow};
use crate::tables::write::{folder_of, write_json};

/// Every file a run may write, in the order in which they get their names; the manifest comes after them.
const FILES: [&str; 7] = [
    "pairs.parquet",
    "clusters.parquet",
    "cluster_stats.parquet",
    "skipped.parquet",
    "embeddings.parquet",
    "metrics.parquet",
    report::FILE,
];

/// A candidate with its decision.
pub struct Scored {
    pub candidate: Candidate,
    pub scores: Scores,
    /// `None` when the cross-encoder was not asked.
    pub probability: Option<f32>,
    /// `None` when the budget ended before the pair.
    pub is_duplicate: Option<bool>,
}

/// Rows of the result files. All numbers are input rows.
pub struct Tables {
    pub pairs: Vec<PairRow>,
    pub clusters: Vec<ClusterRow>,
    pub stats: Vec<ClusterStatsRow>,
}

/// Probability and decision of every candidate: as `decision` makes them of the cross-encoder's scores and the cosine, or
/// without a cross-encoder the cosine itself.
pub fn decide(
    candidates: Vec<Candidate>,
    scores: Vec<Scores>,
    decision: Option<&Decision>,
    threshold: f32,
) -> Vec<Scored> {
    candidates
        .into_iter()
        .zip(scores)
        .map(|(candidate, scores)| {
            let probability = match decision {
                Some(decision) => scores.probability(decision, candidate.cosine),
                None => Some(candidate.cosine.clamp(0.0, 1.0)),
            };
            let is_duplicate = match decision {
                Some(decision) if !decision.asks(candidate.cosine) => Some(false),
                _ => probability.map(|p| p >= threshold),
            };
            Scored { candidate, scores, probability, is_duplicate }
        })
        .collect()
}

/// Rows of all result files.
pub fn assemble(
    questions: &Questions,
    unique: &UniqueTexts,
    copies: &[CopyPair],
    scored: &[Scored],
    edges: &[Edge],
    clustering: &Clustering,
    threshold: f32,
) -> Tables {
    let row = |question: u32| questions.rows[question as usize];
    let first_row = |text: u32| row(unique.first_question[text as usize]);
    let mut pairs: Vec<PairRow> = scored
        .iter()
        .map(|pair| PairRow {
            a: first_row(pair.candidate.a),
            b: first_row(pair.candidate.b),
            cosine: pair.candidate.cosine,
            logit_ab: pair.scores.logit_ab,
            logit_ba: pair.scores.logit_ba,
            probability: pair.probability,
            is_duplicate: pair.is_duplicate,
            kind: PairKind::Semantic,
        })
        .collect();
    pairs.extend(copies.iter().map(|copy| PairRow {
        a: row(copy.a),
        b: row(copy.b),
        cosine: 1.0,
        logit_ab: None,
        logit_ba: None,
        probability: Some(1.0),
        is_duplicate: Some(true),
        kind: if copy.same_bytes { PairKind::Exact } else { PairKind::Normalised },
    }));
    pairs.par_sort_unstable_by_key(|pair| (pair.a, pair.b));
    let (clusters, stats) = cluster_tables(questions, unique, edges, clustering, threshold);
    Tables { pairs, clusters, stats }
}

fn cluster_tables(
    questions: &Questions,
    unique: &UniqueTexts,
    edges: &[Edge],
    clustering: &Clustering,
    threshold: f32,
) -> (Vec<ClusterRow>, Vec<ClusterStatsRow>) {
    let cluster_of = |text: u32| clustering.cluster_of[text as usize];
    let representative = |cluster: u32| clustering.representative[cluster as usize];
    let mut to_representative: HashMap<u32, f32> = HashMap::new();
    for edge in edges.iter().filter(|edge| cluster_of(edge.a) == cluster_of(edge.b)) {
        let centre = representative(cluster_of(edge.a));
        if edge.a == centre || edge.b == centre {
            to_representative.insert(edge.a + edge.b - centre, edge.probability);
        }
    }
    let row = |question: u32| questions.rows[question as usize];
    let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
    for (question, &text) in unique.text_of.iter().enumerate() {
        members.entry(cluster_of(text)).or_default().push(question as u32);
    }
    let mut groups: Vec<(u32, Vec<u32>)> = members.into_iter().filter(|(_, members)| members.len() > 1).collect();
    groups.sort_unstable_by_key(|(_, members)| members[0]);
    let by_cluster: HashMap<u32, ClusterStats> =
        stats(clustering, edges, threshold).into_iter().map(|stats| (stats.cluster, stats)).collect();
    let (mut clusters, mut table) = (Vec::new(), Vec::new());
    for (number, members) in groups {
        let (cluster, size) = (row(members[0]), members.len() as u32);
        let centre = unique.first_question[representative(number) as usize];
        clusters.extend(members.iter().map(|&question| {
            let text = unique.text_of[question as usize];
            let own = (text == representative(number)).then_some(1.0);
            ClusterRow {
                question: row(question),
                cluster,
                is_representative: question == centre,
                probability_to_representative: own.or(to_representative.get(&text).copied()),
                size,
            }
        }));
        let stats = by_cluster.get(&number);
        table.push(ClusterStatsRow {
            cluster,
            size,
            edges: stats.map_or(0, |s| s.edges as u64),
            density: stats.map_or(1.0, |s| s.density as f32),
            min_probability: stats.map_or(1.0, |s| s.min_probability),
            mean_probability: stats.map_or(1.0, |s| s.mean_probability as f32),
            representative: row(centre),
            needs_review: stats.is_some_and(|s| s.needs_review),
        });
    }
    (clusters, table)
}

/// Figures of the results.
pub fn log(log: &mut Log, tables: &Tables) {
    let kind = |kind| tables.pairs.iter().filter(|pair| pair.kind == kind).count() as f64;
    log.count("pairs", "exact", kind(PairKind::Exact));
    log.count("pairs", "normalised", kind(PairKind::Normalised));
    log.count("pairs", "semantic", kind(PairKind::Semantic));
    let decided = |is| tables.pairs.iter().filter(|pair| pair.is_duplicate == is).count() as f64;
    log.count("pairs", "duplicates", decided(Some(true)));
    log.count("pairs", "undecided", decided(None));
    log.count("cluster", "clusters", tables.stats.len() as f64);
    log.count("cluster", "questions_in_clusters", tables.clusters.len() as f64);
    log.count("cluster", "largest", tables.stats.iter().map(|s| s.size).max().unwrap_or(0).into());
    log.count("cluster", "needs_review", tables.stats.iter().filter(|s| s.needs_review).count() as f64);
}

/// Refuses a folder that holds a run with other options (a new night's input is no other option), or files that no run of `mine` wrote.
pub fn check_folder(plan: &Plan, force: bool) -> Result<()> {
    let output = &plan.options.output;
    if output.exists() && !output.is_dir() {
        return Err(hint(format!("--output {} is not a folder", output.display()), "choose another --output"));
    }
    if let Some(file) = plan.inputs.iter().find(|file| is_at_risk(&file.path, plan)) {
        return Err(usage(format!(
            "--output {} is the folder of the input {}: results would be taken for questions, or take its place",
            output.display(),
            file.path.display()
        )));
    }
    ensure_writable(output)?;
    if force { Ok(()) } else { check_replaceable(plan) }
}

/// Whether an input file has the name of a result, or the next run would find results beside it.
fn is_at_risk(file: &Path, plan: &Plan) -> bool {
    let folder = |path: &Path| path.canonicalize().ok();
    let in_output = folder(folder_of(file)).is_some_and(|of| Some(of) == folder(&plan.options.output));
    let is_result =
        file.file_name().is_some_and(|name| name == manifest::FILE || FILES.iter().any(|file| name == *file));
    in_output && (is_result || !Path::new(&plan.options.input).is_file())
}

/// Refuses to replace what only `--force` may replace: results of other options, and what no run left.
pub fn check_replaceable(plan: &Plan) -> Result<()> {
    let output = &plan.options.output;
    let advice = "choose another --output, or replace what is there with --force";
    let refusal = match Manifest::read(output).map_err(|e| hint(format!("{e:#}"), advice))? {
        Some(manifest) if manifest.has_options_of(plan) => return Ok(()),
        Some(manifest) => {
            format!("{} holds a run with other options (run {})", output.display(), manifest.run_id)
        }
        None if Workspace::peek(output).was_publishing() => return Ok(()),
        None => match FILES.iter().find(|file| output.join(file).exists()) {
            None => return Ok(()),
            Some(file) => format!("{} holds a {file} without a manifest: not a complete run of mine", output.display()),
        },
    };
    Err(hint(refusal, advice))
}

/// Writes every result file into a staging folder.
pub fn write(
    workspace: &Workspace,
    plan: &Plan,
    questions: &Questions,
    unique: &UniqueTexts,
    tables: &Tables,
    embedded: Option<&Embedded>,
    metrics: &[Metric],
) -> Result<PathBuf> {
    let staging = workspace.staging()?;
    let ids = &questions.ids;
    results::write_pairs(&staging.join("pairs.parquet"), ids, &tables.pairs)?;
    results::write_clusters(&staging.join("clusters.parquet"), ids, &tables.clusters)?;
    results::write_cluster_stats(&staging.join("cluster_stats.parquet"), ids, &tables.stats)?;
    let skipped: Vec<(u32, &str)> = questions.skipped.iter().map(|&(row, reason)| (row, reason.name())).collect();
    results::write_skipped(&staging.join("skipped.parquet"), ids, &skipped)?;
    if let (true, Some(embedded)) = (plan.options.write_embeddings, embedded) {
        let rows: Vec<(u32, u32)> = questions.rows.iter().copied().zip(unique.text_of.iter().copied()).collect();
        let path = staging.join("embeddings.parquet");
        results::write_embeddings(&path, ids, &rows, &embedded.values, embedded.width)?;
    }
    results::write_metrics(&staging.join("metrics.parquet"), &plan.run_id(), metrics)?;
    Ok(staging)
}

/// Gives the files their names. The old manifest goes first and the new one comes last, so that a folder with a
/// manifest never mixes two runs.
pub fn publish(staging: &Path, workspace: &Workspace, plan: &Plan, manifest: &Manifest) -> Result<()> {
    workspace.begin_publishing(&manifest.run_id)?;
    let output = &plan.options.output;
    let remove = |file: &str| -> Result<()> {
        let path = output.join(file);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    };
    remove(manifest::FILE)?;
    for file in FILES {
        let (from, to) = (staging.join(file), output.join(file));
        if from.exists() {
            std::fs::rename(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
        } else {
            remove(file)?;
        }
    }
    write_json(&output.join(manifest::FILE), manifest)?;
    std::fs::remove_dir(staging).with_context(|| format!("cannot remove {}", staging.display()))?;
    workspace.end_publishing()
}

/// Refuses an output folder that cannot be written before hours are spent on what goes there.
fn ensure_writable(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Err(hint(format!("cannot write into {}: {error}", folder.display()), "choose another --output"));
    }
    Ok(())
}
