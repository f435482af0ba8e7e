//! The output folder: what may be replaced, and result files that are complete or absent.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::atomic_file::{folder_of, write_bytes, write_json};
use crate::error::{hint, usage};
use crate::mining::collapse::UniqueTexts;
use crate::mining::embed::Embedded;
use crate::mining::plan::Plan;
use crate::mining::rows::Tables;
use crate::report::source::Source;
use crate::report::{self, page};
use crate::run::manifest::{self, Manifest};
use crate::run::schema::{CLUSTER_STATS, CLUSTERS, EMBEDDINGS, METRICS, MetricRow, PAIRS, SKIPPED};
use crate::store::versions::Versions;
use crate::tables::embeddings;
use crate::tables::questions::Questions;

/// Every file a run may write, in the order in which they get their names; the manifest comes after them.
const FILES: [&str; 7] =
    [PAIRS.file, CLUSTERS.file, CLUSTER_STATS.file, SKIPPED.file, EMBEDDINGS, METRICS.file, report::FILE];

/// Marks that result files are being replaced: a folder without a manifest is then this program's own doing.
const PUBLISHING: &str = "publishing.json";

/// Pairs that the report gets at a time.
const REPORT_PAIRS: usize = 65_536;

/// Refuses a folder that holds a run with other options (a new night's input is no other option), or files that no run of `mine` wrote.
pub fn check_folder(plan: &Plan, force: bool) -> Result<()> {
    let output = &plan.options.output;
    if output.exists() && !output.is_dir() {
        return Err(hint(format!("--output {} is not a folder", output.display()), "choose another --output"));
    }
    if let Some(file) = plan.inputs.iter().find(|file| is_at_risk(file, plan)) {
        return Err(usage(format!(
            "--output {} is the folder of the input {}: results would be taken for questions, or take its place",
            output.display(),
            file.display()
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
        Some(manifest) => {
            let differences = manifest.differences(&plan.options, &plan.models)?;
            if differences.is_empty() {
                return Ok(());
            }
            let said: Vec<String> = differences
                .iter()
                .map(|found| format!("{} was {} and is now {}", found.option, found.before, found.now))
                .collect();
            format!("{} holds a run with other options: {}", output.display(), said.join("; "))
        }
        None if Versions::folder_of(output).join(PUBLISHING).exists() => return Ok(()),
        None => match FILES.iter().find(|file| output.join(file).exists()) {
            None => return Ok(()),
            Some(file) => format!("{} holds a {file} without a manifest: not a complete run of mine", output.display()),
        },
    };
    Err(hint(refusal, advice))
}

/// Writes every result file into a staging folder.
pub fn stage(
    plan: &Plan,
    questions: &Questions,
    unique: &UniqueTexts,
    tables: &Tables,
    embedded: &Embedded,
    metrics: &[MetricRow],
) -> Result<PathBuf> {
    let staging = Versions::folder_of(&plan.options.output).join("staging");
    let failed = || format!("cannot prepare {}", staging.display());
    if staging.exists() {
        std::fs::remove_dir_all(&staging).with_context(failed)?;
    }
    std::fs::create_dir_all(&staging).with_context(failed)?;
    let (ids, footer) = (&questions.ids, footer(plan, questions)?);
    PAIRS.write(&staging, ids, &tables.pairs, &footer)?;
    CLUSTERS.write(&staging, ids, &tables.clusters, &footer)?;
    CLUSTER_STATS.write(&staging, ids, &tables.stats, &footer)?;
    SKIPPED.write(&staging, ids, &tables.skipped, &footer)?;
    METRICS.write(&staging, ids, metrics, &footer)?;
    if plan.options.write_embeddings {
        let rows: Vec<(u32, u32)> = questions.rows.iter().copied().zip(unique.text_of.iter().copied()).collect();
        let vectors = embedded.vectors();
        embeddings::write(&staging.join(EMBEDDINGS), ids, &rows, (vectors.values, vectors.width), &footer)?;
    }
    Ok(staging)
}

/// What the footer of every Parquet file says of the run.
fn footer(plan: &Plan, questions: &Questions) -> Result<Vec<(String, String)>> {
    let entry = |key: &str, value: String| (format!("dupmine.{key}"), value);
    Ok(vec![
        entry("run_id", plan.run_id(&questions.content)?),
        entry("threshold", plan.rule.threshold.to_string()),
        entry("bi_encoder", plan.models.bi_encoder.hash.clone()),
        entry("cross_encoder", plan.models.cross_encoder.as_ref().map_or("none".into(), |model| model.hash.clone())),
    ])
}

/// Writes the report into the staging folder.
pub fn stage_report(
    staging: &Path,
    questions: &Questions,
    tables: &Tables,
    metrics: &[MetricRow],
    manifest: &Manifest,
) -> Result<()> {
    let metrics = metrics.iter().map(|row| (format!("{}.{}", row.stage, row.metric), row.value)).collect();
    let source = Source {
        manifest,
        defaults: &Manifest::default_options()?,
        metrics: &metrics,
        ids: &questions.ids,
        questions: Ok(questions),
        clusters: &tables.clusters,
        stats: &tables.stats,
        labels: None,
    };
    let page = page::render(&source, tables.pairs.chunks(REPORT_PAIRS).map(|batch| Ok(batch.to_vec())))?;
    write_bytes(&staging.join(report::FILE), page.as_bytes())
}

/// Gives the files their names. The old manifest goes first and the new one comes last, so that a folder with a
/// manifest never mixes two runs.
pub fn publish(staging: &Path, plan: &Plan, manifest: &Manifest) -> Result<()> {
    let output = &plan.options.output;
    let publishing = Versions::folder_of(output).join(PUBLISHING);
    write_json(&publishing, &manifest.run_id)?;
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
    std::fs::remove_file(&publishing).with_context(|| format!("cannot remove {}", publishing.display()))
}

/// Refuses an output folder that cannot be written before hours are spent on what goes there.
fn ensure_writable(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Err(hint(format!("cannot write into {}: {error}", folder.display()), "choose another --output"));
    }
    Ok(())
}
