//! A finished run as it lies on disk: its manifest, its rows, and its questions while the input is still what it was.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::hint;
use crate::mining::input::{self, InputFile};
use crate::run::manifest::{self, Manifest};
use crate::tables::questions::{self, Columns, Questions};
use crate::tables::read_results::Results;

/// An output folder that holds a complete run.
pub struct FinishedRun {
    pub manifest: Manifest,
    pub results: Results,
    /// The input's questions, or why they cannot be had: the input is gone, or is not what was mined.
    pub questions: Result<Questions, String>,
}

impl FinishedRun {
    /// Opens `folder`. An input that is gone or changed is no error: ids can be shown without their texts.
    pub fn open(folder: &Path) -> Result<Self> {
        let manifest = Manifest::read(folder)?.ok_or_else(|| {
            hint(
                format!("{} holds no finished run: it has no {}", folder.display(), manifest::FILE),
                "give the --output folder of a run of mine that has ended",
            )
        })?;
        let questions = input_questions(&manifest);
        let ids = questions.as_ref().ok().map(|questions| questions.ids.clone());
        let results = Results::open(folder, ids)?;
        Ok(Self { manifest, results, questions })
    }

    /// The text of an input row; `None` without the input, and for rows that hold no question.
    pub fn text(&self, row: u32) -> Option<&str> {
        let questions = self.questions.as_ref().ok()?;
        questions.text_of_row(row)
    }
}

/// Reads the questions that the manifest names, if the files still hold the bytes that were mined.
fn input_questions(manifest: &Manifest) -> Result<Questions, String> {
    let mined: Vec<InputFile> = serde_json::from_value(manifest.inputs.clone())
        .map_err(|e| format!("the manifest names no input files: {e}"))?;
    let files: Vec<PathBuf> = mined.iter().map(|file| file.path.clone()).collect();
    if let Some(gone) = files.iter().find(|file| !file.is_file()) {
        return Err(format!("the input {} is gone", gone.display()));
    }
    let now = input::hash(&files).map_err(|e| format!("{e:#}"))?;
    if let Some((file, _)) = now.iter().zip(&mined).find(|(now, mined)| now.blake3 != mined.blake3) {
        return Err(format!("the input {} has changed since the run", file.path.display()));
    }
    let column = |key: &str| manifest.options.get(key).and_then(|name| name.as_str()).map(String::from);
    let columns = Columns { text: column("text-column"), id: column("id-column") };
    questions::read(&files, &columns).map_err(|e| format!("{e:#}"))
}
