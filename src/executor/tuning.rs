//! The one table of what suits each kind of device: batches, partitions and tiles.
//!
//! No number here changes a result beyond the last bits of a vector. They decide speed, memory, and how much work an
//! interruption costs. The measurements are in BENCHMARKS.md.

use crate::device::{DeviceKind, Devices, is_plain_cube};
use crate::executor::batch::{BatchShape, Lengths, PACKED_ROWS};

/// What suits a kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// How texts are batched for a forward pass.
    pub batch: BatchShape,
    /// Texts of an embed partition: they are batched together and stored together. More texts fill batches better; fewer
    /// cost less after an interruption.
    pub embed_partition_texts: usize,
    /// Pairs of a rerank partition, for the same reasons.
    pub rerank_partition_pairs: usize,
    /// Rows of a search tile: the matrix of all cosines is computed in square tiles.
    pub search_tile_rows: usize,
    /// Tokens of a training micro-batch, without padding.
    pub micro_batch_tokens: usize,
    /// Micro-batches of a training batch at least, if it has as many items.
    pub least_micro_batches: usize,
}

/// Burn's own CPU backend, one worker per core.
const CPU: Tuning = Tuning {
    // the fastest in int8 where it was measured; f32 is as fast with any
    batch: BatchShape { max_tokens: 384, lengths: Lengths::Mixed },
    // some seconds of work
    embed_partition_texts: 4096,
    rerank_partition_pairs: 2048,
    // large enough for full speed of the product, small enough for the tile to stay in cache
    search_tile_rows: 1024,
    // small enough that a batch of 16 pairs keeps two cores busy, large enough for full speed of the products
    micro_batch_tokens: 512,
    least_micro_batches: 2,
};

/// libtorch on the CPU, one worker per core. Vectors are compared on Burn's own CPU backend, hence its tiles.
const TCH: Tuning = Tuning {
    // attention without a mask is twice as fast
    batch: BatchShape { max_tokens: 1024, lengths: Lengths::Equal },
    // enough texts of every length to fill batches of one length
    embed_partition_texts: 16_384,
    ..CPU
};

/// A card, one worker per card.
const GPU: Tuning = Tuning {
    batch: BatchShape { max_tokens: PACKED_ROWS, lengths: Lengths::Packed },
    // some tenths of a second
    embed_partition_texts: 65_536,
    rerank_partition_pairs: 65_536,
    // 256 MiB of scores and 4 MiB of maxima
    search_tile_rows: 8192,
    // large products; all micro-batches of a batch are in memory at once, unless the loss is cached. Not measured yet
    micro_batch_tokens: 8192,
    least_micro_batches: 1,
};

/// Batches of a card through libtorch, where no encoder packs its rows.
const PADDED_GPU: BatchShape = BatchShape { max_tokens: 65_536, lengths: Lengths::Rounded };

impl Tuning {
    /// The row of the table for a kind of device.
    pub fn of(kind: DeviceKind) -> Self {
        match kind {
            DeviceKind::Cpu => CPU,
            DeviceKind::Tch => TCH,
            DeviceKind::Gpu => GPU,
        }
    }

    /// The same with `--batch-tokens`, if the user gave it.
    pub fn of_devices(devices: &Devices) -> Self {
        let mut tuning = Self::of(devices.kind);
        if devices.kind == DeviceKind::Gpu && !devices.list.iter().all(is_plain_cube) {
            tuning.batch = PADDED_GPU;
        }
        let max_tokens = devices.batch_tokens.unwrap_or(tuning.batch.max_tokens);
        Self { batch: BatchShape { max_tokens, ..tuning.batch }, ..tuning }
    }
}
