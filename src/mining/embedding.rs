//! The embed stage over its shards: what is finished is read, what is missing is computed.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::device::Devices;
use crate::mining::artifact::Workspace;
use crate::mining::embed;
use crate::mining::plan::Plan;
use crate::models::bi_encoder;
use crate::progress::Progress;
use crate::tables::questions::Texts;
use crate::tables::shards::{ShardColumn, ShardFolder};

/// Vectors of all unique texts, row-major `[texts, width]`.
pub struct Embedded {
    pub values: Vec<f32>,
    pub width: usize,
    pub record: Record,
    pub seconds: f64,
    /// Whether nothing had to be computed.
    pub cached: bool,
}

/// What the stage records beside its vectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Texts cut at the model's limit.
    pub truncated: usize,
    /// Texts of which the model's vocabulary has nothing: their vectors are zero.
    pub unknown: usize,
    pub width: usize,
    /// Most tokens of a text.
    pub limit: usize,
    /// What the model's folder asks for and does not get.
    pub warning: Option<String>,
}

impl Record {
    /// Warns of what the vectors lack, whether they were computed now or in an earlier run.
    pub fn warn(&self, bi_encoder: &str, progress: &Progress) {
        self.warning.iter().for_each(|line| progress.warn(line));
        if self.truncated > 0 {
            progress.warn(format!(
                "{} texts are longer than the model's limit of {} tokens: their tails were cut",
                self.truncated, self.limit
            ));
        }
        if self.unknown > 0 {
            progress.warn(format!(
                "{} texts hold no word that the vocabulary of {bi_encoder} knows (another script, emoji alone): they \
                 get no candidates",
                self.unknown
            ));
        }
    }
}

/// Runs or resumes the stage.
pub fn run(
    workspace: &Workspace,
    plan: &Plan,
    texts: &Texts,
    devices: &Devices,
    progress: &Progress,
) -> Result<Embedded> {
    let started = Instant::now();
    let stage = &plan.stages.embed;
    let mut shards = ShardFolder::open(workspace.folder(stage));
    let mut missing: Vec<usize> = Vec::new();
    let mut values = Vec::new();
    let count = texts.len().div_ceil(embed::SHARD_TEXTS);
    for index in 0..count {
        match shards.read(index, &|line| progress.warn(line))?.as_deref() {
            Some([(_, ShardColumn::U32(rows)), (_, ShardColumn::Vectors { width, values: vectors })]) => {
                place(&mut values, texts.len(), rows, vectors, *width)?;
            }
            Some(_) => bail!("shard {index} of {} has other columns than this version writes", stage.name),
            None => missing.push(index),
        }
    }
    if let (true, Some(record)) = (missing.is_empty(), workspace.done::<Record>(stage)) {
        return Ok(Embedded { values, width: record.width, record, seconds: 0.0, cached: true });
    }
    progress.say(&format!("loading {}", plan.bi_encoder.name()));
    let models = bi_encoder::replicas(&plan.bi_encoder, devices, plan.options.precision)?;
    let model = models.first();
    let tokenized = model.tokenizer.tokenize(&texts.iter().collect::<Vec<_>>())?;
    let task = progress.task("embed", "questions", texts.len());
    let (missing, there): (Vec<_>, Vec<_>) = (embed::shards(&tokenized.lengths()).into_iter().enumerate())
        .partition(|(index, _)| missing.binary_search(index).is_ok());
    task.resume(there.iter().map(|(_, rows)| rows.len()).sum());
    embed::embed(&models, &tokenized, &missing, &task, |index, rows, vectors| {
        place(&mut values, texts.len(), rows, vectors, model.dimensions())?;
        let vectors = ShardColumn::Vectors { width: model.dimensions(), values: vectors.to_vec() };
        shards.write(index, vec![("text", ShardColumn::U32(rows.to_vec())), ("vector", vectors)])
    })?;
    drop(task);
    let record = Record {
        truncated: tokenized.truncated,
        unknown: tokenized.unknown.len(),
        width: model.dimensions(),
        limit: model.tokenizer.max_tokens(),
        warning: model.warning(),
    };
    workspace.finish(stage, &record)?;
    Ok(Embedded { values, width: record.width, record, seconds: started.elapsed().as_secs_f64(), cached: false })
}

/// Puts a shard's vectors at their texts' places.
fn place(values: &mut Vec<f32>, texts: usize, rows: &[u32], vectors: &[f32], width: usize) -> Result<()> {
    values.resize(texts * width, 0.0);
    for (&row, vector) in rows.iter().zip(vectors.chunks_exact(width)) {
        let at = row as usize * width;
        values.get_mut(at..at + width).context("a shard names a text that does not exist")?.copy_from_slice(vector);
    }
    Ok(())
}
