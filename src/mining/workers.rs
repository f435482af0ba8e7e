//! Who computes for a run: the devices of this machine, and a cluster for what other machines can do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;

use crate::device::Devices;
use crate::mining::plan::Plan;
use crate::mining::units::{
    Cluster, Done, Needs, Received, Unit, Work, block_columns, lists_of, note_of, pairs_columns, texts_columns,
};
use crate::progress::{Progress, Task};
use crate::run::manifest::ExecutorRecord;
use crate::search::Query;
use crate::search::cells::{Block, CellLists, Cells, Grid};
use crate::store::files::Files;
use crate::store::root::WORK;
use crate::store::segments::Segments;
use crate::tables::segment_file::Columns;

/// Units that each executor gets at least, if there are enough rows: the last ones end at about the same time.
const LEAST_UNITS_A_SLOT: usize = 8;

/// Rows of a unit at least: its batches must fill.
const LEAST_ROWS: usize = 512;

/// The devices of this machine, and other machines.
pub struct Workers<'a> {
    pub devices: Devices,
    pub cluster: Option<&'a dyn Cluster>,
}

/// A cluster, and the store through which it is told and answers.
pub struct Remote<'a> {
    cluster: &'a dyn Cluster,
    files: &'a Arc<dyn Files>,
    plan: &'a Plan,
    progress: &'a Progress,
}

impl Workers<'_> {
    /// The cluster, if there is one.
    pub fn remote<'a>(
        &'a self,
        files: &'a Arc<dyn Files>,
        plan: &'a Plan,
        progress: &'a Progress,
    ) -> Option<Remote<'a>> {
        self.cluster.map(|cluster| Remote { cluster, files, plan, progress })
    }

    /// What each executor did since this was asked last; nothing without a cluster.
    pub fn take_records(&self) -> BTreeMap<String, ExecutorRecord> {
        self.cluster.map(Cluster::take_records).unwrap_or_default()
    }
}

impl Remote<'_> {
    /// Has texts embedded. `segments` are those of the vectors; `receive` gets the first of the texts, how many there are,
    /// and the columns that a stage on this machine would have stored.
    pub fn embed(
        &self,
        texts: &[&str],
        task: &Task,
        (segments, into): (&mut Segments, &str),
        mut receive: impl FnMut(usize, Columns) -> Result<()>,
    ) -> Result<()> {
        let (_, tuning) = self.cluster.capacity();
        let rows = self.rows_of_a_unit(texts.len(), tuning.embed_partition_texts);
        let mut inputs = Inputs::new(self.files);
        let mut units = Vec::new();
        for part in texts.chunks(rows) {
            let texts = inputs.add(texts_columns(part.iter().map(|text| text.to_string()).collect()))?;
            let work = Work::Embed { texts, into: into.into() };
            units.push(Unit { needs: Needs::of_embedding(self.plan), work });
        }
        self.run(&units, task, segments, &mut |at, columns| receive(at * rows, columns))?;
        inputs.remove(&units)
    }

    /// Has pairs scored, as [`Remote::embed`].
    pub fn score(
        &self,
        pairs: &[(&str, &str)],
        task: &Task,
        (segments, into): (&mut Segments, &str),
        mut receive: impl FnMut(usize, Columns) -> Result<()>,
    ) -> Result<()> {
        let (_, tuning) = self.cluster.capacity();
        let rows = self.rows_of_a_unit(pairs.len(), tuning.rerank_partition_pairs);
        let mut inputs = Inputs::new(self.files);
        let mut units = Vec::new();
        for part in pairs.chunks(rows) {
            let side = |of: fn(&(&str, &str)) -> String| part.iter().map(of).collect();
            let pairs = inputs.add(pairs_columns(side(|pair| pair.0.into()), side(|pair| pair.1.into())))?;
            units.push(Unit { needs: Needs::of_reranking(self.plan), work: Work::Rerank { pairs, into: into.into() } });
        }
        self.run(&units, task, segments, &mut |at, columns| receive(at * rows, columns))?;
        inputs.remove(&units)
    }

    /// Pairs that are worth the way to the executors at once.
    pub fn pairs_of_a_wave(&self) -> usize {
        let (slots, tuning) = self.cluster.capacity();
        slots * 2 * tuning.rerank_partition_pairs
    }

    /// Has units done and hands on their results. One whose segment is damaged is done again.
    fn run(
        &self,
        units: &[Unit],
        task: &Task,
        segments: &mut Segments,
        receive: &mut dyn FnMut(usize, Columns) -> Result<()>,
    ) -> Result<()> {
        let (mut executors, mut seconds) = (BTreeSet::new(), 0.0);
        self.cluster.run(units, (self.progress, task), &mut |at, done: &Done| {
            let Some(columns) = segments.adopt(&done.segment, &|line| self.progress.warn(line))? else {
                return Ok(Received::Damaged);
            };
            executors.insert(done.executor.clone());
            seconds += done.seconds;
            task.note(&format!("{} executors, {} of machine time", executors.len(), clock(seconds)));
            receive(at, columns)?;
            Ok(Received::Taken)
        })
    }

    fn rows_of_a_unit(&self, rows: usize, most: usize) -> usize {
        let (slots, _) = self.cluster.capacity();
        rows.div_ceil(slots * LEAST_UNITS_A_SLOT).clamp(LEAST_ROWS.min(most), most)
    }

    /// The search of this many rows in cells.
    pub fn cells(&self, rows: usize) -> RemoteCells<'_> {
        RemoteCells { remote: self, rows }
    }
}

/// Seconds as hours, minutes and seconds.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Cells of the search on a cluster.
pub struct RemoteCells<'a> {
    remote: &'a Remote<'a>,
    /// Rows that are searched, for progress.
    rows: usize,
}

impl Cells for RemoteCells<'_> {
    fn compute(
        &self,
        grid: &Grid,
        query: Query,
        receive: &mut dyn FnMut((usize, usize), CellLists) -> Result<()>,
    ) -> Result<()> {
        let Remote { files, plan, progress, .. } = self.remote;
        let mut inputs = Inputs::new(files);
        let mut named = |blocks: &[Block]| blocks.iter().map(|block| inputs.add(block_columns(block))).collect();
        let left: Vec<String> = named(&grid.left)?;
        let right: Option<Vec<String>> = grid.right.as_deref().map(named).transpose()?;
        let cells = grid.cells();
        let unit = |&(a, b): &(usize, usize)| {
            let other = match &right {
                Some(right) => Some(right[b].clone()),
                None => Some(left[b].clone()).filter(|_| a != b),
            };
            let work = Work::Search { left: left[a].clone(), right: other, top_k: query.top_k };
            Unit { needs: Needs::of_searching(plan), work }
        };
        let units: Vec<Unit> = cells.iter().map(unit).collect();
        let task: Task = progress.task("search", "texts", self.rows);
        let mut found = Segments::empty(files, WORK);
        let mut ended = 0;
        self.remote.run(&units, &task, &mut found, &mut |at, columns| {
            let (a, b) = cells[at];
            receive((a, b), lists_of(columns, grid.left[a].min_scores.len())?)?;
            ended += 1;
            // rows count by the share of the cells that are done
            task.advance(self.rows * ended / units.len() - self.rows * (ended - 1) / units.len())
        })?;
        found.clear()?;
        inputs.remove(&units)
    }
}

/// What units were given, in the store.
struct Inputs<'a> {
    files: &'a Arc<dyn Files>,
    segments: Segments,
}

impl<'a> Inputs<'a> {
    fn new(files: &'a Arc<dyn Files>) -> Self {
        Self { files, segments: Segments::empty(files, WORK) }
    }

    fn add(&mut self, columns: Columns) -> Result<String> {
        self.segments.append(columns)
    }

    /// Removes what the units were given and what they noted: all of them are done.
    fn remove(mut self, units: &[Unit]) -> Result<()> {
        self.segments.clear()?;
        units.iter().try_for_each(|unit| self.files.remove(&note_of(&unit.id()?)))
    }
}
