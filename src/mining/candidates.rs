//! Vectors to candidate pairs: each text's nearest neighbours at or above the minimum cosine, every unordered pair once.

use std::time::Instant;

use anyhow::{Result, bail};
use rayon::slice::ParallelSliceMut;

use crate::executor::tuning::Tuning;
use crate::hash::hash64;
use crate::mining::collapse::UniqueTexts;
use crate::mining::embed::Embedded;
use crate::mining::neighbour_lists::{self, Counts, Neighbours};
use crate::mining::plan::Plan;
use crate::mining::workers::Workers;
use crate::progress::{Progress, Task};
use crate::search::audit::{Recall, recall};
use crate::search::cells::Cells;
use crate::search::engine::{Engine, Searcher};
use crate::search::hnsw::HnswConfig;
use crate::search::tiles::Tiles;
use crate::search::update::Earlier;
use crate::search::{Neighbour, Query, Vectors, exact};
use crate::store::root::Store;

/// Rows whose neighbours are also found by the referee.
pub const AUDIT_ROWS: usize = 1000;

/// A night deletes or edits a percent of the texts, so a list of a hundred loses one: this lasts for weeks.
const RESERVE: usize = 20;

/// Lists are brought up to date if at most one in so many texts is searched again, by the engine that would search them
/// all: half of all products is what exact search of all texts computes, and an HNSW index costs less than that.
const UPDATED_EXACT: usize = 2;
const UPDATED_HNSW: usize = 8;

/// A cluster searches if there are so many pairs of texts: fewer take some hundredths of a second here.
const LEAST_PAIRS: usize = 2_000_000;
/// And if so many texts are searched among all: for fewer, the vectors of all would take longer to store than to search.
const LEAST_FRESH: usize = 10_000;

/// What a search is asked for.
#[derive(Debug, Clone, Copy)]
pub struct SearchConfig {
    pub engine: Engine,
    pub query: Query,
    /// Neighbours beyond `top_k` that exact search keeps: a list that loses fewer to deletions need not be searched again.
    pub reserve: usize,
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

impl Candidate {
    pub fn texts(&self) -> (u32, u32) {
        (self.a, self.b)
    }
}

/// Finds neighbours and audits them. Exact search computes `tiles`, unless it has `cells` computed elsewhere. With the lists of an earlier search only its fresh rows
/// are searched.
pub fn search(
    vectors: Vectors,
    config: &SearchConfig,
    earlier: Option<Earlier>,
    (tiles, cells): (&Tiles, Option<&dyn Cells>),
    progress: &Progress,
) -> Result<Neighbours> {
    let rows = vectors.rows();
    let usable: Vec<bool> = (0..rows).map(|row| is_usable(vectors.row(row))).collect();
    let count = usable.iter().filter(|&&usable| usable).count();
    let query = Query { top_k: config.query.top_k.min(count.saturating_sub(1)), ..config.query };
    // a text of a reference has no list
    let has_list = |row: u32| {
        earlier
            .as_ref()
            .is_none_or(|earlier| earlier.takes_new[row as usize] || earlier.fresh.binary_search(&row).is_ok())
    };
    let every: Vec<u32> = (0..rows as u32).filter(|&row| usable[row as usize] && has_list(row)).collect();
    let sample = sample_rows(&every, AUDIT_ROWS, config.seed);
    let unfloored = Query { floor: f32::MIN, ..query };

    let searcher = Searcher { engine: config.engine, hnsw: config.hnsw, tiles: tiles.clone(), cells };
    let is_exact = earlier.is_some() || config.engine.resolve(rows) != Engine::Hnsw;
    let reach = query.top_k + if is_exact { config.reserve } else { 0 };
    let reaching = Query { top_k: reach.min(count.saturating_sub(1)), ..query };
    let found = match earlier {
        Some(earlier) => searcher.update(vectors, &usable, reaching, earlier, &sample, progress)?,
        None => searcher.search(vectors, &usable, reaching, &sample, progress)?,
    };
    let (lists, cut, mut audited) = (found.lists, found.cut_lists, found.sampled);
    audited.iter_mut().for_each(|list| list.truncate(query.top_k));
    let task: Task = progress.task("audit", "texts", sample.len());
    let referee = exact::nearest_by_dot(vectors, &usable, &sample, unfloored, &task)?;
    drop(task);
    let kept: u64 = lists.iter().map(|list| list.len().min(query.top_k) as u64).sum();
    let recall = audit(&audited, &referee, query.floor, cut.is_some());
    let counts = Counts {
        unusable_vectors: rows - count,
        below_min_cosine: cut.as_ref().map(|_| (every.len() * query.top_k) as u64 - kept),
        cut_lists: cut
            .as_ref()
            .map(|cut| lists.iter().zip(cut).filter(|(list, cut)| **cut || list.len() > query.top_k).count()),
        recall_at_k: recall.at_k,
        recall_above_min_cosine: recall.above_floor,
    };
    let cut = cut.unwrap_or_else(|| lists.iter().map(|list| list.len() >= query.top_k).collect());
    Ok(Neighbours { lists, cut, counts })
}

/// The exact engine never looks below the floor, so its recall@k is of what is above it too.
fn audit(found: &[Vec<Neighbour>], referee: &[Vec<Neighbour>], floor: f32, exact: bool) -> Recall {
    let all = recall(found, referee, floor);
    if exact { Recall { at_k: all.above_floor, ..all } } else { all }
}

/// Whether a vector can have neighbours: it is finite and not zero.
pub fn is_usable(vector: &[f32]) -> bool {
    vector.iter().all(|v| v.is_finite()) && vector.iter().any(|&v| v != 0.0)
}

/// `count` rows by a seeded hash of their number: no generator state, the same sample on every machine.
pub fn sample_rows(rows: &[u32], count: usize, seed: u64) -> Vec<u32> {
    let key = |row: u32| hash64(&[seed.to_le_bytes(), u64::from(row).to_le_bytes()].concat());
    let mut keyed: Vec<(u64, u32)> = rows.iter().map(|&row| (key(row), row)).collect();
    keyed.sort_unstable();
    keyed.truncate(count);
    let mut sample: Vec<u32> = keyed.into_iter().map(|(_, row)| row).collect();
    sample.sort_unstable();
    sample
}

/// Every pair of a text and one of its `top_k` nearest neighbours once, in order of (a, b).
pub fn unordered(lists: &[Vec<Neighbour>], top_k: usize) -> Vec<Candidate> {
    let entries = lists.iter().map(|list| list.len().min(top_k)).sum();
    // at its final size at once: growing would take twice the memory, which is the most of a run
    let mut pairs = Vec::with_capacity(entries);
    for (row, list) in (0..).zip(lists) {
        let pair = |near: &Neighbour| Candidate { a: near.row.min(row), b: near.row.max(row), cosine: near.cosine };
        pairs.extend(list.iter().take(top_k).map(pair));
    }
    pairs.par_sort_unstable_by_key(|pair| (pair.a, pair.b));
    pairs.dedup_by_key(|pair| (pair.a, pair.b));
    pairs
}

/// The candidates of a run, in order of (a, b).
pub struct Found {
    pub pairs: Vec<Candidate>,
    pub counts: Counts,
    /// Texts that were searched; 0 if the lists of all were stored.
    pub searched: usize,
    pub seconds: f64,
}

/// Reads the lists of exactly these texts if they are stored. Else brings the lists of an earlier corpus up to date, or
/// searches all texts, and stores what it found.
pub fn run(
    store: &Store,
    plan: &Plan,
    unique: &UniqueTexts,
    embedded: &Embedded,
    workers: &Workers,
    progress: &Progress,
) -> Result<Found> {
    let started = Instant::now();
    let identity = plan.neighbours(unique)?;
    let mut segments = store.use_segments(&identity)?;
    if let Some(Neighbours { lists, counts, .. }) =
        neighbour_lists::stored(store, &identity, &mut segments, &unique.keys, progress)?
    {
        let seconds = started.elapsed().as_secs_f64();
        return Ok(Found { pairs: unordered(&lists, plan.options.top_k), counts, searched: 0, seconds });
    }
    let config = SearchConfig {
        engine: plan.options.index,
        query: plan.query(),
        reserve: RESERVE,
        hnsw: plan.options.hnsw(),
        seed: plan.options.seed,
    };
    let earlier = to_update(store, plan, unique, progress)?;
    let searched = earlier.as_ref().map_or(unique.keys.len(), |earlier| earlier.fresh.len());
    let sides = [searched, unique.keys.len()];
    let tiles = Tiles::on(&workers.devices, Tuning::of_devices(&workers.devices).search_tile_rows, sides);
    let remote = workers.remote(store, plan, progress)?;
    let is_large = searched * unique.keys.len() >= LEAST_PAIRS && (earlier.is_none() || searched >= LEAST_FRESH);
    let cells = remote.as_ref().filter(|_| is_large);
    let cells = cells.map(|remote| remote.cells(searched));
    let cells = cells.as_ref().map(|cells| cells as &dyn Cells);
    let mut found = search(embedded.vectors(), &config, earlier, (&tiles, cells), progress)?;
    found.clear(&unique.is_reference);
    // an earlier search that did not end may have left lists of another HNSW graph
    segments.clear()?;
    neighbour_lists::write(store, &identity, &mut segments, &found, &unique.keys)?;
    let (pairs, counts) = (unordered(&found.lists, plan.options.top_k), found.counts);
    Ok(Found { pairs, counts, searched, seconds: started.elapsed().as_secs_f64() })
}

/// Lists of an earlier corpus, if bringing them up to date costs less than a search of all texts.
pub fn to_update(store: &Store, plan: &Plan, unique: &UniqueTexts, progress: &Progress) -> Result<Option<Earlier>> {
    let texts = unique.keys.len();
    let most = match plan.options.index.resolve(texts) {
        Engine::Exact | Engine::Auto => texts / UPDATED_EXACT,
        Engine::Hnsw => texts / UPDATED_HNSW,
    };
    let earlier =
        neighbour_lists::earlier(store, &plan.neighbours(unique)?, &unique.keys, plan.options.top_k, progress)?;
    let mut earlier = earlier.filter(|earlier| earlier.fresh.len() <= most);
    if !unique.is_reference.is_empty() {
        let earlier = earlier.get_or_insert_with(|| new_among_all(&unique.is_reference));
        for (text, _) in unique.is_reference.iter().enumerate().filter(|(_, is)| **is) {
            earlier.takes_new[text] = false;
        }
    }
    Ok(earlier)
}

/// Nothing is known yet, and texts of the reference are not searched.
fn new_among_all(is_reference: &[bool]) -> Earlier {
    let texts = is_reference.len();
    let fresh: Vec<u32> = (0..texts as u32).filter(|&text| !is_reference[text as usize]).collect();
    Earlier {
        lists: vec![Vec::new(); texts],
        cut: vec![false; texts],
        is_new: vec![true; fresh.len()],
        takes_new: vec![false; texts],
        fresh,
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
