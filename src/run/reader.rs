//! A finished run as it lies on disk: its manifest, its rows, and its questions while the input is still what it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::error::usage_with_hint;
use crate::run::change_schema::{CLUSTER_EVENTS, ClusterEventRow};
use crate::run::input::InputFile;
use crate::run::manifest::{self, Manifest};
use crate::run::schema::{
    CLUSTER_STATS, CLUSTERS, ClusterRow, ClusterStatsRow, METRICS, PAIRS, PairRow, SKIPPED, SkippedRow,
};
use crate::store::versions::Versions;
use crate::tables::corpus;
use crate::tables::id_index::IdIndex;
use crate::tables::ids::Ids;
use crate::tables::questions::{self, Questions};
use crate::tables::source;

/// An output folder that holds a complete run.
pub struct FinishedRun {
    pub manifest: Manifest,
    pub results: Results,
    /// The input's questions, or why they are not available: the input is gone, or is not what was mined.
    pub questions: Result<Questions, String>,
}

impl FinishedRun {
    /// Opens `folder`. An input that is gone or changed is no error: ids can be shown without their texts.
    pub fn open(folder: &Path) -> Result<Self> {
        let (files, manifest) = files_and_manifest(folder)?;
        let questions = match stored_questions(folder, &manifest.content) {
            Ok(questions) => Ok(questions),
            Err(_) => input_questions(&manifest),
        };
        let ids = questions.as_ref().ok().map(|questions| questions.ids.clone());
        let results = Results::open(&files, ids)?;
        Ok(Self { manifest, results, questions })
    }

    /// The text of a row; `None` without the input, and for rows that hold no question.
    pub fn text(&self, row: u32) -> Option<&str> {
        let questions = self.questions.as_ref().ok()?;
        questions.text_of_row(row)
    }
}

/// Where the result files of an output are. While a run replaces them, and after one was killed there, those of the current
/// version are read where it keeps them.
fn files_and_manifest(folder: &Path) -> Result<(PathBuf, Manifest)> {
    if let Some(manifest) = Manifest::read(folder)? {
        return Ok((folder.to_path_buf(), manifest));
    }
    let versions = Versions::of(folder);
    if let Some(current) = versions.current() {
        let files = versions.files_of(current.number);
        if let Some(manifest) = Manifest::read(&files)? {
            return Ok((files, manifest));
        }
    }
    Err(usage_with_hint(
        format!("{} holds no finished run: it has no {}", folder.display(), manifest::FILE),
        "give the --output folder of a run of mine that has ended",
    ))
}

/// The questions with this hash that the output keeps.
pub fn stored_questions(output: &Path, content: &str) -> Result<Questions> {
    let path = Versions::of(output).questions_file(content);
    let questions = corpus::read(&path)?;
    ensure!(questions.content == content, "{}: it is damaged", path.display());
    Ok(questions)
}

/// Reads the questions that the manifest names, if they are those that were mined.
fn input_questions(manifest: &Manifest) -> Result<Questions, String> {
    let files: Vec<PathBuf> = manifest.inputs.iter().map(|file| file.path.clone()).collect();
    if files.iter().any(|file| source::is_stdin(file)) {
        return Err("the input was standard input".into());
    }
    if let Some(gone) = files.iter().find(|file| !file.is_file()) {
        return Err(format!("the input {} is gone", gone.display()));
    }
    if manifest.content.is_empty() {
        return Err(format!("the run is of mine {}, which did not record what it read", manifest.version));
    }
    if let Some(changed) = manifest.inputs.iter().find(|file| InputFile::of(&file.path).bytes != file.bytes) {
        return Err(format!("the input {} has changed since the run", changed.path.display()));
    }
    let (questions, _) = questions::read(&files, &manifest.options.read_options()).map_err(|e| format!("{e:#}"))?;
    if questions.content != manifest.content {
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        return Err(format!("the input {} has changed since the run", names.join(", ")));
    }
    Ok(questions)
}

/// The result files of one folder.
pub struct Results {
    folder: PathBuf,
    index: IdIndex,
}

impl Results {
    /// `ids` are the input's, one a row; `None` numbers them in order of appearance.
    pub fn open(folder: &Path, ids: Option<Ids>) -> Result<Self> {
        let index = match ids {
            Some(ids) => IdIndex::new(ids)?,
            None => {
                let columns = CLUSTERS.ids(folder)?.chain(PAIRS.ids(folder)?).chain(SKIPPED.ids(folder)?);
                IdIndex::numbering(columns).with_context(|| folder.display().to_string())?
            }
        };
        Ok(Self { folder: folder.to_path_buf(), index })
    }

    /// Ids by row, and rows by id.
    pub fn index(&self) -> &IdIndex {
        &self.index
    }

    /// Rows of `pairs.parquet` in the order of the file, a batch at a time.
    pub fn pairs(&self) -> Result<impl Iterator<Item = Result<Vec<PairRow>>>> {
        PAIRS.read(&self.folder, &self.index)
    }

    /// Rows of `clusters.parquet`; a cluster's rows follow each other.
    pub fn clusters(&self) -> Result<Vec<ClusterRow>> {
        all(CLUSTERS.read(&self.folder, &self.index)?)
    }

    /// Rows of `cluster_stats.parquet`.
    pub fn cluster_stats(&self) -> Result<Vec<ClusterStatsRow>> {
        all(CLUSTER_STATS.read(&self.folder, &self.index)?)
    }

    /// Rows of `cluster_events.parquet`, the earliest version first; a representative that is gone is `None`.
    pub fn events(&self) -> Result<Vec<ClusterEventRow>> {
        all(CLUSTER_EVENTS.read(&self.folder, &self.index)?)
    }

    /// Rows of `skipped.parquet`.
    pub fn skipped(&self) -> Result<Vec<SkippedRow>> {
        all(SKIPPED.read(&self.folder, &self.index)?)
    }

    /// Figures of `metrics.parquet` by `stage.metric`.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let rows = all(METRICS.read(&self.folder, &self.index)?)?;
        Ok(rows.into_iter().map(|row| (format!("{}.{}", row.stage, row.metric), row.value)).collect())
    }
}

fn all<R>(batches: impl Iterator<Item = Result<Vec<R>>>) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for batch in batches {
        rows.append(&mut batch?);
    }
    Ok(rows)
}
