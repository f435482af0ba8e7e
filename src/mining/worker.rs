//! One machine that does units of work for runs on others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::device::Devices;
use crate::executor::replicas::Replicas;
use crate::executor::tuning::Tuning;
use crate::mining::units::{Done, OwnedBlock, Unit, Work, lists_columns, note_name, pairs_of, texts_of};
use crate::mining::{embed, logits};
use crate::models::bi_encoder::{self, BiEncoder};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::cross_encoder::{self, CrossEncoder};
use crate::models::network::precision::Precision;
use crate::progress::{Progress, Task, readable};
use crate::search::Query;
use crate::search::cells;
use crate::search::tiles::Tiles;
use crate::store::files::{Files, join, read_json};
use crate::store::segments::{Segments, read_one};
use crate::tables::segment_file::{Columns, rows};
use crate::text::key::TextKey;
use crate::text::pairs::PairTokens;

/// The devices, models and store of an executor.
pub struct Worker {
    /// How it is called.
    pub name: String,
    pub files: Arc<dyn Files>,
    pub devices: Devices,
    pub bi_encoder: ModelFolder,
    pub cross_encoder: ModelFolder,
    loaded: Loaded,
    active: AtomicUsize,
    /// Where it says what it did.
    log: Progress,
}

/// A unit that is under way.
struct Active<'a>(&'a AtomicUsize);

impl<'a> Active<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What units have asked for, kept for the next one.
#[derive(Default)]
struct Loaded {
    bi_encoder: Mutex<Option<(Precision, Arc<Replicas<BiEncoder>>)>>,
    cross_encoder: Mutex<Option<(Precision, Arc<Replicas<CrossEncoder>>)>>,
    /// The left block of the last cell: the next one usually has the same.
    block: Mutex<Option<(String, Arc<OwnedBlock>)>>,
}

impl Worker {
    pub fn new(
        name: String,
        files: Arc<dyn Files>,
        devices: Devices,
        (bi_encoder, cross_encoder): (ModelFolder, ModelFolder),
        log: &Progress,
    ) -> Self {
        Self {
            name,
            files,
            devices,
            bi_encoder,
            cross_encoder,
            loaded: Loaded::default(),
            active: AtomicUsize::new(0),
            log: log.clone(),
        }
    }

    /// Units that are under way.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Does a unit, stores and notes what came of it. One that is done already is not done again.
    pub fn compute(&self, unit: &Unit, progress: &Progress) -> Result<Done> {
        let _active = Active::begin(&self.active);
        self.compute_and_note(unit, progress)
    }

    fn compute_and_note(&self, unit: &Unit, progress: &Progress) -> Result<Done> {
        let note = join(&unit.folder, &note_name(&unit.id()?));
        if let Some(done) = read_json::<Done>(&*self.files, &note)? {
            return Ok(done);
        }
        let since = Instant::now();
        let (name, counted) = unit.kind();
        let task = progress.task(name, counted, 0);
        let (folder, columns, rows) = self.result(unit, &task)?;
        task.check()?;
        let input = format!("{}.", unit.input());
        let is_wanted = self.files.list(&unit.folder)?.iter().any(|name| name.starts_with(&input));
        ensure!(is_wanted, "the run no longer waits for this unit");
        let segment = Segments::empty(&self.files, &folder).append(columns)?;
        pause(&task)?;
        let done = Done {
            segment: segment.clone(),
            rows,
            seconds: since.elapsed().as_secs_f64(),
            executor: self.name.clone(),
            device: self.devices.name.clone(),
        };
        if !self.files.replace(&note, None, &serde_json::to_vec(&done)?)? {
            // another executor was faster: the run has its result, and a second one must not be found beside it
            let first = read_json::<Done>(&*self.files, &note)?;
            if let Some(first) = first.filter(|first| first.segment != segment) {
                Segments::of_file(&self.files, &folder, &segment).clear()?;
                return Ok(first);
            }
        }
        self.log.say(&format!("{name:<10} {} {counted} in {:.1} s", readable(rows), done.seconds));
        Ok(done)
    }

    /// The folder of a unit's result, the result, and how much was done.
    fn result(&self, unit: &Unit, task: &Task) -> Result<(String, Columns, usize)> {
        let precision = unit.needs.precision;
        match &unit.work {
            Work::Embed { texts, into } => {
                let texts = texts_of(read_one(&self.files, &unit.folder, texts)?)?;
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let models = once(&self.loaded.bi_encoder, precision, || {
                    bi_encoder::replicas(&self.bi_encoder, &self.devices, precision, &self.log)
                })?;
                let vectors = embed::embed(&models, &texts, task)?;
                let keys = texts.iter().map(|text| TextKey::of(text)).collect();
                Ok((into.clone(), vectors.into_columns(keys, models.first().dimensions()), texts.len()))
            }
            Work::Rerank { pairs, into } => {
                let (first, second) = pairs_of(read_one(&self.files, &unit.folder, pairs)?)?;
                let models = once(&self.loaded.cross_encoder, precision, || {
                    cross_encoder::replicas(&self.cross_encoder, &self.devices, precision, &self.log)
                })?;
                // a text has one number in all its pairs, so that it is tokenized once
                let mut texts: Vec<&str> = first.iter().chain(&second).map(String::as_str).collect();
                texts.sort_unstable();
                texts.dedup();
                let number = |text: &str| texts.partition_point(|other| *other < text) as u32;
                let pairs: Vec<(u32, u32)> = first.iter().zip(&second).map(|(a, b)| (number(a), number(b))).collect();
                let mut tokens = PairTokens::new(&models.first().tokenizer);
                let text = |number: u32| texts[number as usize];
                let scores = logits::score(&models, &mut tokens, (&pairs, &text), &|_, _| true, task)?;
                let keys: Vec<(TextKey, TextKey)> =
                    first.iter().zip(&second).map(|(a, b)| (TextKey::of(a), TextKey::of(b))).collect();
                Ok((into.clone(), scores.into_columns(&keys), keys.len()))
            }
            Work::Search { left, right, top_k } => {
                let block = |name: &str| OwnedBlock::of_columns(read_one(&self.files, &unit.folder, name)?);
                let left = once(&self.loaded.block, left.clone(), || block(left))?;
                let right = right.as_deref().map(block).transpose()?;
                let floor = right.iter().map(OwnedBlock::floor).fold(left.floor(), f32::min);
                let query = Query { top_k: *top_k, floor };
                let (left, right) = (left.block(), right.as_ref().map(OwnedBlock::block));
                // however small: the whole search is large enough for a card
                let tile_rows = Tuning::of_devices(&self.devices).search_tile_rows;
                let tiles = Tiles { device: self.devices.for_search(), rows: tile_rows };
                let lists = cells::compute(&left, right.as_ref(), query, &tiles, task)?;
                let columns = lists_columns(&lists);
                let rows = rows(&columns);
                Ok((unit.folder.clone(), columns, rows))
            }
        }
    }
}

/// Waits between a result and its note, for as many milliseconds as `MINE_PAUSE_UNITS` says: in the tests of faults something
/// happens meanwhile.
fn pause(task: &Task) -> Result<()> {
    let text = std::env::var("MINE_PAUSE_UNITS").unwrap_or_default();
    let until = Instant::now() + Duration::from_millis(text.parse().unwrap_or(0));
    while Instant::now() < until {
        task.check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What was kept under this name, or a new one in its place.
fn once<K: PartialEq, T>(
    kept: &Mutex<Option<(K, Arc<T>)>>,
    name: K,
    load: impl FnOnce() -> Result<T>,
) -> Result<Arc<T>> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    match &*kept {
        Some((of, there)) if *of == name => Ok(there.clone()),
        _ => {
            let new = Arc::new(load()?);
            *kept = Some((name, new.clone()));
            Ok(new)
        }
    }
}
