//! Unique texts to unit vectors.

use std::sync::mpsc::sync_channel;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};

use crate::executor::batch;
use crate::executor::replicas::Replicas;
use crate::mining::collapse::UniqueTexts;
use crate::mining::plan::Plan;
use crate::mining::workers::Workers;
use crate::models::bi_encoder::{self, BiEncoder};
use crate::models::network::token_batch::TokenBatch;
use crate::progress::{Progress, Task};
use crate::search::Vectors;
use crate::store::root::{Store, folder_of};
use crate::store::segments::Segments;
use crate::tables::segment_file::{Column, Columns};
use crate::text::key::TextKey;
use crate::text::tokenizer::TokenizedTexts;

/// Rows of a segment that is never merged again: 25 MB of vectors of 384 dimensions.
const FULL_SEGMENT: usize = 16_384;

/// The vectors of a partition, and what the model could not read.
pub struct TextVectors {
    /// Unit vectors, row-major `[texts, D]`; zero for texts without a word that the vocabulary knows. Otherwise these
    /// texts would all be duplicates of each other.
    pub values: Vec<f32>,
    /// Texts that were cut at the model's limit.
    pub truncated: Vec<bool>,
    /// Texts without a word that the vocabulary knows.
    pub unknown: Vec<bool>,
}

/// The vectors of `texts`, in their order.
pub fn embed(models: &Replicas<BiEncoder>, texts: &[&str], task: &Task) -> Result<TextVectors> {
    embed_tokenized(models, &models.first().tokenizer.tokenize(texts)?, task)
}

/// The vectors of texts that are tokenized.
fn embed_tokenized(models: &Replicas<BiEncoder>, tokenized: &TokenizedTexts, task: &Task) -> Result<TextVectors> {
    let (model, shape) = (models.first(), models.tuning.batch);
    let (width, limit) = (model.dimensions(), model.tokenizer.max_tokens());
    let lengths = tokenized.lengths();
    let (texts, plan) = (lengths.len(), batch::plan(&lengths, shape));
    let texts_of = |batch: usize| &plan.order[plan.batches[batch].clone()];
    let mut values = vec![0.0; texts * width];
    models.run(
        plan.batches.len(),
        |batch| {
            let rows: Vec<&[u32]> = texts_of(batch).iter().map(|&text| tokenized.ids(text as usize)).collect();
            TokenBatch::of_texts(&rows).pad_to(shape, limit)
        },
        |encoder, batch| encoder.model.forward(batch),
        |_, _, vectors| bi_encoder::read_vectors(vectors),
        |batch, vectors| {
            // rows that only fill a batch's shape come last, and have no place
            for (&text, vector) in texts_of(batch).iter().zip(vectors.chunks_exact(width)) {
                if tokenized.unknown.binary_search(&text).is_err() {
                    values[text as usize * width..(text as usize + 1) * width].copy_from_slice(vector);
                }
            }
            task.advance(texts_of(batch).len())
        },
    )?;
    let flags = |rows: &[u32]| {
        let mut flags = vec![false; texts];
        rows.iter().for_each(|&row| flags[row as usize] = true);
        flags
    };
    Ok(TextVectors { values, truncated: flags(&tokenized.truncated), unknown: flags(&tokenized.unknown) })
}

/// The vectors of all unique texts.
pub struct Embedded {
    vectors: TextVectors,
    width: usize,
    /// Texts that had no stored vector.
    pub computed: usize,
    pub seconds: f64,
    segments: Segments,
}

impl Embedded {
    pub fn vectors(&self) -> Vectors<'_> {
        Vectors { values: &self.vectors.values, width: self.width }
    }

    /// Texts that were cut at the model's limit.
    pub fn truncated(&self) -> usize {
        self.vectors.truncated.iter().filter(|cut| **cut).count()
    }

    /// Texts without a word that the vocabulary knows.
    pub fn unknown(&self) -> usize {
        self.vectors.unknown.iter().filter(|unknown| **unknown).count()
    }

    /// Warns of what the vectors lack, whether they were computed now or by an earlier run.
    pub fn warn(&self, plan: &Plan, progress: &Progress) -> Result<()> {
        bi_encoder::warning(&plan.bi_encoder)?.into_iter().for_each(|line| progress.warn(line));
        let (truncated, unknown) = (self.truncated(), self.unknown());
        if truncated > 0 {
            progress.warn(format!(
                "{truncated} texts are longer than the model's limit of {} tokens: their ends were cut",
                bi_encoder::max_tokens(&plan.bi_encoder)?
            ));
        }
        if unknown > 0 {
            progress.warn(format!(
                "{unknown} texts hold no word that the vocabulary of {} knows (another script, emoji alone): they get no \
                 candidates",
                plan.bi_encoder.name()
            ));
        }
        Ok(())
    }

    /// Gives the vectors' memory back.
    pub fn release(&mut self) {
        self.vectors.values = Vec::new();
    }

    /// Merges segments that have become many. `live` are the keys that some kept version needs.
    pub fn merge(&mut self, live: &[TextKey]) -> Result<()> {
        self.segments.merge(FULL_SEGMENT, &|key| live.binary_search(key).is_ok())
    }
}

/// The vectors that are stored, and which texts have none.
pub struct Stored {
    vectors: TextVectors,
    width: usize,
    found: Vec<bool>,
    segments: Segments,
}

impl Stored {
    /// Looks up every key. `live` are the keys that some kept version needs.
    pub fn read(mut segments: Segments, keys: &[TextKey], live: &[TextKey], progress: &Progress) -> Result<Self> {
        let texts = keys.len();
        let vectors = TextVectors { values: Vec::new(), truncated: vec![false; texts], unknown: vec![false; texts] };
        let (mut vectors, mut width, mut found) = (vectors, 0, vec![false; texts]);
        segments.read(&|line| progress.warn(line), |columns| {
            let (keys_of_rows, rows, width_of_rows) = TextVectors::of_columns(columns)?;
            width = width_of_rows;
            let mut live_rows = 0;
            for (row, key) in keys_of_rows.iter().enumerate() {
                live_rows += usize::from(live.binary_search(key).is_ok());
                if let Ok(text) = keys.binary_search(key) {
                    found[text] = true;
                    vectors.put(text, &rows, row, width);
                }
            }
            Ok(live_rows)
        })?;
        Ok(Self { vectors, width, found, segments })
    }

    /// With the vectors that another store has of the texts that lack one, copied into this store.
    fn with_those_of(mut self, other: Segments, keys: &[TextKey], progress: &Progress) -> Result<Self> {
        let missing: Vec<usize> = self.missing();
        let wanted: Vec<TextKey> = missing.iter().map(|&text| keys[text]).collect();
        let other = Self::read(other, &wanted, &[], progress)?;
        let found: Vec<usize> = (0..wanted.len()).filter(|&at| other.found[at]).collect();
        if found.is_empty() {
            return Ok(self);
        }
        self.width = other.width;
        let mut copied =
            TextVectors { values: Vec::new(), truncated: vec![false; found.len()], unknown: vec![false; found.len()] };
        for (row, &at) in found.iter().enumerate() {
            copied.put(row, &other.vectors, at, other.width);
            self.vectors.put(missing[at], &other.vectors, at, other.width);
            self.found[missing[at]] = true;
        }
        self.segments.append(copied.into_columns(found.iter().map(|&at| wanted[at]).collect(), other.width))?;
        Ok(self)
    }

    /// The stored values, row-major; empty if there are none, zeros for texts without a vector.
    pub fn into_values(self) -> Vec<f32> {
        self.vectors.values
    }

    /// Numbers of the texts without a vector.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.found.len()).filter(|&text| !self.found[text]).collect()
    }
}

impl TextVectors {
    /// Puts a row of other vectors at the place of a text.
    fn put(&mut self, text: usize, from: &Self, row: usize, width: usize) {
        self.values.resize(self.truncated.len() * width, 0.0);
        self.values[text * width..(text + 1) * width].copy_from_slice(&from.values[row * width..(row + 1) * width]);
        self.truncated[text] = from.truncated[row];
        self.unknown[text] = from.unknown[row];
    }

    /// The columns that are stored.
    pub fn into_columns(self, keys: Vec<TextKey>, width: usize) -> Columns {
        vec![
            ("text".into(), Column::Keys(keys)),
            ("vector".into(), Column::Vectors { width, values: self.values }),
            ("truncated".into(), Column::Flags(self.truncated)),
            ("unknown".into(), Column::Flags(self.unknown)),
        ]
    }

    /// The inverse of [`TextVectors::into_columns`].
    fn of_columns(columns: Columns) -> Result<(Vec<TextKey>, Self, usize)> {
        match <[(String, Column); 4]>::try_from(columns) {
            Ok(
                [
                    (_, Column::Keys(keys)),
                    (_, Column::Vectors { width, values }),
                    (_, Column::Flags(truncated)),
                    (_, Column::Flags(unknown)),
                ],
            ) => Ok((keys, Self { values, truncated, unknown }, width)),
            _ => bail!("not the columns of vectors"),
        }
    }
}

/// Embeds texts partition by partition: while the devices compute one, the next is tokenized and the one before is stored.
fn overlapped(
    (models, task): (&Replicas<BiEncoder>, &Task),
    missing: &[usize],
    unique: &UniqueTexts,
    segments: &mut Segments,
    mut receive: impl FnMut(&[usize], &TextVectors),
) -> Result<()> {
    let (tokenizer, width) = (&models.first().tokenizer, models.first().dimensions());
    let partitions = || missing.chunks(models.tuning.embed_partition_texts);
    let (ahead, tokenized) = sync_channel(1);
    let (behind, computed) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let texts = |partition: &[usize]| partition.iter().map(|&text| unique.texts.get(text)).collect::<Vec<_>>();
            // after a failure the other end of the channel is gone
            partitions().try_for_each(|partition| ahead.send(tokenizer.tokenize(&texts(partition))))
        });
        let writer =
            scope.spawn(move || computed.into_iter().try_for_each(|columns| segments.append(columns).map(drop)));
        let mut compute = || -> Result<()> {
            for partition in partitions() {
                let vectors = embed_tokenized(models, &tokenized.recv()??, task)?;
                receive(partition, &vectors);
                let keys = partition.iter().map(|&text| unique.keys[text]).collect();
                if behind.send(vectors.into_columns(keys, width)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let computed = compute();
        drop((behind, tokenized));
        // what was computed before a failure is stored, unless a second Ctrl-C ends the process first
        writer.join().map_err(|_| anyhow!("the vectors could not be stored"))??;
        computed
    })
}

/// Reads the vectors that are stored, computes and stores the others. Those that the store of a reference has are copied.
pub fn run(
    (store, known): (&Store, Option<&Store>),
    plan: &Plan,
    unique: &UniqueTexts,
    live: &[TextKey],
    workers: &Workers,
    progress: &Progress,
) -> Result<Embedded> {
    let started = Instant::now();
    let stored = Stored::read(store.use_segments(&plan.vectors)?, &unique.keys, live, progress)?;
    let stored = match known {
        Some(known) => stored.with_those_of(known.segments(&plan.vectors)?, &unique.keys, progress)?,
        None => stored,
    };
    let missing = stored.missing();
    let Stored { mut vectors, mut width, mut segments, .. } = stored;
    let new_task = || {
        let task = progress.task("embed", "questions", unique.keys.len());
        task.resume(unique.keys.len() - missing.len());
        task
    };
    let remote = workers.remote(store, plan, progress)?;
    if let (Some(remote), false) = (&remote, missing.is_empty()) {
        let task = new_task();
        let texts: Vec<&str> = missing.iter().map(|&text| unique.texts.get(text)).collect();
        remote.embed(&texts, &task, (&mut segments, &folder_of(&plan.vectors)), |first, columns| {
            let (keys, computed, width_of_rows) = TextVectors::of_columns(columns)?;
            width = width_of_rows;
            for row in 0..keys.len() {
                vectors.put(missing[first + row], &computed, row, width);
            }
            task.advance(keys.len())
        })?;
    } else if !missing.is_empty() {
        progress.say(&plan.loading(&plan.bi_encoder));
        let models = bi_encoder::replicas(&plan.bi_encoder, &workers.devices, plan.precision, progress)?;
        width = models.first().dimensions();
        overlapped((&models, &new_task()), &missing, unique, &mut segments, |partition, computed| {
            for (row, &text) in partition.iter().enumerate() {
                vectors.put(text, computed, row, width);
            }
        })?;
    }
    let (computed, seconds) = (missing.len(), started.elapsed().as_secs_f64());
    Ok(Embedded { vectors, width, computed, seconds, segments })
}
