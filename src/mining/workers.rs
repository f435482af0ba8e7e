//! Who computes for a run: the devices of this machine, and a cluster for what other machines can do.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::device::Devices;
use crate::executor::tuning::Tuning;
use crate::mining::plan::Plan;
use crate::mining::units::{
    Cluster, Done, Needs, Received, Unit, Work, block_columns, lists_of, pairs_columns, texts_columns,
};
use crate::progress::{Progress, Task};
use crate::run::manifest::ExecutorRecord;
use crate::search::Query;
use crate::search::cells::{Block, CellLists, Cells, Grid};
use crate::store::root::{self, Store};
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

/// A cluster, and the run that has its work done there.
pub struct Remote<'a> {
    cluster: &'a dyn Cluster,
    store: &'a Store,
    /// The id of the store.
    id: String,
    plan: &'a Plan,
    progress: &'a Progress,
}

impl Workers<'_> {
    /// The cluster, if there is one.
    pub fn remote<'a>(
        &'a self,
        store: &'a Store,
        plan: &'a Plan,
        progress: &'a Progress,
    ) -> Result<Option<Remote<'a>>> {
        let Some(cluster) = self.cluster else { return Ok(None) };
        Ok(Some(Remote { cluster, store, id: root::id(&**store.files())?, plan, progress }))
    }

    /// What each executor did since this was asked last; nothing without a cluster.
    pub fn take_records(&self) -> BTreeMap<String, ExecutorRecord> {
        self.cluster.map(Cluster::take_records).unwrap_or_default()
    }
}

impl Remote<'_> {
    /// Embeds texts on the cluster. `segments` are those of the vectors, in the folder `into`. `receive` is called for each unit
    /// with the number of its first text and the columns that this machine would have stored.
    pub fn embed(
        &self,
        texts: &[&str],
        task: &Task,
        (segments, into): (&mut Segments, &str),
        mut receive: impl FnMut(usize, Columns) -> Result<()>,
    ) -> Result<()> {
        let needs = Needs::of_embedding(self.plan, &self.id);
        let rows = self.rows_of_a_unit(texts.len(), &needs, |tuning| tuning.embed_partition_texts);
        let mut units = Vec::new();
        for part in texts.chunks(rows) {
            let texts = self.give(texts_columns(part.iter().map(|text| text.to_string()).collect()))?;
            units.push(self.unit(&needs, Work::Embed { texts, into: into.into() }));
        }
        self.run(&units, task, segments, &mut |at, columns| receive(at * rows, columns))
    }

    /// Scores pairs on the cluster, as [`Remote::embed`].
    pub fn score(
        &self,
        pairs: &[(&str, &str)],
        task: &Task,
        (segments, into): (&mut Segments, &str),
        mut receive: impl FnMut(usize, Columns) -> Result<()>,
    ) -> Result<()> {
        let needs = Needs::of_reranking(self.plan, &self.id);
        let rows = self.rows_of_a_unit(pairs.len(), &needs, |tuning| tuning.rerank_partition_pairs);
        let mut units = Vec::new();
        for part in pairs.chunks(rows) {
            let side = |of: fn(&(&str, &str)) -> String| part.iter().map(of).collect();
            let pairs = self.give(pairs_columns(side(|pair| pair.0.into()), side(|pair| pair.1.into())))?;
            units.push(self.unit(&needs, Work::Rerank { pairs, into: into.into() }));
        }
        self.run(&units, task, segments, &mut |at, columns| receive(at * rows, columns))
    }

    /// How many pairs the executors are given at once if a time limit may end the run.
    pub fn pairs_of_a_wave(&self) -> usize {
        let (slots, tuning) = self.cluster.capacity(&Needs::of_reranking(self.plan, &self.id));
        slots * 2 * tuning.rerank_partition_pairs
    }

    /// The search of this many rows in cells.
    pub fn cells(&self, rows: usize) -> RemoteCells<'_> {
        RemoteCells { remote: self, rows }
    }

    /// Has units done, hands on their results, and removes what they were given and what they noted.
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
            let count = executors.len();
            let plural = if count == 1 { "" } else { "s" };
            task.note(&format!("{count} executor{plural}, {} of machine time", clock(seconds)));
            receive(at, columns)?;
            Ok(Received::Taken)
        })?;
        self.store.files().remove_folder(self.store.work())
    }

    fn unit(&self, needs: &Needs, work: Work) -> Unit {
        Unit { folder: self.store.work().into(), needs: needs.clone(), work }
    }

    /// Stores what a unit is given, and returns its name.
    fn give(&self, columns: Columns) -> Result<String> {
        Segments::empty(self.store.files(), self.store.work()).append(columns)
    }

    fn rows_of_a_unit(&self, rows: usize, needs: &Needs, most: impl Fn(Tuning) -> usize) -> usize {
        let (slots, tuning) = self.cluster.capacity(needs);
        let most = most(tuning);
        rows.div_ceil(slots * LEAST_UNITS_A_SLOT).clamp(LEAST_ROWS.min(most), most)
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
        let remote = self.remote;
        let give = |blocks: &[Block]| -> Result<Vec<String>> {
            blocks.iter().map(|block| remote.give(block_columns(block))).collect()
        };
        let (left, right) = (give(&grid.left)?, grid.right.as_deref().map(give).transpose()?);
        let cells = grid.cells();
        let needs = Needs::of_searching(remote.plan, &remote.id);
        let unit = |&(a, b): &(usize, usize)| {
            let other = match &right {
                Some(right) => Some(right[b].clone()),
                None => Some(left[b].clone()).filter(|_| a != b),
            };
            remote.unit(&needs, Work::Search { left: left[a].clone(), right: other, top_k: query.top_k })
        };
        let units: Vec<Unit> = cells.iter().map(unit).collect();
        let task = remote.progress.task("search", "texts", self.rows);
        let mut found = Segments::empty(remote.store.files(), remote.store.work());
        let mut ended = 0;
        remote.run(&units, &task, &mut found, &mut |at, columns| {
            let (a, b) = cells[at];
            receive((a, b), lists_of(columns, grid.left[a].min_scores.len())?)?;
            ended += 1;
            // rows count by the share of the cells that are done
            task.advance(self.rows * ended / units.len() - self.rows * (ended - 1) / units.len())
        })
    }
}
