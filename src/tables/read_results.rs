//! A finished run's files as rows again: the inverse of [`results`](crate::tables::results).
//!
//! Ids become input rows, or numbers in order of appearance where the input is gone. Pairs come a batch at a time:
//! ten million of them need no memory unless the caller keeps them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, LargeStringArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, UInt32Type, UInt64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::tables::format::open_parquet;
use crate::tables::id_index::IdIndex;
use crate::tables::ids::{Ids, check_type};
use crate::tables::results::{ClusterRow, ClusterStatsRow, PairKind, PairRow};

const BATCH_ROWS: usize = 65_536;

/// The result files of one folder.
pub struct Results {
    folder: PathBuf,
    index: IdIndex,
}

impl Results {
    /// `ids` are the input's, one a row; `None` when the input is gone.
    pub fn open(folder: &Path, ids: Option<Ids>) -> Result<Self> {
        let index = match ids {
            Some(ids) => IdIndex::new(ids)?,
            None => {
                let clusters = id_columns(&folder.join("clusters.parquet"), &["id"])?;
                let pairs = id_columns(&folder.join("pairs.parquet"), &["id_a", "id_b"])?;
                IdIndex::numbering(clusters.chain(pairs)).with_context(|| folder.display().to_string())?
            }
        };
        Ok(Self { folder: folder.to_path_buf(), index })
    }

    /// Ids by row, and rows by id.
    pub fn index(&self) -> &IdIndex {
        &self.index
    }

    /// Rows of `pairs.parquet` in the order of the file, a batch at a time.
    pub fn pairs(&self) -> Result<impl Iterator<Item = Result<Vec<PairRow>>>> {
        let table = Table::open(&self.folder.join("pairs.parquet"), &PAIRS)?;
        Ok(table.map(|batch| self.pair_rows(&batch?)))
    }

    /// Rows of `clusters.parquet`; a cluster's rows follow each other.
    pub fn clusters(&self) -> Result<Vec<ClusterRow>> {
        let columns = [
            ("id", Kind::Id),
            ("cluster_id", Kind::Id),
            ("is_representative", Kind::Bool),
            ("probability_to_representative", Kind::OptionalF32),
            ("cluster_size", Kind::U32),
        ];
        let mut rows = Vec::new();
        for batch in Table::open(&self.folder.join("clusters.parquet"), &columns)? {
            let batch = batch?;
            let (questions, clusters) = (self.ids(&batch, "id")?, self.ids(&batch, "cluster_id")?);
            let (representative, sizes) = (batch.bools("is_representative"), batch.column("cluster_size"));
            let (probability, sizes) =
                (batch.f32s("probability_to_representative"), sizes.as_primitive::<UInt32Type>().values());
            rows.extend((0..questions.len()).map(|at| ClusterRow {
                question: questions[at],
                cluster: clusters[at],
                is_representative: representative.value(at),
                probability_to_representative: optional(probability, at),
                size: sizes[at],
            }));
        }
        Ok(rows)
    }

    /// Rows of `cluster_stats.parquet`.
    pub fn cluster_stats(&self) -> Result<Vec<ClusterStatsRow>> {
        let columns = [
            ("cluster_id", Kind::Id),
            ("size", Kind::U32),
            ("edges", Kind::U64),
            ("density", Kind::F32),
            ("min_probability", Kind::F32),
            ("mean_probability", Kind::F32),
            ("representative", Kind::Id),
            ("needs_review", Kind::Bool),
        ];
        let mut rows = Vec::new();
        for batch in Table::open(&self.folder.join("cluster_stats.parquet"), &columns)? {
            let batch = batch?;
            let (clusters, representatives) = (self.ids(&batch, "cluster_id")?, self.ids(&batch, "representative")?);
            let sizes = batch.column("size").as_primitive::<UInt32Type>().values();
            let edges = batch.column("edges").as_primitive::<UInt64Type>().values();
            let f32s = |name| batch.f32s(name).values();
            let (density, min, mean) = (f32s("density"), f32s("min_probability"), f32s("mean_probability"));
            let review = batch.bools("needs_review");
            rows.extend((0..clusters.len()).map(|at| ClusterStatsRow {
                cluster: clusters[at],
                size: sizes[at],
                edges: edges[at],
                density: density[at],
                min_probability: min[at],
                mean_probability: mean[at],
                representative: representatives[at],
                needs_review: review.value(at),
            }));
        }
        Ok(rows)
    }

    /// Figures of `metrics.parquet` by `stage.metric`.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let columns = [("stage", Kind::Text), ("metric", Kind::Text), ("value", Kind::F64)];
        let mut figures = BTreeMap::new();
        for batch in Table::open(&self.folder.join("metrics.parquet"), &columns)? {
            let batch = batch?;
            let (stages, names) = (batch.texts("stage")?, batch.texts("metric")?);
            let values = batch.column("value").as_primitive::<Float64Type>().values();
            let rows = stages.iter().flatten().zip(names.iter().flatten()).zip(values);
            figures.extend(rows.map(|((stage, name), &value)| (format!("{stage}.{name}"), value)));
        }
        Ok(figures)
    }

    /// Ids, as text, and reasons of `skipped.parquet`.
    pub fn skipped(&self) -> Result<Vec<(String, String)>> {
        let mut rows = Vec::new();
        for batch in Table::open(&self.folder.join("skipped.parquet"), &[("id", Kind::Id), ("reason", Kind::Text)])? {
            let batch = batch?;
            let ids = Ids(batch.column("id").clone());
            let reasons = batch.texts("reason")?;
            rows.extend(reasons.iter().flatten().enumerate().map(|(at, reason)| (ids.display(at), reason.to_string())));
        }
        Ok(rows)
    }

    fn pair_rows(&self, batch: &Batch) -> Result<Vec<PairRow>> {
        let (a, b) = (self.ids(batch, "id_a")?, self.ids(batch, "id_b")?);
        let cosine = batch.f32s("cosine").values();
        let (ab, ba, probability) = (batch.f32s("score_ab"), batch.f32s("score_ba"), batch.f32s("probability"));
        let duplicate = batch.bools("is_duplicate");
        let kinds = batch.texts("kind")?;
        (0..a.len())
            .map(|at| {
                Ok(PairRow {
                    a: a[at],
                    b: b[at],
                    cosine: cosine[at],
                    logit_ab: optional(ab, at),
                    logit_ba: optional(ba, at),
                    probability: optional(probability, at),
                    is_duplicate: duplicate.is_valid(at).then(|| duplicate.value(at)),
                    kind: PairKind::from_name(kinds.value(at))
                        .with_context(|| batch.place("kind", &format!("holds {:?}, no known kind", kinds.value(at))))?,
                })
            })
            .collect()
    }

    fn ids(&self, batch: &Batch, name: &str) -> Result<Vec<u32>> {
        self.index.rows(batch.column(name)).map_err(|e| anyhow!(batch.place(name, &e.to_string())))
    }
}

const PAIRS: [(&str, Kind); 8] = [
    ("id_a", Kind::Id),
    ("id_b", Kind::Id),
    ("cosine", Kind::F32),
    ("score_ab", Kind::OptionalF32),
    ("score_ba", Kind::OptionalF32),
    ("probability", Kind::OptionalF32),
    ("is_duplicate", Kind::OptionalBool),
    ("kind", Kind::Text),
];

fn optional(array: &Float32Array, at: usize) -> Option<f32> {
    array.is_valid(at).then(|| array.value(at))
}

/// Every column that holds ids, batch by batch.
fn id_columns(path: &Path, names: &'static [&'static str]) -> Result<impl Iterator<Item = Result<ArrayRef>> + use<>> {
    let columns: Vec<(&str, Kind)> = names.iter().map(|&name| (name, Kind::Id)).collect();
    let columns_of = move |batch: Result<Batch>| -> Vec<Result<ArrayRef>> {
        match batch {
            Ok(batch) => names.iter().map(|name| Ok(batch.column(name).clone())).collect(),
            Err(error) => vec![Err(error)],
        }
    };
    Ok(Table::open(path, &columns)?.flat_map(columns_of))
}

/// What a column must hold. Only the optional ones may have nulls.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Id,
    Text,
    F32,
    OptionalF32,
    F64,
    U32,
    U64,
    Bool,
    OptionalBool,
}

impl Kind {
    fn check(self, found: &DataType) -> Result<()> {
        let expected = match self {
            Self::Id => return check_type(found, true),
            Self::Text => return check_type(found, false),
            Self::F32 | Self::OptionalF32 => DataType::Float32,
            Self::F64 => DataType::Float64,
            Self::U32 => DataType::UInt32,
            Self::U64 => DataType::UInt64,
            Self::Bool | Self::OptionalBool => DataType::Boolean,
        };
        if *found == expected { Ok(()) } else { bail!("has type {found}, expected {expected}") }
    }
}

/// Chosen columns of one file, a batch at a time.
struct Table {
    path: PathBuf,
    required: Vec<String>,
    reader: ParquetRecordBatchReader,
}

impl Table {
    fn open(path: &Path, columns: &[(&str, Kind)]) -> Result<Self> {
        let builder = open_parquet(path)?;
        let schema = builder.schema().clone();
        let mut chosen = Vec::new();
        for (name, kind) in columns {
            let Some((at, field)) = schema.column_with_name(name) else {
                let present: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                bail!("{}: no column {name:?}; the columns are: {}", path.display(), present.join(", "));
            };
            kind.check(field.data_type()).map_err(|e| anyhow!("{}: column {name:?} {e}", path.display()))?;
            chosen.push(at);
        }
        let required = columns.iter().filter(|(_, kind)| !matches!(kind, Kind::OptionalF32 | Kind::OptionalBool));
        let required = required.map(|(name, _)| name.to_string()).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), chosen);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path: path.to_path_buf(), required, reader })
    }
}

impl Iterator for Table {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        let path = &self.path;
        let rows = match self.reader.next()? {
            Ok(rows) => rows,
            Err(error) => return Some(Err(anyhow!("{}: cannot be read: {error}", path.display()))),
        };
        let batch = Batch { path: path.clone(), rows };
        let null = self.required.iter().find(|name| batch.column(name).null_count() > 0);
        Some(match null {
            Some(name) => Err(anyhow!(batch.place(name, "holds a null, expected none"))),
            None => Ok(batch),
        })
    }
}

/// Rows of a file whose columns have been checked.
struct Batch {
    path: PathBuf,
    rows: RecordBatch,
}

impl Batch {
    fn place(&self, column: &str, what: &str) -> String {
        format!("{}: column {column:?} {what}", self.path.display())
    }

    fn column(&self, name: &str) -> &ArrayRef {
        // the projection was made of these names
        &self.rows[name]
    }

    fn f32s(&self, name: &str) -> &Float32Array {
        self.column(name).as_primitive::<Float32Type>()
    }

    fn bools(&self, name: &str) -> &BooleanArray {
        self.column(name).as_boolean()
    }

    fn texts(&self, name: &str) -> Result<LargeStringArray> {
        Ok(cast(self.column(name), &DataType::LargeUtf8)?.as_string().clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;
    use crate::tables::results::{write_cluster_stats, write_clusters, write_pairs};
    use crate::tables::write::{Column, write};

    fn write_run(folder: &Path, ids: &Ids) -> (Vec<PairRow>, Vec<ClusterRow>) {
        let pair = |a, b, probability: Option<f32>, kind| {
            let is_duplicate = probability.map(|p| p >= 0.5);
            PairRow { a, b, cosine: 0.25, logit_ab: probability, logit_ba: None, probability, is_duplicate, kind }
        };
        let pairs = vec![pair(0, 3, None, PairKind::Semantic), pair(1, 2, Some(0.75), PairKind::Normalised)];
        let cluster = |question, p| ClusterRow {
            question,
            cluster: 1,
            is_representative: question == 2,
            probability_to_representative: p,
            size: 2,
        };
        let clusters = vec![cluster(1, None), cluster(2, Some(1.0))];
        write_pairs(&folder.join("pairs.parquet"), ids, &pairs).unwrap();
        write_clusters(&folder.join("clusters.parquet"), ids, &clusters).unwrap();
        write_cluster_stats(&folder.join("cluster_stats.parquet"), ids, &[]).unwrap();
        (pairs, clusters)
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let ids = Ids(Arc::new(StringArray::from(vec!["x", "q", "y", "a"])));
        let (pairs, clusters) = write_run(folder.path(), &ids);
        let results = Results::open(folder.path(), Some(ids)).unwrap();
        assert_eq!(results.pairs().unwrap().flat_map(Result::unwrap).collect::<Vec<_>>(), pairs);
        assert_eq!(results.clusters().unwrap(), clusters);
        assert_eq!(results.cluster_stats().unwrap(), []);

        // without the input: the same ids under other numbers
        let results = Results::open(folder.path(), None).unwrap();
        let display = |row: u32| results.index().ids().display(row as usize);
        let named: Vec<_> =
            results.pairs().unwrap().flat_map(Result::unwrap).map(|p| (display(p.a), display(p.b))).collect();
        assert_eq!(named, [("x".to_string(), "a".to_string()), ("q".into(), "y".into())]);
    }

    #[test]
    fn errors_name_file_column_and_types() {
        let folder = tempfile::tempdir().unwrap();
        let ids = Ids::row_numbers(4);
        write_run(folder.path(), &ids);
        let path = folder.path().join("cluster_stats.parquet");
        let results = Results::open(folder.path(), Some(ids)).unwrap();
        let error = || format!("{:#}", results.cluster_stats().unwrap_err()).replace(path.to_str().unwrap(), "F");
        let sizes: ArrayRef = Arc::new(Float64Array::from(vec![2.0]));
        let cluster: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        write(&path, vec![Column::new("cluster_id", cluster, "", ""), Column::new("size", sizes, "", "")]).unwrap();
        assert_eq!(error(), "F: column \"size\" has type Float64, expected UInt32");
        std::fs::write(&path, "PAR1").unwrap();
        assert!(error().starts_with("F: not a readable Parquet file"), "{}", error());
        std::fs::remove_file(&path).unwrap();
        assert!(error().starts_with("cannot read F"), "{}", error());

        let few = Results::open(folder.path(), Some(Ids::row_numbers(3))).unwrap();
        let error = format!("{:#}", few.pairs().unwrap().find_map(Result::err).unwrap());
        assert!(error.ends_with("pairs.parquet: column \"id_b\" id 3 is not among the input's"), "{error}");
    }
}
