//! Vectors to candidate pairs: each text's nearest neighbours at or above the minimum cosine, every unordered pair once.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

use crate::device::Devices;
use crate::executor::tuning::Tuning;
use crate::hash::hash64;
use crate::mining::collapse::UniqueTexts;
use crate::mining::embed::Embedded;
use crate::mining::plan::Plan;
use crate::progress::{Progress, Task};
use crate::search::audit::{Recall, recall};
use crate::search::engine::{Engine, Searcher};
use crate::search::hnsw::HnswConfig;
use crate::search::tiles::Tiles;
use crate::search::{Neighbour, Query, Vectors, exact};
use crate::store::identity::Identity;
use crate::store::root::Store;
use crate::store::segments::Segments;
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;

/// Rows whose neighbours are also found by the referee.
pub const AUDIT_ROWS: usize = 1000;

/// Texts of a segment of lists.
const SEGMENT_TEXTS: usize = 16_384;

/// What a search is asked for.
#[derive(Debug, Clone, Copy)]
pub struct SearchConfig {
    pub engine: Engine,
    pub query: Query,
    pub hnsw: HnswConfig,
    /// Chooses the audited rows.
    pub seed: u64,
}

/// Two texts, a < b, and their cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub a: u32,
    pub b: u32,
    pub cosine: f32,
}

/// The nearest neighbours of every text, what was left out, and how much the engine missed.
pub struct Neighbours {
    pub lists: Vec<Vec<Neighbour>>,
    /// Texts whose list `top_k` cut; only exact search knows.
    pub cut: Vec<bool>,
    pub counts: Counts,
}

/// What a search leaves besides its lists.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Vectors that are zero or not finite: they have no neighbours.
    pub unusable_vectors: usize,
    /// Of every text's k nearest, those below the minimum cosine (a pair counts once for each side); only exact search knows.
    pub below_min_cosine: Option<u64>,
    /// Texts with more than k neighbours above the minimum cosine; only exact search knows.
    pub cut_lists: Option<usize>,
    pub recall_at_k: f64,
    pub recall_above_min_cosine: f64,
}

/// Finds neighbours and audits the engine. Exact search computes `tiles`.
pub fn search(vectors: Vectors, config: &SearchConfig, tiles: &Tiles, progress: &Progress) -> Result<Neighbours> {
    let rows = vectors.rows();
    let usable: Vec<bool> = (0..rows).map(|row| is_usable(vectors.row(row))).collect();
    let count = usable.iter().filter(|&&usable| usable).count();
    let query = Query { top_k: config.query.top_k.min(count.saturating_sub(1)), ..config.query };
    let every: Vec<u32> = (0..rows as u32).filter(|&row| usable[row as usize]).collect();
    let sample = sample_rows(&every, AUDIT_ROWS, config.seed);
    let unfloored = Query { floor: f32::MIN, ..query };

    let searcher = Searcher { engine: config.engine, hnsw: config.hnsw, tiles: tiles.clone() };
    let found = searcher.search(vectors, &usable, query, &sample, progress)?;
    let (lists, cut, audited) = (found.lists, found.cut_lists, found.sampled);
    let task: Task = progress.task("audit", "texts", sample.len());
    let referee = exact::nearest_by_dot(vectors, &usable, &sample, unfloored, &task)?;
    drop(task);
    let kept: u64 = lists.iter().map(|list| list.len() as u64).sum();
    let recall = audit(&audited, &referee, query.floor, cut.is_some());
    let counts = Counts {
        unusable_vectors: rows - count,
        below_min_cosine: cut.as_ref().map(|_| (count * query.top_k) as u64 - kept),
        cut_lists: cut.as_ref().map(|cut| cut.iter().filter(|cut| **cut).count()),
        recall_at_k: recall.at_k,
        recall_above_min_cosine: recall.above_floor,
    };
    Ok(Neighbours { lists, cut: cut.unwrap_or_else(|| vec![false; rows]), counts })
}

/// The exact engine never looks below the floor, so its recall@k is of what is above it too.
fn audit(found: &[Vec<Neighbour>], referee: &[Vec<Neighbour>], floor: f32, exact: bool) -> Recall {
    let all = recall(found, referee, floor);
    if exact { Recall { at_k: all.above_floor, ..all } } else { all }
}

fn is_usable(vector: &[f32]) -> bool {
    vector.iter().all(|v| v.is_finite()) && vector.iter().any(|&v| v != 0.0)
}

/// `count` rows by a seeded hash of their number: no generator state, the same sample on every machine.
fn sample_rows(rows: &[u32], count: usize, seed: u64) -> Vec<u32> {
    let key = |row: u32| hash64(&[seed.to_le_bytes(), u64::from(row).to_le_bytes()].concat());
    let mut keyed: Vec<(u64, u32)> = rows.iter().map(|&row| (key(row), row)).collect();
    keyed.sort_unstable();
    keyed.truncate(count);
    let mut sample: Vec<u32> = keyed.into_iter().map(|(_, row)| row).collect();
    sample.sort_unstable();
    sample
}

/// Every pair of a text and a neighbour once, in order of (a, b).
pub fn unordered(lists: &[Vec<Neighbour>]) -> Vec<Candidate> {
    let mut pairs: Vec<Candidate> = lists
        .iter()
        .enumerate()
        .flat_map(|(row, list)| {
            let row = row as u32;
            list.iter().map(move |n| Candidate { a: row.min(n.row), b: row.max(n.row), cosine: n.cosine })
        })
        .collect();
    pairs.par_sort_unstable_by_key(|pair| (pair.a, pair.b));
    pairs.dedup_by_key(|pair| (pair.a, pair.b));
    pairs
}

/// The candidates of a run, in order of (a, b).
pub struct Found {
    pub pairs: Vec<Candidate>,
    pub counts: Counts,
    /// Whether the lists were stored.
    pub cached: bool,
    pub seconds: f64,
}

/// Reads the lists of exactly these texts if they are stored, else searches all of them and stores what it found.
pub fn run(
    store: &Store,
    plan: &Plan,
    unique: &UniqueTexts,
    embedded: &Embedded,
    devices: &Devices,
    progress: &Progress,
) -> Result<Found> {
    let started = Instant::now();
    let identity = plan.neighbours(&unique.corpus())?;
    let mut segments = store.use_segments(&identity)?;
    if let Some(Neighbours { lists, counts, .. }) = stored(store, &identity, &mut segments, &unique.keys, progress)? {
        let seconds = started.elapsed().as_secs_f64();
        return Ok(Found { pairs: unordered(&lists), counts, cached: true, seconds });
    }
    let config = SearchConfig {
        engine: plan.options.index,
        query: plan.query(),
        hnsw: plan.options.hnsw(),
        seed: plan.options.seed,
    };
    let tiles = Tiles::on(devices, Tuning::of_devices(devices).search_tile_rows);
    let found = search(embedded.vectors(), &config, &tiles, progress)?;
    // an earlier search that did not end may have left lists of another HNSW graph
    segments.clear()?;
    for texts in (0..unique.keys.len()).collect::<Vec<_>>().chunks(SEGMENT_TEXTS) {
        segments.append(found.columns(texts, &unique.keys))?;
    }
    // last: lists without it are those of a search that did not end
    store.write_record(&identity, &found.counts)?;
    let (pairs, counts) = (unordered(&found.lists), found.counts);
    Ok(Found { pairs, counts, cached: false, seconds: started.elapsed().as_secs_f64() })
}

/// The stored lists of all `keys`, `None` if one is missing.
pub fn stored(
    store: &Store,
    identity: &Identity,
    segments: &mut Segments,
    keys: &[TextKey],
    progress: &Progress,
) -> Result<Option<Neighbours>> {
    let Some(counts) = store.record(identity) else { return Ok(None) };
    let mut found = Neighbours { lists: vec![Vec::new(); keys.len()], cut: vec![false; keys.len()], counts };
    let mut seen = 0;
    segments.read(&|line| progress.warn(line), |columns| {
        let rows = found.place(columns, keys)?;
        seen += rows;
        Ok(rows)
    })?;
    Ok((seen == keys.len()).then_some(found))
}

impl Neighbours {
    /// The lists of some texts as columns.
    fn columns(&self, texts: &[usize], keys: &[TextKey]) -> Columns {
        let entries = || texts.iter().flat_map(|&text| &self.lists[text]);
        let mut end = 0;
        let ends = texts.iter().map(|&text| {
            end += self.lists[text].len() as u32;
            end
        });
        let ends: Vec<u32> = ends.collect();
        let list = |values: Column| Column::Lists { ends: ends.clone(), values: Box::new(values) };
        vec![
            ("text".into(), Column::Keys(texts.iter().map(|&text| keys[text]).collect())),
            ("cut".into(), Column::Flags(texts.iter().map(|&text| self.cut[text]).collect())),
            ("neighbour".into(), list(Column::Keys(entries().map(|near| keys[near.row as usize]).collect()))),
            ("cosine".into(), list(Column::Floats(entries().map(|near| near.cosine).collect()))),
        ]
    }

    /// Puts the lists of a segment at the places of their texts, and returns how many they are.
    fn place(&mut self, columns: Columns, keys: &[TextKey]) -> Result<usize> {
        let Ok(
            [
                (_, Column::Keys(texts)),
                (_, Column::Flags(cut)),
                (_, Column::Lists { ends, values: neighbours }),
                (_, Column::Lists { values: cosines, .. }),
            ],
        ) = <[(String, Column); 4]>::try_from(columns)
        else {
            bail!("not the columns of neighbour lists");
        };
        let (Column::Keys(neighbours), Column::Floats(cosines)) = (*neighbours, *cosines) else {
            bail!("not the columns of neighbour lists");
        };
        let number = |key: &TextKey| keys.binary_search(key).ok().context("a list names a text that is not there");
        let mut start = 0;
        for ((text, cut), end) in texts.iter().zip(cut).zip(ends) {
            let (text, end) = (number(text)?, end as usize);
            let entry = |at: usize| Ok(Neighbour { row: number(&neighbours[at])? as u32, cosine: cosines[at] });
            self.lists[text] = (start..end).map(entry).collect::<Result<_>>()?;
            self.cut[text] = cut;
            start = end;
        }
        Ok(texts.len())
    }
}

/// Warns of what the search left out. `unknown` texts have no vector for a reason that is told already.
pub fn warn(plan: &Plan, counts: &Counts, unknown: usize, texts: usize, progress: &Progress) -> Result<()> {
    let broken = counts.unusable_vectors.saturating_sub(unknown);
    if broken > 0 && broken + unknown == texts {
        let name = plan.bi_encoder.name();
        bail!("{name}: the vectors of all {texts} texts are zero or not finite: its weights are damaged");
    }
    if broken > 0 {
        progress.warn(format!("{broken} texts have a zero or non-finite vector: they get no candidates"));
    }
    if let Some(cut) = counts.cut_lists.filter(|&cut| cut > 0) {
        progress.warn(format!(
            "{cut} texts have more than {} neighbours above the minimum cosine {}: only the nearest became candidates; a \
             larger --top-k keeps more",
            plan.options.top_k, plan.min_cosine
        ));
    }
    if counts.recall_above_min_cosine < plan.options.min_recall {
        let advice = match plan.options.index.resolve(texts) {
            Engine::Hnsw => "raise --hnsw-ef-search, or use --index exact",
            Engine::Exact | Engine::Auto => "this should not happen with exact search: please report it",
        };
        progress.warn(format!(
            "the index found {:.2} % of the audited pairs above the minimum cosine, less than --min-recall {:.2} %: {advice}",
            100.0 * counts.recall_above_min_cosine,
            100.0 * plan.options.min_recall
        ));
    }
    Ok(())
}
