//! Known questions that the input is compared with: `--reference`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::error::{hint, usage};
use crate::mining::cluster::Known;
use crate::mining::collapse::UniqueTexts;
use crate::mining::plan::Plan;
use crate::progress::{Progress, readable};
use crate::run::input;
use crate::run::manifest;
use crate::run::reader::FinishedRun;
use crate::store::root::Store;
use crate::tables::format::Format;
use crate::tables::id_index::IdIndex;
use crate::tables::question_rows::ReadOptions;
use crate::tables::questions::{self, Questions};
use crate::tables::source;

/// The questions of the reference, and their clusters if it is the output of another run.
pub struct Reference {
    path: String,
    questions: Questions,
    /// (row, cluster id, whether it represents the cluster) of clustered questions.
    clusters: Vec<(u32, i64, bool)>,
    /// The other run's store.
    store: Option<PathBuf>,
}

impl Reference {
    /// Reads files, or the output of another run.
    pub fn open(path: &str, plan: &Plan) -> Result<Self> {
        let folder = Path::new(path);
        if folder.join(manifest::FILE).is_file() {
            let run = FinishedRun::open(folder)?;
            let clusters = run.results.clusters()?;
            let clusters = clusters.iter().map(|row| (row.question, row.cluster, row.is_representative)).collect();
            let questions = run.questions.map_err(|why| anyhow!("--reference {path}: {why}"))?;
            let store = Some(run.manifest.options.store.clone().unwrap_or_else(|| folder.join(".mine")));
            return Ok(Self { path: path.into(), questions, clusters, store });
        }
        let files = input::resolve(path).context("--reference")?;
        if files.iter().any(|file| source::is_stdin(file)) {
            return Err(usage("--reference cannot be standard input: give it a file"));
        }
        // --format and --delta are of the input; a name that tells the format comes first
        let format = plan.options.format.filter(|_| files.iter().all(|file| Format::of(file).is_none()));
        // its questions represent their clusters whatever their values are
        let options = ReadOptions { format, are_changes: false, ranking: None, ..plan.options.read_options() };
        let (questions, _) = questions::read(&files, &options).context("--reference")?;
        Ok(Self { path: path.into(), questions, clusters: Vec::new(), store: None })
    }

    /// Where the other run keeps its vectors.
    pub fn store(&self) -> Option<Store> {
        let store = self.store.as_deref()?;
        Store::peek(store, Some(store)).ok()
    }

    /// The input with the reference. A question of the input that the reference has, with the same id and text, is known:
    /// it is left out of the input.
    pub fn join(&mut self, input: Questions, progress: &Progress) -> Result<Questions> {
        let ids = self.questions.ids.with_type_of(&input.ids).map_err(|error| {
            hint(
                format!("--reference {}: {error}", self.path),
                "the ids of the input and of the reference must have one type, numbers or strings",
            )
        })?;
        self.questions.ids = ids;
        let places = IdIndex::new(self.questions.ids.clone())?.find_all(&input.ids)?;
        let mut is_known = vec![false; input.ids.len()];
        for (row, &place) in places.iter().enumerate() {
            let Some(place) = place else { continue };
            if input.text_of_row(row as u32) != self.questions.text_of_row(place) {
                return Err(hint(
                    format!(
                        "id {} is in the input and, with another text, in --reference {}",
                        input.ids.display(row),
                        self.path
                    ),
                    "ids must tell the two apart: name columns with unique ids; without --id-column ids are row numbers",
                ));
            }
            is_known[row] = true;
        }
        let known = is_known.iter().filter(|known| **known).count();
        if known > 0 {
            progress.say(&format!("reference  {} rows of the input are known already", readable(known)));
        }
        progress.say(&format!("reference  {} known questions", readable(self.questions.texts.len())));
        input.with_reference(&self.questions, &is_known)
    }

    /// The clusters of the reference among the joined questions.
    pub fn known(&self, questions: &Questions, unique: &UniqueTexts) -> Known {
        let texts = unique.keys.len();
        let mut known = Known { cluster_of: vec![None; texts], ..Known::default() };
        let places = IdIndex::new(questions.ids.clone()).and_then(|index| index.find_all(&self.questions.ids));
        let places = places.unwrap_or_default();
        let mut number_of: HashMap<i64, u32> = HashMap::new();
        for &(row, cluster, is_representative) in &self.clusters {
            let place = places.get(row as usize).copied().flatten();
            let Some(question) = place.and_then(|row| questions.rows.binary_search(&row).ok()) else { continue };
            let text = unique.text_of[question];
            let number = *number_of.entry(cluster).or_insert_with(|| {
                known.representative.push(text);
                known.question.push(None);
                known.ids.push(u64::try_from(cluster).ok());
                known.ids.len() as u32 - 1
            });
            known.cluster_of[text as usize] = Some(number);
            if is_representative {
                known.representative[number as usize] = text;
                known.question[number as usize] = Some(question as u32);
            }
        }
        for text in 0..texts {
            if unique.is_reference.get(text) == Some(&true) && known.cluster_of[text].is_none() {
                known.cluster_of[text] = Some(known.ids.len() as u32);
                known.representative.push(text as u32);
                known.question.push(None);
                known.ids.push(None);
            }
        }
        known
    }
}
