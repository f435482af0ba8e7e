//! Which layers of a model lose too much in 8 bits.
//!
//! The codes of a row of activations share one range. Where one value is far from all others, few codes are left for these. Layers
//! that lose too much by this stay in f32. To find them, the questions of the fixture are computed with one layer in 8 bits and all
//! others in f32, for each layer.

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use crate::device::plain_cpu;
use crate::models::bi_encoder::{BiEncoder, read_vectors};
use crate::models::checkpoint::folder::ModelFolder;
use crate::models::checkpoint::kind::Kind;
use crate::models::cross_encoder::CrossEncoder;
use crate::models::network::encoder::Encoder;
use crate::models::network::token_batch::TokenBatch;
use crate::progress::Progress;

/// Lines of number, text and two more columns, under a header.
const QUESTIONS: &str = include_str!("../../fixtures/questions.tsv");

/// Every so many questions are computed.
const STEP: usize = 4;

/// Questions of a batch.
const BATCH: usize = 16;

/// The share of the variance of its outputs that a model may lose. BENCHMARKS.md has what models lose that cost nothing.
const MOST_LOST: f64 = 0.02;

/// What 8 bits cost a model.
#[derive(Debug)]
pub struct Sensitivity {
    /// The share of the variance of its outputs that is lost with all layers in 8 bits.
    pub lost: f64,
    /// Numbers of the layers that stay in f32, ascending.
    pub f32_layers: Vec<usize>,
    /// What is lost then.
    pub lost_with_f32: f64,
}

/// Measures a model: its vectors, or what the head of a cross-encoder reads.
pub fn measure(folder: &ModelFolder, progress: &Progress) -> Result<Sensitivity> {
    let questions: Vec<&str> =
        QUESTIONS.lines().skip(1).step_by(STEP).filter_map(|line| line.split('\t').nth(1)).collect();
    match Kind::of(folder)? {
        Kind::Cross => {
            let model = CrossEncoder::load(folder, &plain_cpu())?;
            let pairs: Vec<(&str, &str)> = questions.windows(2).map(|pair| (pair[0], pair[1])).collect();
            let pairs = model.tokenizer.tokenize_pairs(&pairs)?;
            let batches = pairs.chunks(BATCH).map(|pairs| TokenBatch::of_pairs(&pairs.iter().collect::<Vec<_>>()));
            let outputs = |encoder: &Encoder, batch: &TokenBatch| {
                encoder.first_tokens(batch).into_data().try_into_vec().context("hidden states are not f32")
            };
            choose(&model.model.encoder, &batches.collect::<Vec<_>>(), outputs, progress)
        }
        Kind::Bi | Kind::Siamese => {
            let model = BiEncoder::load(folder, &plain_cpu())?;
            let texts = model.tokenizer.tokenize(&questions)?;
            let ids: Vec<&[u32]> = (0..questions.len()).map(|index| texts.ids(index)).collect();
            let batches: Vec<TokenBatch> = ids.chunks(BATCH).map(TokenBatch::of_texts).collect();
            let outputs = |encoder: &Encoder, batch: &TokenBatch| {
                read_vectors(model.model.of_hidden(encoder.forward(batch), batch))
            };
            choose(&model.model.encoder, &batches, outputs, progress)
        }
    }
}

/// The layers that lose most by themselves stay in f32, as many as it takes.
fn choose(
    encoder: &Encoder,
    batches: &[TokenBatch],
    outputs: impl Fn(&Encoder, &TokenBatch) -> Result<Vec<f32>> + Sync,
    progress: &Progress,
) -> Result<Sensitivity> {
    let layers = encoder.config().layers;
    let task = progress.task("measure", "layers", layers);
    let all_outputs = |encoder: &Encoder| -> Result<Vec<f32>> {
        let of_batches: Result<Vec<_>> = batches.par_iter().map(|batch| outputs(encoder, batch)).collect();
        Ok(of_batches?.concat())
    };
    let reference = all_outputs(encoder)?;
    ensure!(reference.iter().all(|v| v.is_finite()), "the model gives numbers that are not finite");
    let rows = batches.iter().map(|batch| batch.dims()[0]).sum::<usize>();
    let lost = |f32_layers: &[usize]| -> Result<f64> {
        task.check()?;
        Ok(share_lost(&reference, &all_outputs(&encoder.clone().in_int8(f32_layers))?, reference.len() / rows))
    };
    let without = lost(&[])?;
    let mut sensitivity = Sensitivity { lost: without, f32_layers: Vec::new(), lost_with_f32: without };
    if without <= MOST_LOST {
        return Ok(sensitivity);
    }
    let mut by_loss = Vec::new();
    for number in 0..layers {
        let others: Vec<usize> = (0..layers).filter(|&other| other != number).collect();
        by_loss.push((lost(&others)?, number));
        task.advance(1)?;
    }
    by_loss.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, number) in by_loss {
        sensitivity.f32_layers.push(number);
        sensitivity.lost_with_f32 = lost(&sensitivity.f32_layers)?;
        if sensitivity.lost_with_f32 <= MOST_LOST {
            break;
        }
    }
    sensitivity.f32_layers.sort_unstable();
    Ok(sensitivity)
}

/// `Σ (x − y)² / Σ (x − mean of x)²` over rows x and y of `width`.
fn share_lost(x: &[f32], y: &[f32], width: usize) -> f64 {
    let rows = (x.len() / width) as f64;
    let square = |a: f64, b: f64| (a - b) * (a - b);
    let (mut lost, mut variance) = (0.0, 0.0);
    for column in 0..width {
        let of_column = |values: &[f32]| values.iter().skip(column).step_by(width).map(|&v| f64::from(v)).collect();
        let (x, y): (Vec<f64>, Vec<f64>) = (of_column(x), of_column(y));
        let mean = x.iter().sum::<f64>() / rows;
        lost += x.iter().zip(&y).map(|(&x, &y)| square(x, y)).sum::<f64>();
        variance += x.iter().map(|&x| square(x, mean)).sum::<f64>();
    }
    lost / variance.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_variance() {
        let x = [1.0, 5.0, 3.0, 5.0];
        assert_eq!(share_lost(&x, &x, 2), 0.0);
        // the mean of each column knows nothing of the rows
        assert_eq!(share_lost(&x, &[2.0, 5.0, 2.0, 5.0], 2), 1.0);
    }
}
