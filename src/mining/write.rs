//! The output folder: what may be replaced, and result files that are complete or absent.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::atomic_file::{Linked, folder_of, remove_if_there, step, sync_folder, write_bytes, write_json};
use crate::error::{hint, refused, usage};
use crate::mining::collapse::UniqueTexts;
use crate::mining::embed::Embedded;
use crate::mining::plan::Plan;
use crate::mining::rows::Tables;
use crate::nightly::changes::Changes;
use crate::nightly::guards::Tripped;
use crate::progress::Progress;
use crate::report::source::{Night, Source};
use crate::report::{self, page};
use crate::run::change_schema::{CLUSTER_EVENTS, MEMBERSHIP_CHANGES};
use crate::run::manifest::{self, Manifest};
use crate::run::schema::{CLUSTER_STATS, CLUSTERS, EMBEDDINGS, METRICS, MetricRow, PAIRS, SKIPPED};
use crate::store::mirror::Mirror;
use crate::store::versions::{Version, Versions};
use crate::tables::questions::Questions;
use crate::tables::{corpus, embeddings};

/// Every file a run may write, in the order in which they get their names; the manifest comes after them.
const FILES: [&str; 9] = [
    PAIRS.file,
    CLUSTERS.file,
    CLUSTER_STATS.file,
    CLUSTER_EVENTS.file,
    MEMBERSHIP_CHANGES.file,
    SKIPPED.file,
    EMBEDDINGS,
    METRICS.file,
    report::FILE,
];

/// Folder in the output of what a guard refused.
pub const REFUSED: &str = ".refused";

/// Pairs that the report gets at a time.
const REPORT_PAIRS: usize = 65_536;

/// Refuses a folder that cannot be written, and files that no run of `mine` wrote.
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
    let is_named = plan.options.input.iter().any(|input| Path::new(input) == file);
    in_output && (is_result || !is_named)
}

/// Refuses to replace what only `--force` may replace: what no run left. Results of other options are kept as a version.
pub fn check_replaceable(plan: &Plan) -> Result<()> {
    let output = &plan.options.output;
    let advice = "choose another --output, or replace what is there with --force";
    let manifest = Manifest::read(output).map_err(|e| hint(format!("{e:#}"), advice))?;
    if manifest.is_some() || Versions::of(output).current().is_some() {
        return Ok(());
    }
    match FILES.iter().find(|file| output.join(file).exists()) {
        None => Ok(()),
        Some(file) => {
            let found = format!("{} holds a {file} without a manifest: not a complete run of mine", output.display());
            Err(hint(found, advice))
        }
    }
}

/// What of the options and models differs from the run whose results are there, a sentence each.
pub fn differences(plan: &Plan) -> Result<Vec<String>> {
    let Some(manifest) = Manifest::read(&plan.options.output)? else { return Ok(Vec::new()) };
    let found = manifest.differences(&plan.options, &plan.models)?;
    Ok(found.iter().map(|found| format!("{} was {} and is now {}", found.option, found.before, found.now)).collect())
}

/// What a run writes, besides its report.
pub struct Results<'a> {
    pub run_id: &'a str,
    pub questions: &'a Questions,
    pub unique: &'a UniqueTexts,
    pub tables: &'a Tables,
    pub changes: &'a Changes,
    pub embedded: &'a Embedded,
    pub metrics: &'a [MetricRow],
}

/// Writes every result file into a folder of a version, from nothing.
pub fn stage(folder: &Path, plan: &Plan, results: &Results) -> Result<()> {
    let failed = || format!("cannot prepare {}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(failed)?;
    }
    std::fs::create_dir_all(folder).with_context(failed)?;
    let Results { run_id, questions, unique, tables, changes, embedded, metrics } = results;
    let (ids, footer) = (&questions.ids, footer(plan, run_id));
    PAIRS.write(folder, ids, &tables.pairs, &footer)?;
    CLUSTERS.write(folder, ids, &tables.clusters, &footer)?;
    CLUSTER_STATS.write(folder, ids, &tables.stats, &footer)?;
    CLUSTER_EVENTS.write(folder, &changes.ids, &changes.events, &footer)?;
    MEMBERSHIP_CHANGES.write(folder, &changes.ids, &changes.membership, &footer)?;
    SKIPPED.write(folder, ids, &tables.skipped, &footer)?;
    METRICS.write(folder, ids, metrics, &footer)?;
    if plan.options.write_embeddings {
        let rows: Vec<(u32, u32)> = questions.rows.iter().copied().zip(unique.text_of.iter().copied()).collect();
        let vectors = embedded.vectors();
        embeddings::write(&folder.join(EMBEDDINGS), ids, &rows, (vectors.values, vectors.width), &footer)?;
    }
    Ok(())
}

/// What the footer of every Parquet file says of the run.
fn footer(plan: &Plan, run_id: &str) -> Vec<(String, String)> {
    let entry = |key: &str, value: String| (format!("dupmine.{key}"), value);
    vec![
        entry("run_id", run_id.into()),
        entry("threshold", plan.rule.threshold.to_string()),
        entry("bi_encoder", plan.models.bi_encoder.hash.clone()),
        entry("cross_encoder", plan.models.cross_encoder.as_ref().map_or("none".into(), |model| model.hash.clone())),
    ]
}

/// Writes report and manifest beside the other files, and returns the hash of every file by its name.
pub fn stage_report(
    folder: &Path,
    results: &Results,
    manifest: &Manifest,
    history: &[Version],
) -> Result<BTreeMap<String, String>> {
    let Results { questions, tables, changes, metrics, .. } = results;
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
        outcomes: &[],
        night: Some(&Night::new(changes.events.clone(), history, manifest.number)),
    };
    let page = page::render(&source, tables.pairs.chunks(REPORT_PAIRS).map(|batch| Ok(batch.to_vec())))?;
    write_bytes(&folder.join(report::FILE), page.as_bytes())?;
    write_json(&folder.join(manifest::FILE), manifest)?;
    hashes(folder)
}

/// The hash of every file of a folder by its name.
pub fn hashes(folder: &Path) -> Result<BTreeMap<String, String>> {
    let failed = || format!("cannot read {}", folder.display());
    let mut hashes = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hashes.insert(name, hash(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(hashes)
}

/// The hash of a file, `None` if it cannot be read.
pub fn hash(path: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).ok()?).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}

/// Whether all files of a version are there as they were written.
pub fn is_whole(version: &Version, folder: &Path) -> bool {
    !version.files.is_empty() && hashes(folder).is_ok_and(|found| found == version.files)
}

/// Gives the files of the current version their names in the output folder, unless they have them. Every new name is made
/// before the first old one goes; then the old manifest goes first and the new one comes last, so that a folder with a
/// manifest never mixes two runs.
pub fn publish(output: &Path, version: &Version) -> Result<()> {
    let has_its_name = |(name, expected): (&String, &String)| hash(&output.join(name)).as_ref() == Some(expected);
    if version.files.contains_key(manifest::FILE) && version.files.iter().all(has_its_name) {
        return Ok(());
    }
    let folder = Versions::of(output).files_of(version.number);
    let names: Vec<&str> =
        FILES.into_iter().filter(|name| folder.join(name).exists()).chain([manifest::FILE]).collect();
    let linked: Vec<Linked> =
        names.iter().map(|name| Linked::new(&folder.join(name), &output.join(name))).collect::<Result<_>>()?;
    step();
    let gone = FILES.into_iter().filter(|name| !names.contains(name));
    for path in [manifest::FILE].into_iter().chain(gone).map(|name| output.join(name)) {
        remove_if_there(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    linked.into_iter().try_for_each(Linked::publish)?;
    sync_folder(output).with_context(|| format!("cannot write {}", output.display()))
}

/// Takes over the versions that another machine wrote since, and gives the newest one its names in the output folder.
pub fn fetch(mirror: &mut Mirror, output: &Path, progress: &Progress) -> Result<()> {
    if let Some(version) = mirror.pull()?.and_then(|number| Versions::of(output).find(number)) {
        progress.say(&format!("store      version {} was written by another machine: it is fetched", version.number));
        publish(output, &version)?;
    }
    Ok(())
}

/// Removes what a guard refused: a later run was accepted.
pub fn forget_refused(output: &Path) -> Result<()> {
    let refused = output.join(REFUSED);
    if refused.exists() {
        std::fs::remove_dir_all(&refused).with_context(|| format!("cannot remove {}", refused.display()))?;
    }
    Ok(())
}

/// Removes the large files of versions that are no longer the current one: they can be computed again.
pub fn drop_embeddings(output: &Path) -> Result<()> {
    let versions = Versions::of(output);
    let current = versions.current().map(|version| version.number);
    for version in versions.kept().iter().filter(|version| Some(version.number) != current) {
        let path = versions.files_of(version.number).join(EMBEDDINGS);
        remove_if_there(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Keeps what a guard refused beside the results: the files of `staged`, if they were written, and why.
pub fn refuse(
    output: &Path,
    staged: Option<&Path>,
    gone: Option<&Questions>,
    tripped: &Tripped,
) -> Result<anyhow::Error> {
    let folder = output.join(REFUSED);
    let failed = || format!("cannot write {}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(failed)?;
    }
    match staged {
        Some(staged) => std::fs::rename(staged, &folder).with_context(failed)?,
        None => std::fs::create_dir_all(&folder).with_context(failed)?,
    }
    if let Some(gone) = gone {
        corpus::write(&folder.join("gone.parquet"), gone)?;
    }
    let accepting = format!("{} {}", tripped.flag, tripped.accept);
    write_json(
        &folder.join("refusal.json"),
        &serde_json::json!({ "guard": tripped.flag, "found": tripped.found, "accept": accepting }),
    )?;
    let stays = match output.join(manifest::FILE).exists() {
        true => format!("the results in {} stay as they are", output.display()),
        false => "nothing is written".to_string(),
    };
    Ok(refused(
        format!("{}: {}; {stays}", tripped.flag, tripped.found),
        format!("see {}; if that is right, {accepting} accepts it", folder.display()),
    ))
}

/// Refuses an output folder that cannot be written before hours are spent on what goes there.
fn ensure_writable(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Err(hint(format!("cannot write into {}: {error}", folder.display()), "choose another --output"));
    }
    Ok(())
}
