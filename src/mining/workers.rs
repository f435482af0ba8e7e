//! Who computes for a run: the devices of this machine, and a cluster for what other machines can do.

use std::cell::RefCell;
use std::collections::BTreeMap;

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
    cluster: Option<&'a dyn Cluster>,
    /// What each executor did in this stage, by its name.
    records: RefCell<BTreeMap<String, ExecutorRecord>>,
}

/// A cluster, and the run that has its work done there.
pub struct Remote<'a> {
    cluster: &'a dyn Cluster,
    records: &'a RefCell<BTreeMap<String, ExecutorRecord>>,
    store: &'a Store,
    /// The id of the store.
    id: String,
    plan: &'a Plan,
    progress: &'a Progress,
}

impl<'w> Workers<'w> {
    pub fn new(devices: Devices, cluster: Option<&'w dyn Cluster>) -> Self {
        Self { devices, cluster, records: RefCell::default() }
    }

    /// The cluster, if there is one.
    pub fn remote<'a>(
        &'a self,
        store: &'a Store,
        plan: &'a Plan,
        progress: &'a Progress,
    ) -> Result<Option<Remote<'a>>> {
        let Some(cluster) = self.cluster else { return Ok(None) };
        let id = root::id(&**store.files())?;
        Ok(Some(Remote { cluster, records: &self.records, store, id, plan, progress }))
    }

    /// What each executor did since this was asked last; nothing without a cluster.
    pub fn take_records(&self) -> BTreeMap<String, ExecutorRecord> {
        self.records.take()
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
        let (needs, most) = (Needs::of_embedding(self.plan, &self.id), |tuning: Tuning| tuning.embed_partition_texts);
        let columns = |part: &[&str]| texts_columns(part.iter().map(|text| text.to_string()).collect());
        let work = |texts| Work::Embed { texts, into: into.into() };
        let (units, rows) = self.cut(texts, &needs, most, columns, work)?;
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
        let (needs, most) = (Needs::of_reranking(self.plan, &self.id), |tuning: Tuning| tuning.rerank_partition_pairs);
        let columns = |part: &[(&str, &str)]| {
            let side = |of: fn(&(&str, &str)) -> String| part.iter().map(of).collect();
            pairs_columns(side(|pair| pair.0.into()), side(|pair| pair.1.into()))
        };
        let work = |pairs| Work::Rerank { pairs, into: into.into() };
        let (units, rows) = self.cut(pairs, &needs, most, columns, work)?;
        self.run(&units, task, segments, &mut |at, columns| receive(at * rows, columns))
    }

    /// Cuts items into units, stores what each is given, and says how many items a unit has.
    fn cut<T>(
        &self,
        items: &[T],
        needs: &Needs,
        most: impl Fn(Tuning) -> usize,
        columns: impl Fn(&[T]) -> Columns,
        work: impl Fn(String) -> Work,
    ) -> Result<(Vec<Unit>, usize)> {
        let (slots, tuning) = self.cluster.capacity(needs);
        let most = most(tuning);
        let rows = items.len().div_ceil(slots * LEAST_UNITS_A_SLOT).clamp(LEAST_ROWS.min(most), most);
        let units = items.chunks(rows).map(|part| Ok(self.unit(needs, work(self.give(columns(part))?))));
        Ok((units.collect::<Result<_>>()?, rows))
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
        self.cluster.run(units, (self.progress, task), &mut |at, done: &Done| {
            let Some(columns) = segments.adopt(&done.segment, &|line| self.progress.warn(line))? else {
                return Ok(Received::Damaged);
            };
            self.record(done, task);
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

    /// Counts a result, and says how many executors have worked in this stage, and for how long.
    fn record(&self, done: &Done, task: &Task) {
        let mut records = self.records.borrow_mut();
        let record = records.entry(done.executor.clone()).or_default();
        record.device.clone_from(&done.device);
        record.units += 1;
        record.rows += done.rows as u64;
        record.seconds += done.seconds;
        let plural = if records.len() == 1 { "" } else { "s" };
        let seconds = records.values().map(|record| record.seconds).sum();
        task.note(&format!("{} executor{plural}, {} of machine time", records.len(), clock(seconds)));
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
        let others = right.as_ref().unwrap_or(&left);
        let unit = |&(a, b): &(usize, usize)| {
            let other = (!grid.is_diagonal(a, b)).then(|| others[b].clone());
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
