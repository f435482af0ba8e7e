//! The embed stage over its shards: what is finished is read, what is missing is computed.

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::models::bi_encoder::BiEncoder;
use crate::pipeline::artifact::Workspace;
use crate::pipeline::plan::Plan;
use crate::progress::Progress;
use crate::stages::embed;
use crate::tables::questions::Texts;
use crate::tables::shards::{self, ShardColumn};

/// Vectors of all unique texts, row-major `[texts, width]`.
pub struct Embedded {
    pub values: Vec<f32>,
    pub width: usize,
    /// Texts cut at the model's limit.
    pub truncated: usize,
    /// Whether nothing had to be computed.
    pub cached: bool,
}

#[derive(Serialize, Deserialize)]
struct Record {
    truncated: usize,
    width: usize,
}

/// Runs or resumes the stage.
pub fn run(workspace: &Workspace, plan: &Plan, texts: &Texts, device: &Device, progress: &Progress) -> Result<Embedded> {
    let stage = &plan.stages.embed;
    let folder = workspace.folder(stage);
    let mut missing: Vec<usize> = Vec::new();
    let mut values = Vec::new();
    let count = texts.len().div_ceil(embed::SHARD_TEXTS);
    for index in 0..count {
        match shards::read(&folder, index, &|line| progress.warn(line))?.as_deref() {
            Some([(_, ShardColumn::U32(rows)), (_, ShardColumn::Vectors { width, values: vectors })]) => {
                place(&mut values, texts.len(), rows, vectors, *width)?;
            }
            Some(_) => bail!("{}: shard {index} has other columns than this version writes", folder.display()),
            None => missing.push(index),
        }
    }
    if let (true, Some(record)) = (missing.is_empty(), workspace.done::<Record>(stage)) {
        return Ok(Embedded { values, width: record.width, truncated: record.truncated, cached: true });
    }
    progress.say(&format!("loading {}", plan.bi_encoder.name()));
    let model = BiEncoder::load(&plan.bi_encoder, device)?;
    let tokenized = model.tokenizer.tokenize(&texts.iter().collect::<Vec<_>>())?;
    let shard_texts = embed::shards(&tokenized.lengths());
    let task = progress.task("embed", "questions", texts.len());
    let resumed: usize = (0..count).filter(|index| !missing.contains(index)).map(|index| shard_texts[index].len()).sum();
    task.resume(resumed);
    for index in missing {
        let rows = &shard_texts[index];
        let vectors = embed::embed(&model, &tokenized, rows, &task)?;
        place(&mut values, texts.len(), rows, &vectors, model.dimensions())?;
        let vectors = ShardColumn::Vectors { width: model.dimensions(), values: vectors };
        shards::write(&folder, index, &vec![("text", ShardColumn::U32(rows.clone())), ("vector", vectors)])?;
    }
    drop(task);
    if tokenized.truncated > 0 {
        progress.warn(format!(
            "{} texts are longer than the model's limit of {} tokens: their tails were cut",
            tokenized.truncated,
            model.tokenizer.max_tokens()
        ));
    }
    workspace.finish(stage, &Record { truncated: tokenized.truncated, width: model.dimensions() })?;
    Ok(Embedded { values, width: model.dimensions(), truncated: tokenized.truncated, cached: false })
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
