//! The first use of a model on a card: its kernels are compiled, and for each product the fastest is chosen.

use anyhow::{Context, Result};
use burn::tensor::Tensor;

use crate::device::kernel_choices;
use crate::executor::replicas::Replicas;
use crate::models::network::encoder::Encoder;
use crate::models::network::token_batch::TokenBatch;
use crate::progress::Progress;

/// Computes every product of the model, and then one batch, on each device: what is tuned is tuned here, and a user sees how
/// far it is. Takes a moment if an earlier process did it, and does nothing on a processor. `limit` is the model's limit of
/// tokens.
pub fn warm<M: Sync, const D: usize>(
    models: &Replicas<M>,
    limit: usize,
    encoder: impl Fn(&M) -> &Encoder,
    forward: impl Fn(&M, &TokenBatch) -> Tensor<D>,
    progress: &Progress,
) -> Result<()> {
    let packed = || models.each().iter().filter_map(|model| Some((model, encoder(model).packed()?)));
    let kernels = packed().map(|(_, packed)| packed.products().len() + 1).sum();
    if kernels == 0 {
        return Ok(());
    }
    let batch = TokenBatch::of_texts(&[&[0]]).pad_to(models.tuning.batch, limit);
    let task = progress.task("tune", "kernels", kernels);
    let (there, mut has_said) = (kernel_choices(), false);
    let mut done = || {
        if !has_said && kernel_choices() > there {
            progress.say("tune       the fastest kernels for this GPU are chosen, once");
            has_said = true;
        }
        task.advance(1)
    };
    for (model, packed) in packed() {
        packed.warm(batch.packed_shape().rows, &mut done)?;
        forward(model, &batch).try_into_data().context("the device failed")?;
        done()?;
    }
    Ok(())
}
