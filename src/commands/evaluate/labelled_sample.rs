//! A labelled sample of a run's pairs: one or more files of `mine sample`, decided as the file has it, or at a threshold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::error::hint;
use crate::metrics::stratified::{Stratum, weights};
use crate::progress::Progress;
use crate::run::reader::FinishedRun;
use crate::run::schema::PairKind;
use crate::tables::sample_file::{self, LabelledSample};

/// Labelled pairs of strata that hold at least one label each.
pub(super) struct Sample {
    /// Rows of all files, with and without a label.
    pub drawn: usize,
    /// The labelled rows.
    rows: Vec<LabelledSample>,
}

/// What is called a duplicate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision {
    /// What the run decided when the sample was drawn.
    Recorded,
    /// Pairs with this score or a higher one.
    Threshold(f64),
}

impl Decision {
    fn calls(self, row: &LabelledSample) -> bool {
        match self {
            Self::Recorded => row.predicted,
            // scores and thresholds of runs are f32
            Self::Threshold(threshold) => row.score.is_some_and(|score| score as f32 >= threshold as f32),
        }
    }
}

impl Sample {
    /// Reads the files. Warns about strata without a label: nothing is known about their pairs.
    pub fn read(files: &[PathBuf], progress: &Progress) -> Result<Self> {
        let mut strata: BTreeMap<u32, (u64, bool, u64)> = BTreeMap::new();
        let (mut rows, mut drawn, mut seen) = (Vec::new(), 0, HashSet::new());
        for file in files {
            for row in sample_file::read(file)? {
                drawn += 1;
                let stratum = strata.entry(row.stratum).or_insert((row.stratum_pairs, row.predicted, 0));
                if (stratum.0, stratum.1) != (row.stratum_pairs, row.predicted) {
                    return Err(contradiction(file, row.stratum, files.len()));
                }
                if row.is_duplicate.is_none() {
                    continue;
                }
                stratum.2 += 1;
                let [a, b] = &row.ids;
                if !a.is_empty() && !seen.insert((a.min(b).clone(), a.max(b).clone())) {
                    bail!("{}: the pair {a}, {b} is labelled twice", file.display());
                }
                rows.push(row);
            }
        }
        let named = || files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        if rows.is_empty() {
            return Err(hint(
                format!("{}: no row of {drawn} has a label", named()),
                "fill the column is_duplicate with 1 or 0 and save the file",
            ));
        }
        if let Some((number, (pairs, _, labels))) = strata.iter().find(|(_, (pairs, _, labels))| labels > pairs) {
            bail!("{}: stratum {number} has {labels} labels for {pairs} pairs", named());
        }
        let unlabelled: Vec<u64> =
            strata.values().filter(|(_, _, labels)| *labels == 0).map(|(pairs, ..)| *pairs).collect();
        if !unlabelled.is_empty() {
            progress.warn(format!(
                "{} strata with {} pairs have no label: the figures leave them out",
                unlabelled.len(),
                unlabelled.iter().sum::<u64>()
            ));
        }
        Ok(Self { drawn, rows })
    }

    /// Replaces the scores of the files by those that the run has now.
    pub fn rescore(&mut self, folder: &Path, progress: &Progress) -> Result<f64> {
        let run = FinishedRun::open(folder)?;
        let find = |id: &String| run.results.index().find(id);
        let mut rows: HashMap<(u32, u32), usize> = HashMap::new();
        for (at, row) in self.rows.iter_mut().enumerate() {
            row.score = None;
            let [a, b] = &row.ids;
            if let (Some(a), Some(b)) = (find(a), find(b)) {
                rows.insert((a.min(b), a.max(b)), at);
            }
        }
        let mut found = 0;
        for batch in run.results.pairs()? {
            progress.check()?;
            for pair in batch?.into_iter().filter(|pair| pair.kind == PairKind::Semantic) {
                if let Some(&at) = rows.get(&(pair.a.min(pair.b), pair.a.max(pair.b))) {
                    found += 1;
                    self.rows[at].score = pair.probability.map(f64::from);
                }
            }
        }
        if found == 0 {
            return Err(hint(
                format!("{}: none of the {} labelled pairs is among its pairs", folder.display(), self.rows.len()),
                "name the run that the sample was drawn from, or leave the run out",
            ));
        }
        if found < self.rows.len() {
            progress.warn(format!(
                "{} of {} labelled pairs are no pairs of {}: they count as not called duplicates",
                self.rows.len() - found,
                self.rows.len(),
                folder.display()
            ));
        }
        Ok(f64::from(run.manifest.rule().threshold))
    }

    pub fn labelled(&self) -> usize {
        self.rows.len()
    }

    /// Labelled pairs without a score: they are never called duplicates at a threshold.
    pub fn unscored(&self) -> usize {
        self.rows.iter().filter(|row| row.score.is_none()).count()
    }

    /// The strata under a decision.
    pub fn strata(&self, decision: Decision) -> Vec<Stratum> {
        let mut strata: BTreeMap<u32, Stratum> = BTreeMap::new();
        for row in &self.rows {
            let stratum = strata.entry(row.stratum).or_default();
            stratum.pairs = row.stratum_pairs;
            let counts = if decision.calls(row) { &mut stratum.called } else { &mut stratum.not_called };
            counts.add(row.is_duplicate == Some(true));
        }
        strata.into_values().collect()
    }

    /// Label, score and weight of every labelled pair that has a score; and the weight of all duplicates.
    pub fn weighted(&self) -> (Vec<(bool, f64, f64)>, f64) {
        let weights = weights(&self.rows.iter().map(|row| (row.stratum, row.stratum_pairs)).collect::<Vec<_>>());
        let is_duplicate = |row: &LabelledSample| row.is_duplicate == Some(true);
        let of = |(row, &weight): (&LabelledSample, &f64)| Some((is_duplicate(row), row.score?, weight));
        let scored = self.rows.iter().zip(&weights).filter_map(of).collect();
        let duplicates = self.rows.iter().zip(&weights).filter(|(row, _)| is_duplicate(row)).map(|(_, w)| w).sum();
        (scored, duplicates)
    }
}

fn contradiction(file: &Path, stratum: u32, files: usize) -> anyhow::Error {
    let message = format!("{}: the rows of stratum {stratum} contradict each other", file.display());
    match files {
        1 => hint(message, "was the file edited? mine sample writes it again with --force, without labels"),
        _ => hint(message, "samples go together only if they were drawn from one run with one threshold"),
    }
}
