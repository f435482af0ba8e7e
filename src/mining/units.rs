//! Units of work that any machine can do: texts to embed, a cell of the search, pairs to rerank.
//!
//! What a unit needs lies in the store as a segment, and so does what comes of it. A unit is known by its content: it may be
//! computed twice, and whoever asks for it again finds that it is done.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::executor::tuning::Tuning;
use crate::mining::plan::{Plan, build};
use crate::models::network::precision::Precision;
use crate::progress::{Progress, Task};
use crate::search::cells::{Block, CellLists};
use crate::search::{Neighbour, Vectors};
use crate::tables::segment_file::{Column, Columns};

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Where its inputs lie in the store, and the note of its result.
    pub folder: String,
    pub needs: Needs,
    pub work: Work,
}

/// What is to be computed. Names are those of segments in the folder of the unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// The vectors of `texts`, as a segment of the folder `into`.
    Embed { texts: String, into: String },
    /// The lists of a cell of the search; without `right`, of a block with itself.
    Search { left: String, right: Option<String>, top_k: usize },
    /// The logits of `pairs`, as a segment of the folder `into`.
    Rerank { pairs: String, into: String },
}

/// What an executor must have to do a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The id of the store that its inputs lie in.
    pub store: String,
    pub build: String,
    pub precision: Precision,
    /// Hash of the files of the model that the unit runs, if it runs one.
    pub bi_encoder: Option<String>,
    pub cross_encoder: Option<String>,
}

/// What an executor has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Host and port, or what `--name` said.
    pub executor: String,
    /// Different for each process.
    pub instance: String,
    pub store: String,
    pub build: String,
    pub device: String,
    /// Formats that its devices compute in.
    pub precisions: Vec<Precision>,
    pub bi_encoder: String,
    pub cross_encoder: String,
    /// Whether it computes on cards.
    pub is_gpu: bool,
    /// Units that it does at the same time.
    pub slots: usize,
}

/// What came of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Name of the segment.
    pub segment: String,
    /// Texts, rows of the cell, or pairs.
    pub rows: usize,
    pub seconds: f64,
    pub executor: String,
    pub device: String,
}

/// What is done with the result of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It is taken.
    Taken,
    /// Its segment is damaged: the unit is done again.
    Damaged,
}

/// Takes the result of the unit with this number.
pub type Receive<'a> = dyn FnMut(usize, &Done) -> Result<Received> + 'a;

/// Machines that do units.
pub trait Cluster {
    /// Has all units done, and hands each result to `receive` as it arrives, in any order. `task` is what the user sees.
    fn run(&self, units: &[Unit], seen: (&Progress, &Task), receive: &mut Receive) -> Result<()>;

    /// How many units that need this are done at the same time, at least 1, and what suits the devices that do them.
    fn capacity(&self, needs: &Needs) -> (usize, Tuning);
}

impl Unit {
    /// 128-bit hash of everything that the unit says, in hexadecimal.
    pub fn id(&self) -> Result<String> {
        Ok(blake3::hash(&serde_json::to_vec(self)?).to_hex()[..32].to_string())
    }

    /// Name of its first input.
    pub fn input(&self) -> &str {
        match &self.work {
            Work::Embed { texts, .. } => texts,
            Work::Search { left, .. } => left,
            Work::Rerank { pairs, .. } => pairs,
        }
    }

    /// What is counted in it, for people.
    pub fn kind(&self) -> (&'static str, &'static str) {
        match self.work {
            Work::Embed { .. } => ("embed", "questions"),
            Work::Search { .. } => ("search", "rows"),
            Work::Rerank { .. } => ("rerank", "pairs"),
        }
    }
}

/// Name of the note of a unit's result, in the unit's folder.
pub fn note_name(id: &str) -> String {
    format!("{id}.json")
}

impl Needs {
    /// Of a unit that embeds.
    pub fn of_embedding(plan: &Plan, store: &str) -> Self {
        Self { bi_encoder: Some(plan.models.bi_encoder.hash.clone()), ..Self::of_searching(plan, store) }
    }

    /// Of a cell of the search: no model.
    pub fn of_searching(plan: &Plan, store: &str) -> Self {
        Self { store: store.into(), build: build(), precision: plan.precision, bi_encoder: None, cross_encoder: None }
    }

    /// Of a unit that reranks.
    pub fn of_reranking(plan: &Plan, store: &str) -> Self {
        let model = plan.models.cross_encoder.as_ref();
        Self { cross_encoder: model.map(|model| model.hash.clone()), ..Self::of_searching(plan, store) }
    }

    /// Why an executor cannot do it, `None` if it can.
    pub fn refusal(&self, offer: &Offer) -> Option<String> {
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        let models = [
            ("bi-encoder", self.bi_encoder.as_ref(), &offer.bi_encoder),
            ("cross-encoder", self.cross_encoder.as_ref(), &offer.cross_encoder),
        ];
        if self.build != offer.build {
            return Some(format!("it has version {}, this run needs {}", offer.build, self.build));
        }
        if self.store != offer.store {
            return Some("it has another store".into());
        }
        for (name, needed, there) in models {
            if let Some(needed) = needed.filter(|needed| *needed != there) {
                return Some(format!("its {name} is {}, this run needs {}", short(there), short(needed)));
            }
        }
        let runs_a_model = self.bi_encoder.is_some() || self.cross_encoder.is_some();
        if runs_a_model && !offer.precisions.contains(&self.precision) {
            return Some(format!("{} does not compute in {}", offer.device, self.precision.name()));
        }
        None
    }
}

/// The texts of a unit as columns.
pub fn texts_columns(texts: Vec<String>) -> Columns {
    vec![("text".into(), Column::Texts(texts))]
}

/// The inverse of [`texts_columns`].
pub fn texts_of(columns: Columns) -> Result<Vec<String>> {
    match <[(String, Column); 1]>::try_from(columns) {
        Ok([(_, Column::Texts(texts))]) => Ok(texts),
        _ => bail!("not the columns of texts"),
    }
}

/// The pairs of a unit as columns.
pub fn pairs_columns(first: Vec<String>, second: Vec<String>) -> Columns {
    vec![("first".into(), Column::Texts(first)), ("second".into(), Column::Texts(second))]
}

/// The inverse of [`pairs_columns`].
pub fn pairs_of(columns: Columns) -> Result<(Vec<String>, Vec<String>)> {
    match <[(String, Column); 2]>::try_from(columns) {
        Ok([(_, Column::Texts(first)), (_, Column::Texts(second))]) => Ok((first, second)),
        _ => bail!("not the columns of pairs"),
    }
}

/// A block of the search as columns.
pub fn block_columns(block: &Block) -> Columns {
    let Vectors { values, width } = block.vectors;
    vec![
        ("vector".into(), Column::Vectors { width, values: values.to_vec() }),
        ("min_score".into(), Column::Floats(block.min_scores.clone())),
        ("gives".into(), Column::Flags(block.gives.clone())),
    ]
}

/// A block that owns its vectors.
pub struct OwnedBlock {
    values: Vec<f32>,
    width: usize,
    min_scores: Vec<f32>,
    gives: Vec<bool>,
}

impl OwnedBlock {
    /// The inverse of [`block_columns`].
    pub fn of_columns(columns: Columns) -> Result<Self> {
        match <[(String, Column); 3]>::try_from(columns) {
            Ok(
                [(_, Column::Vectors { width, values }), (_, Column::Floats(min_scores)), (_, Column::Flags(gives))],
            ) => Ok(Self { values, width, min_scores, gives }),
            _ => bail!("not the columns of a block"),
        }
    }

    pub fn block(&self) -> Block<'_> {
        let vectors = Vectors { values: &self.values, width: self.width };
        Block { vectors, min_scores: self.min_scores.clone(), gives: self.gives.clone() }
    }

    /// The lowest cosine that any row accepts.
    pub fn floor(&self) -> f32 {
        self.min_scores.iter().copied().fold(f32::INFINITY, f32::min)
    }
}

/// The lists of a cell as columns: those of the left rows, then those of the right rows.
pub fn lists_columns(lists: &CellLists) -> Columns {
    let all = || lists.left.iter().chain(&lists.right);
    let mut end = 0;
    let ends = all().map(|list| {
        end += list.len() as u32;
        end
    });
    let ends: Vec<u32> = ends.collect();
    let entries = || all().flatten();
    let rows = entries().map(|near| u64::from(near.row)).collect();
    let list = |values: Column| Column::Lists { ends: ends.clone(), values: Box::new(values) };
    vec![
        ("row".into(), list(Column::Numbers(rows))),
        ("cosine".into(), list(Column::Floats(entries().map(|near| near.cosine).collect()))),
    ]
}

/// The inverse of [`lists_columns`]; `left` is the number of left rows.
pub fn lists_of(columns: Columns, left: usize) -> Result<CellLists> {
    let Ok([(_, Column::Lists { ends, values: rows }), (_, Column::Lists { values: cosines, .. })]) =
        <[(String, Column); 2]>::try_from(columns)
    else {
        bail!("not the columns of a cell");
    };
    let (Column::Numbers(rows), Column::Floats(cosines)) = (*rows, *cosines) else {
        bail!("not the columns of a cell");
    };
    let mut start = 0;
    let list = |&end: &u32| {
        let entries = start..end as usize;
        start = end as usize;
        entries.map(|at| Neighbour { row: rows[at] as u32, cosine: cosines[at] }).collect()
    };
    let mut lists: Vec<Vec<Neighbour>> = ends.iter().map(list).collect();
    let right = lists.split_off(left.min(lists.len()));
    Ok(CellLists { left: lists, right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_and_blocks_come_back_as_they_were() {
        let near = |row, cosine| Neighbour { row, cosine };
        let lists = CellLists {
            left: vec![vec![near(3, 0.9), near(1, 0.5)], Vec::new()],
            right: vec![Vec::new(), vec![near(0, 0.7)]],
        };
        assert_eq!(lists_of(lists_columns(&lists), 2).unwrap(), lists);
        let values = [0.5, 1.0, 0.0, 0.25];
        let block = Block {
            vectors: Vectors { values: &values, width: 2 },
            min_scores: vec![0.6, f32::INFINITY],
            gives: vec![true, false],
        };
        let again = OwnedBlock::of_columns(block_columns(&block)).unwrap();
        assert_eq!((again.floor(), again.block().vectors.values), (0.6, &values[..]));
        assert_eq!((again.block().min_scores, again.block().gives), (block.min_scores, block.gives));
    }

    #[test]
    fn an_executor_is_refused_by_what_it_lacks() {
        let offer = Offer {
            executor: "a:1".into(),
            instance: "i".into(),
            store: "s".into(),
            build: "1".into(),
            device: "cpu".into(),
            precisions: vec![Precision::F32],
            bi_encoder: "b".into(),
            cross_encoder: "c".into(),
            is_gpu: false,
            slots: 1,
        };
        let needs = Needs {
            store: "s".into(),
            build: "1".into(),
            precision: Precision::F32,
            bi_encoder: Some("b".into()),
            cross_encoder: None,
        };
        assert_eq!(needs.refusal(&offer), None);
        let refusals = [
            (Needs { build: "2".into(), ..needs.clone() }, "it has version 1, this run needs 2"),
            (Needs { store: "t".into(), ..needs.clone() }, "it has another store"),
            (Needs { bi_encoder: Some("x".into()), ..needs.clone() }, "its bi-encoder is b, this run needs x"),
            (Needs { cross_encoder: Some("y".into()), ..needs.clone() }, "its cross-encoder is c, this run needs y"),
            (Needs { precision: Precision::Int8, ..needs.clone() }, "cpu does not compute in int8"),
        ];
        for (needs, why) in refusals {
            assert_eq!(needs.refusal(&offer).as_deref(), Some(why));
        }
        // a cell of the search runs no model
        let search = Needs { precision: Precision::Int8, bi_encoder: None, ..needs };
        assert_eq!(search.refusal(&offer), None);
    }
}
